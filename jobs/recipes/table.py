"""What a trial that a table answers is made of, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic import dataclasses as checked

from hpo.records import Metric, ParamValue
from jobs.errors import RecipeError, sound
from jobs.recipes.metrics import EVAL_LOSS, GROWING
from jobs.recipes.recipe import read_group
from jobs.recipes.recorded import Measured, RecordedTable, RecordedTrial, load

STRICT = ConfigDict(extra="forbid", protected_namespaces=())
CPU_SECONDS, SECONDS = "train_cpu_seconds", "train_seconds"
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]

Problem = tuple[str, str]


@checked.dataclass(frozen=True, config=STRICT)
class TableRecipe:
    """The keys of conf/trainer/table.yaml."""

    path: str
    parameters: dict[str, ParamValue]
    seconds_scale: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    start_seconds: NotNegative
    checkpoint_every_s: NotNegative

    @property
    def table(self) -> RecordedTable:
        """What answers.

        Raises:
            RecipeError: see `jobs.recipes.recorded.load`.
        """
        return load(Path(self.path))


@dataclass(frozen=True)
class TableAnswer:
    """What a configuration comes to, with the seconds of the recipe."""

    recipe: TableRecipe
    table: RecordedTable

    @cached_property
    def trial(self) -> RecordedTrial:
        """The recorded one that answers."""
        return self.table.nearest(self.recipe.parameters)

    @property
    def steps(self) -> int:
        """Of the trial."""
        return self.table.steps

    @cached_property
    def seconds(self) -> float:
        """That all steps take; of a trial that failed, at the pace of what it did, else of the median one."""
        if self.trial.measured:
            return _pace(self.trial) * self.steps * self.recipe.seconds_scale
        paces = sorted(_pace(trial) for trial in self.table.trials if trial.measured)
        return paces[len(paces) // 2] * self.steps * self.recipe.seconds_scale

    def at(self, step: int) -> dict[str, Metric]:
        """What was measured when so many steps were done; between two recorded ones, on the line between."""
        share = step / self.steps
        known = [Measured(0.0, 0, self.table.untuned), *self.trial.measured]
        for before, after in pairwise(known):
            if share <= after.share:
                weight = (share - before.share) / (after.share - before.share)
                return self._scaled(_between(before.metrics, after.metrics, weight))
        return self._scaled(known[-1].metrics)

    def at_rung(self, step: int) -> dict[str, Metric]:
        """The same, with what grows extrapolated to the end."""
        return {
            name: replace(metric, value=metric.value * self.steps / step) if name in GROWING else metric
            for name, metric in self.at(step).items()
        }

    def _scaled(self, metrics: Mapping[str, Metric]) -> dict[str, Metric]:
        """Seconds by the clock are the CPU's: the machine that recorded them was not alone."""
        seconds = Metric(metrics[CPU_SECONDS].value * self.recipe.seconds_scale)
        return {**metrics, SECONDS: seconds, CPU_SECONDS: seconds}


def _pace(trial: RecordedTrial) -> float:
    """Seconds of a step."""
    last = trial.measured[-1]
    return last.metrics[CPU_SECONDS].value / last.step


def _between(before: Mapping[str, Metric], after: Mapping[str, Metric], weight: float) -> dict[str, Metric]:
    """Values on the line between two records; what the first lacks grows from 0 or is as in the second."""
    found = {}
    for name, metric in after.items():
        first = before.get(name, Metric(0.0) if name in GROWING else metric)
        found[name] = replace(metric, value=first.value + weight * (metric.value - first.value))
    return found


def problems(recipe: Mapping[str, Any]) -> list[Problem]:
    """(key path, what is wrong) for everything that is; model, data and evaluation are not looked at."""
    found: list[Problem] = []
    read = read_group(TableRecipe, "trainer", recipe, found)
    if read is None:
        return found
    try:
        table = read.table
    except RecipeError as error:
        key, _, text = str(error).partition(": ")
        return [*found, (key, text)]
    wrong = {name: table.problem(name, value) for name, value in read.parameters.items()}
    return [*found, *((f"trainer.parameters.{name}", text) for name, text in wrong.items() if text)]


def parse(recipe: Mapping[str, Any]) -> TableAnswer:
    """Turn plain values into what a trial comes to.

    Raises:
        RecipeError: naming every problem by its key path.
    """
    known = sound(read_group(TableRecipe, "trainer", recipe, []), problems(recipe))
    return TableAnswer(known, known.table)


def metric_names(table: RecordedTable, *, early: bool) -> tuple[str, ...]:
    """What every trial of the table reports at its end, or at its rungs."""
    ended = [trial for trial in table.trials if trial.failure is None]
    rows = [row.metrics for trial in ended for row in (trial.measured[:-1] if early else trial.measured[-1:])]
    common = set.intersection(*map(set, rows)) if rows else {EVAL_LOSS, SECONDS, CPU_SECONDS}
    return tuple(name for name in (rows[0] if rows else sorted(common)) if name in common)
