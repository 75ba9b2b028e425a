"""What the controller asks of the outside: an executor of arrays, and what is known of a kind of trial.

Both are built from a `_target_` in the configuration, so that `hpo` imports neither `slurm` nor `jobs`.
Only built-in types cross these lines, for the same reason.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NotRequired, Protocol, TypedDict

OVER = "over"  # states of a TaskView
WAITING = ("pending", "held")
NEVER, HELP = "never", "help"  # what TaskView says of a task that will not start by itself


def of_an_executor(error: BaseException) -> bool:
    """Whether an error is of an executor's own family, which `hpo` does not import: see `Executor`."""
    return isinstance(error, RuntimeError) and hasattr(error, "busy")


class TaskView(TypedDict):
    """One task of an array, as the scheduler tells it; one that is over is told of for some minutes."""

    state: str  # held, pending, running, completing; or over
    detail: str  # the scheduler's own words: state and reason
    node: str
    name: str  # of the array
    ending: str  # of a task that is over: completed, failed, or a value of `hpo.records.Cause`; else ""
    blocked: NotRequired[str]  # of a task that waits for what does not pass: never; or with somebody's help
    hint: NotRequired[str]  # what to do about that


class Ending(TypedDict):
    """One execution of a task, as the site's accounting tells it."""

    ending: str  # as in TaskView; preempted and node_failure also of executions that were requeued
    node: str
    seconds: float
    gpus: int
    exit: str  # exit code and signal, as in "1:0"


class ArrayOptions(TypedDict, total=False):
    """What one array wants otherwise than the cluster's settings say."""

    time_limit_min: int
    exclude: Sequence[str]  # nodes
    at_once: int  # tasks that may run at the same time
    helper: bool  # no trial but a piece of the controller's work: a few CPUs, no GPU


class SiteLimits(TypedDict):
    """What the site allows, and what an array gets that asks for nothing otherwise."""

    array_size: int  # elements of one array
    nodes: int  # that trials can run on
    minutes: int  # longest time limit; 0 where there is none, or none is known
    default_minutes: int  # time limit of an array that asks for none
    warning_s: int  # seconds before its time limit at which a task is warned


class Room(TypedDict):
    """How many tasks of this user there is room for."""

    at_once: int | None  # that run at the same time; None: not known
    waiting: int  # how many more should wait, so that none of these places is empty for long
    submitted: int | None  # running and waiting together at most; None: no such limit, or none is known
    why: str  # what sets the number, for people


class ExecutorTraits(TypedDict):
    """What differs between executors and a controller goes by."""

    runs_as: str  # what its tasks are, for people
    poll_s: float  # seconds between two polls while something happens
    backs_off: bool  # whether polls grow rarer while nothing does
    gone_s: float  # a task unseen for so long is over
    keeps_max_parallel: bool  # whether `cluster.max_parallel` has to be kept from outside, array by array
    follows: bool  # whether a job can be started once others are over


Task = tuple[str, int]  # (job id of the array, index)


