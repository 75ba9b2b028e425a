"""The trial kind of conf/trainer/decode.yaml: what can be known of a trial of decoding. Loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.cache import intact, key_of
from jobs.errors import TrialError
from jobs.kinds.base import Unforetold
from jobs.kinds.qlora import Qlora
from jobs.prepare.isolated_process import run_isolated
from jobs.recipes.decode import DecodeRecipe, Problem, examine, parse
from jobs.recipes.metrics import DecodeMetrics, names
from jobs.recipes.recipe import Quantisation
from jobs.recipes.sources import base_settings, find_source, model_problems
from jobs.recipes.stored import stored_quantisation
from jobs.recipes.task_metrics import metric_names

METRICS = names(DecodeMetrics)


class Decode(Unforetold):
    """See `hpo.ports.TrialKind`; data of the recipe is not used."""

    @property
    def target(self) -> str:
        """`module:function` that runs a trial."""
        return "jobs.run_decode:main"

    def resolve(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """The recipe with absolute paths of model, adapter and tasks."""
        resolved = Qlora().resolve({name: group for name, group in recipe.items() if name != "data"})
        trainer = dict(recipe["trainer"])
        if trainer.get("adapter"):
            trainer["adapter"] = str(Path(trainer["adapter"]).expanduser().resolve())
        return {**resolved, "data": recipe.get("data", {}), "trainer": trainer}

    def problems(self, recipe: Mapping[str, Any]) -> Sequence[Problem]:
        """(key path, what is wrong) for everything that can be seen without loading a model."""
        read, found = examine(recipe)
        return found if read is None else [*found, *model_problems(read.model)]

    def metrics(self, recipe: Mapping[str, Any]) -> Sequence[str]:
        """The names of the metrics that every trial reports."""
        read, _ = examine(recipe)
        return METRICS if read is None else (*metric_names(read.evaluation), *METRICS)

    def prepare(self, recipe: Mapping[str, Any], cache: str, say: Callable[[str], None]) -> None:
        """Convert and quantise the base model and fetch the tasks' documents, as far as the cache lacks them.

        Raises:
            TrialError: with the message of what failed.
        """
        run_isolated("jobs.prepare.decode", recipe, cache, say)

    def preview(self, recipe: Mapping[str, Any], cache: str, say: Callable[[str], None]) -> None:
        """Tell what the model is asked."""
        tasks = parse(recipe).tasks
        asked = ", ".join(tasks.names or [f"every task of {tasks.folder}"])
        limit = "all documents" if tasks.limit is None else f"the first {tasks.limit} documents of each task"
        say(f"nothing is learned; the model is asked {asked}: {limit}")

    def check(self, recipe: Mapping[str, Any], cache: str) -> Sequence[tuple[str, str, str]]:
        """Whether the cache has the base model.

        Returns:
            (level, what, hint) per line.
        """
        read = parse(recipe)
        try:
            ready = _ready(read, Path(cache))
        except TrialError as error:
            what, _, hint = str(error).partition("\n\nhint: ")
            return [("fail", what, hint)]
        if ready:
            return [("ok", f"{read.model.name} is in the cache", "")]
        lacking = f"{read.model.name} is not prepared in the cache {cache}"
        return [("warn", lacking, "the next `tune` prepares it")]


def _ready(recipe: DecodeRecipe, cache: Path) -> bool:
    source, settings = find_source(recipe.model), base_settings(recipe.model, recipe.trainer, cache)
    if not source.packed and stored_quantisation(source.path) is not Quantisation.NONE:
        return True
    if recipe.trainer.quantisation is not Quantisation.NONE:
        return intact(cache / "bases" / key_of(**settings))
    return not source.packed or intact(cache / "models" / settings["source"])
