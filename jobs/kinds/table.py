"""The trial kind of conf/trainer/table.yaml: what can be known of a trial that a recorded table answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.errors import RecipeError
from jobs.kinds.base import Unforetold
from jobs.recipes.recorded import RecordedTable, load
from jobs.recipes.table import Problem, metric_names, problems


class Table(Unforetold):
    """See `hpo.ports.TrialKind`; model, data and evaluation of the recipe are not used."""

    @property
    def target(self) -> str:
        """`module:function` that runs a trial."""
        return "jobs.run_table:main"

    def resolve(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """The recipe with the path of the table made absolute."""
        trainer = dict(recipe["trainer"])
        trainer["path"] = str(Path(str(trainer["path"])).expanduser().resolve())
        return {**recipe, "trainer": trainer}

    def problems(self, recipe: Mapping[str, Any]) -> Sequence[Problem]:
        """(key path, what is wrong) for everything that is wrong with the trainer."""
        return problems(recipe)

    def metrics(self, recipe: Mapping[str, Any]) -> Sequence[str]:
        """What every recorded trial reports."""
        table = _table(recipe)
        return metric_names(table, early=False) if table else ()

    def early_metrics(self, recipe: Mapping[str, Any], *, documents: bool) -> Sequence[str]:
        """What every recorded trial reports at its rungs."""
        table = _table(recipe)
        return metric_names(table, early=True) if table else ()

    def fewest_steps(self, recipe: Mapping[str, Any]) -> int | None:
        """As recorded."""
        table = _table(recipe)
        return table.steps if table else None

    def prepare(self, recipe: Mapping[str, Any], cache: str, say: Callable[[str], None]) -> None:
        """Nothing: the trial reads the table where it is."""

    def preview(self, recipe: Mapping[str, Any], cache: str, say: Callable[[str], None]) -> None:
        """Tell which table it is."""
        if (table := _table(recipe)) is not None:
            failed = sum(trial.failure is not None for trial in table.trials)
            say(f"table {table.name}: {len(table.trials)} recorded trials, {failed} of them failed")

    def baseline(self, recipe: Mapping[str, Any], cache: str) -> Mapping[str, float] | None:
        """The recorded loss of the untuned model."""
        table = _table(recipe)
        return {name: metric.value for name, metric in table.untuned.items()} if table else None

    def check(self, recipe: Mapping[str, Any], cache: str) -> Sequence[tuple[str, str, str]]:
        """Whether this machine has the table.

        Returns:
            (level, what, hint) per line.
        """
        table = _table(recipe)
        if table is None:
            return [("fail", f"trainer.path: got {recipe['trainer'].get('path')}, expected a table", "")]
        return [
            ("ok", f"table {table.name} of {len(table.trials)} trials needs neither a model nor a GPU", "")
        ]


def _table(recipe: Mapping[str, Any]) -> RecordedTable | None:
    """The table of a recipe; None where there is none, as `problems` says."""
    path = recipe.get("trainer", {}).get("path")
    try:
        return load(Path(path).expanduser()) if isinstance(path, str) else None
    except RecipeError:
        return None
