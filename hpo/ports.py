"""What the controller asks of the outside: an executor of arrays, and what is known of a kind of trial.

Both are built from a `_target_` in the configuration, so that `hpo` imports neither `slurm` nor `jobs`.
Only built-in types cross these lines, for the same reason.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypedDict


class TaskView(TypedDict):
    """One live task of an array, as the scheduler tells it."""

    state: str  # held, pending, running, completing
    detail: str  # the scheduler's own words: state and reason
    node: str


Task = tuple[str, int]  # (job id of the array, index)


class Executor(Protocol):
    """Runs arrays of tasks: Slurm, or processes on this machine."""

    @property
    def name(self) -> str:
        """slurm or local."""

    def submit(self, *, name: str, folder: str, target: str, arguments: Sequence[Sequence[str]]) -> str:
        """Submit one held array, an element per entry of `arguments`; returns its job id.

        Args:
            name: unique name of the array.
            folder: an existing folder for submission files and logs.
            target: `module:function`, resolved on the node, called with an element's arguments.
            arguments: the arguments of each element, in the order of their indices.

        Raises:
            Exception: of the executor's own family; the array may exist all the same (look it up by name).
        """

    def release(self, job_id: str) -> None:
        """Let a held array start; harmless when repeated."""

    def adopt(self, folder: str) -> None:
        """Tell the executor of an array that an earlier process submitted from this folder."""

    def poll(self) -> Mapping[Task, TaskView] | None:
        """Every live task of this user's arrays, in one query; None is no information, never no tasks."""

    def find(self, prefix: str) -> Mapping[str, str] | None:
        """Live arrays whose name starts with `prefix`: job id -> name; None is no information."""

    def cancel(self, tasks: Collection[Task]) -> None:
        """Stop tasks, wherever they are in their life; unknown ones are passed over."""

    def preview(self, *, name: str, folder: str, target: str, arguments: Sequence[Sequence[str]]) -> str:
        """The exact text that `submit` would hand over; submits and writes nothing."""

    def check(self) -> Sequence[tuple[str, str, str]]:
        """(level, what, hint) per line, level one of ok, warn, fail: what `doctor` prints."""


class TrialKind(Protocol):
    """What can be known of a kind of trial without running one; loads no torch."""

    @property
    def target(self) -> str:
        """`module:function` that runs a trial: (study folder, batch id, trial id)."""

    def resolve(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """The recipe as trials need it: paths absolute."""

    def problems(self, recipe: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        """(key path, what is wrong) for a recipe of model, data, trainer and evaluation."""

    def metrics(self, recipe: Mapping[str, Any]) -> Sequence[str]:
        """The names of the metrics that a trial of this recipe reports."""

    def prepare(self, recipe: Mapping[str, Any], cache: str, say: Callable[[str], None]) -> None:
        """Put into the cache what every trial needs, so that nodes neither download nor convert."""

    def baseline(self, recipe: Mapping[str, Any], cache: str) -> Mapping[str, float] | None:
        """The metrics of the untuned model, where `prepare` has measured them."""

    def check(self, recipe: Mapping[str, Any], cache: str) -> Sequence[tuple[str, str, str]]:
        """(level, what, hint) per line: what `doctor` prints of the node."""