class Clock(Protocol):
    """What time it is where tasks run, and how it passes."""

    def time(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds that nobody puts back."""

    def sleep(self, seconds: float) -> None:
        """Let time pass."""


class Executor(Protocol):
    """Runs arrays of tasks: Slurm, or processes on this machine.

    Its errors are RuntimeErrors. One with a true attribute `busy` says that the scheduler could not take
    the request now (it did not answer, or a limit on submitted jobs is reached) and may take it later;
    one with a true attribute `permanent`, that it will never take it as it is.
    """

    @property
    def name(self) -> str:
        """One word for people and for the journal."""

    @property
    def traits(self) -> ExecutorTraits:
        """What differs from other executors; asks the site nothing."""

    @property
    def clock(self) -> Clock:
        """The clock that its tasks go by, and so whoever waits for them."""

    def silence(self) -> str:
        """Why the scheduler cannot be asked anything now, in its own words; "" where it answers."""

    @property
    def unanswered(self) -> str:
        """The scheduler's own words of why the last `poll` gave no information; "" where it gave some."""

    def limits(self) -> SiteLimits:
        """What the site allows; asked once, and answered with defaults where the site cannot be asked."""

    def room(self) -> Room:
        """How many tasks this user can run; asked only where that is to be found out."""

    def submit(
        self,
        *,
        name: str,
        folder: str,
        target: str,
        arguments: Sequence[Sequence[str]],
        options: ArrayOptions | None = None,
    ) -> str:
        """Submit one held array, an element per entry of `arguments`; returns its job id.

        Args:
            name: unique name of the array.
            folder: an existing folder for submission files and logs.
            target: `module:function`, resolved on the node, called with an element's arguments.
            arguments: the arguments of each element, in the order of their indices.

        Raises:
            RuntimeError: of the executor's own family; the array may exist all the same: see `poll`.
        """

    def follow(
        self, *, name: str, folder: str, command: Sequence[str], after: Collection[str], delay_s: float = 0.0
    ) -> str:
        """Submit a small job that runs a command once the arrays `after` are over; returns its job id.

        Jobs of the same name run one at a time.

        Args:
            folder: an existing folder for its script and log.
            command: program and arguments, run in this process's working folder.
            after: job ids; none starts it after the delay.
            delay_s: seconds from now before which it does not start.

        Raises:
            RuntimeError: of the executor's own family; also where there is no scheduler that could.
        """

    def following(self, name: str) -> Collection[str] | None:
        """The jobs of this name by `follow` that are not over, but for our own; None: no answer."""

    def release(self, job_id: str) -> None:
        """Let a held array start; harmless when repeated, when it is over, and for an unknown one."""

    def hold(self, job_id: str) -> None:
        """Keep the waiting elements of an array from starting, until it is released; running ones go on."""

    def warn(self, tasks: Collection[Task]) -> None:
        """Send running tasks the signal that comes before a preemption: checkpoint and be requeued."""

    def throttle(self, job_id: str, at_once: int | None) -> None:
        """How many elements of an array may run at the same time from now on; None: no limit."""

    def adopt(self, folder: str) -> None:
        """Tell the executor of an array that an earlier process submitted from this folder."""

    def poll(self) -> Mapping[Task, TaskView] | None:
        """Every task of this user's arrays, in one query; None is no information, never no tasks."""

    def endings(self, tasks: Collection[Task]) -> Mapping[Task, Sequence[Ending]] | None:
        """Every execution of each task, oldest first, in one query; None: no accounting, or no answer."""

    def last_log_lines(self, folder: str, task: Task) -> str | None:
        """The last lines that a task wrote to its error log; None if there are none, "" if none blames it.

        Args:
            folder: where its array was submitted from.
            task: whose log.
        """

    def cancel(self, tasks: Collection[Task]) -> None:
        """Stop tasks, wherever they are in their life; unknown ones are passed over."""

    def preview(
        self,
        *,
        name: str,
        folder: str,
        target: str,
        arguments: Sequence[Sequence[str]],
        options: ArrayOptions | None = None,
    ) -> str:
        """The exact text that `submit` would hand over; submits and writes nothing."""

    def test_submit(
        self, *, name: str, folder: str, count: int, options: ArrayOptions | None = None
    ) -> tuple[str, str, str]:
        """(level, what, hint): whether an array of this name and size would run; submits nothing.

        The level is `fail` where it never would, `warn` where that is not known now, else `ok`.
        """

    def notices(self) -> Sequence[tuple[str, str, str]]:
        """(level, what, hint) per line: what the site has set for its scheduler and is not followed."""

    def check(self) -> Sequence[tuple[str, str, str]]:
        """(level, what, hint) per line, level one of ok, warn, fail: what `doctor` prints."""


class Score(TypedDict):
    """One number that an evaluation by tasks gives."""

    name: str  # of the metric: hellaswag_acc_norm
    task: str
    metric: str  # acc_norm


class Adapters(Protocol):
    """What can be done with the adapters that a kind of trial leaves; loads no torch."""

    @property
    def evaluation_target(self) -> str:
        """`module:function` that judges an adapter or an untuned base model by tasks; called as a trial's."""

    @property
    def merge_target(self) -> str:
        """`module:function` that writes the weights of base model and adapter together."""

    @property
    def fixed(self) -> Sequence[str]:
        """The groups and keys of a recipe that must stay where training goes on from an adapter."""

    def scores(self, recipe: Mapping[str, Any]) -> Sequence[Score]:
        """What the tasks of a recipe report; empty where it has none."""

    def prepare(
        self, recipe: Mapping[str, Any], cache: str, bases: Sequence[str], say: Callable[[str], None]
    ) -> None:
        """Put into the cache what an evaluation on these bases (4bit, 16bit) needs, without running one."""


class TrialKind(Protocol):
    """What can be known of a kind of trial without running one; loads no torch.

    Its errors have an attribute `cause`, of `hpo.records.Cause`, and tell a hint in their text.
    A kind whose trials leave adapters has an attribute `adapters`, see `Adapters`.
    """

    @property
    def target(self) -> str:
        """`module:function` that runs a trial: (study folder, batch id, trial id)."""

    def resolve(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """The recipe as trials need it: paths absolute."""

    def problems(self, recipe: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        """(key path, what is wrong) for a recipe of model, data, trainer and evaluation."""

    def card_problems(self, recipe: Mapping[str, Any], names: str) -> Sequence[tuple[str, str]]:
        """(key path, what is wrong) with a recipe on cards whose names alone are known, as gpu:v100."""

    def notes(self, recipe: Mapping[str, Any]) -> Sequence[str]:
        """What is not wrong with a recipe, but to be known: a line each, for `plan`."""

    def metrics(self, recipe: Mapping[str, Any]) -> Sequence[str]:
        """The names of the metrics that a trial of this recipe reports."""

    def early_metrics(self, recipe: Mapping[str, Any], *, documents: bool) -> Sequence[str]:
        """The names of the metrics that a trial of this recipe can measure at its rungs.

        Args:
            documents: whether a rung asks some documents of each task.
        """

    def fewest_steps(self, recipe: Mapping[str, Any]) -> int | None:
        """Steps of a trial of this recipe, which no two rungs may share; None where they are not known."""

    def prepare(self, recipe: Mapping[str, Any], cache: str, say: Callable[[str], None]) -> None:
        """Put into the cache what every trial needs, so that nodes neither download nor convert."""

    def preview(self, recipe: Mapping[str, Any], cache: str, say: Callable[[str], None]) -> None:
        """Tell what trials of this recipe read, a line at a time; what is not learned stands in ⟦ and ⟧."""

    def peak_memory(
        self, recipe: Mapping[str, Any], cache: str, card: float | None = None, factor: float = 1.0
    ) -> Mapping[str, float] | None:
        """Bytes of GPU memory that a trial takes at its peak, by part, as far as they can be foretold.

        Two keys are always there: `total`, and `least`, which a trial comes down to on a small card. Where
        the bytes of the `card` are given, also `micro_batch` and `checkpointing` (0 or 1), as the trial
        would choose them, and the `chance`, in [0, 1], that the least fits. None where nothing can be said.
        `disk`, if it is there, are bytes that the trial leaves in its folder.
        """

    def training_effort(
        self, recipe: Mapping[str, Any], cache: str, card: float | None = None, factor: float = 1.0
    ) -> Mapping[str, float] | None:
        """What the training of a trial computes: `tokens` that it reads, and `flops`, operations of one card.

        `most` is 1 where examples are counted as long as they may be, else 0. None where nothing can be said.
        Arguments are as of `peak_memory`.
        """

    @property
    def memory_keys(self) -> Sequence[str]:
        """Key paths of the recipe on which `least` and `chance` depend, and no others."""

    def memory_seen(self, results: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
        """What the metrics of finished trials say of the memory that later ones take.

        Always the `factor` of `peak_memory` and from how many `trials` it is; where any trial tells its card,
        `card`, the bytes of the smallest.
        """

    def baseline(self, recipe: Mapping[str, Any], cache: str) -> Mapping[str, float] | None:
        """The metrics of the untuned model, where `prepare` has measured them."""

    def samples(self, recipe: Mapping[str, Any], cache: str) -> Mapping[str, Any] | None:
        """What the untuned model writes to fixed prompts, as `report` reads it, where `prepare` has asked."""

    def check(self, recipe: Mapping[str, Any], cache: str) -> Sequence[tuple[str, str, str]]:
        """(level, what, hint) per line: what `doctor` prints of the node."""
