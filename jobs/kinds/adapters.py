"""What can be done with the adapters that QLoRA trials leave; see `hpo.ports.Adapters`. Loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jobs.prepare.isolated_process import run_isolated
from jobs.recipes.recipe import SHAPES_ADAPTER, examine, marked
from jobs.recipes.task_metrics import survey


class QloraAdapters:
    """Evaluated by tasks, and merged into the base model."""

    @property
    def evaluation_target(self) -> str:
        """`module:function` that judges an adapter, or the untuned base model."""
        return "jobs.run_evaluation:main"

    @property
    def merge_target(self) -> str:
        """`module:function` that writes merged weights."""
        return "jobs.run_merge:main"

    @property
    def fixed(self) -> Sequence[str]:
        """What decides the shape of an adapter, and what it computes from its weights."""
        return ("model", *marked(SHAPES_ADAPTER))

    def scores(self, recipe: Mapping[str, Any]) -> Sequence[Mapping[str, str]]:
        """What the tasks of a recipe report.

        Returns:
            name, task and metric of each number; none where there are no tasks.
        """
        evaluation = examine(recipe).evaluation
        if evaluation is None or evaluation.tasks is None:
            return []
        reported = survey(evaluation.tasks).reported
        return [{"name": one.name, "task": one.task, "metric": one.metric} for one in reported]

    def prepare(
        self, recipe: Mapping[str, Any], cache: str, bases: Sequence[str], say: Callable[[str], None]
    ) -> None:
        """Put the base models and the tasks' data into the cache; nothing is evaluated.

        Raises:
            TrialError: with the message of what failed.
        """
        run_isolated("jobs.prepare.bases", recipe, cache, say, *bases)
