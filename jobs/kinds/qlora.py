"""What can be known of a QLoRA trial without running one. Loads no torch: what needs it runs apart."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.data.problems import data_notes, data_problems, file_problems
from jobs.errors import TrialError
from jobs.evaluation.baseline import read_baseline, read_samples
from jobs.evaluation.prompts import prompt_problems
from jobs.kinds.adapters import QloraAdapters
from jobs.memory.flops import training_effort
from jobs.memory.forecast import memory_seen, packing_problems, peak_memory
from jobs.memory.sizing import MEMORY_KEYS
from jobs.prepare.isolated_process import run_isolated
from jobs.recipes.cards import card_problems
from jobs.recipes.data import local_paths, resolve_data
from jobs.recipes.evaluation import DEMO
from jobs.recipes.metrics import EARLY, CardMetrics, TrainingMetrics, names
from jobs.recipes.recipe import examine, parse
from jobs.recipes.sources import model_problems
from jobs.recipes.stored import storage_problems
from jobs.recipes.task_metrics import metric_names, survey
from jobs.recipes.trainer_arguments import argument_problems

METRICS = names(TrainingMetrics)
ON_A_CARD = names(CardMetrics)

Problem = tuple[str, str]


class Qlora:
    """The trial kind of conf/trainer/qlora.yaml; see `hpo.ports.TrialKind`."""

    @property
    def target(self) -> str:
        """`module:function` that runs a trial."""
        return "jobs.run_trial:main"

    @property
    def adapters(self) -> QloraAdapters:
        """What can be done with what the trials leave."""
        return QloraAdapters()

    def problems(self, recipe: Mapping[str, Any]) -> Sequence[Problem]:
        """What can be seen without loading a model."""
        if isinstance(data := recipe.get("data"), Mapping):
            recipe = {**recipe, "data": local_paths(data)}
        examined = examine(recipe)
        found = [*examined.problems, *argument_problems(recipe)]
        if examined.model is not None:
            found += model_problems(examined.model)
        if examined.recipe is not None:
            plain_too = examined.recipe.evaluation.plain_too
            found += storage_problems(examined.recipe.model, examined.recipe.trainer, plain_too=plain_too)
        if examined.evaluation is not None and examined.evaluation.tasks is not None:
            found += survey(examined.evaluation.tasks).problems
        if examined.data is not None:
            if examined.evaluation is not None:
                found += prompt_problems(examined.evaluation.samples, examined.data.template)
            if examined.model is not None:
                found += packing_problems(examined.model, examined.data)
            return [*found, *data_problems(examined.data)]
        return [*found, *file_problems(recipe)]

    def card_problems(self, recipe: Mapping[str, Any], names: str) -> Sequence[Problem]:
        """See `jobs.recipes.cards`."""
        trainer = examine(recipe).trainer
        return [] if trainer is None else card_problems(trainer, names)

    def notes(self, recipe: Mapping[str, Any]) -> Sequence[str]:
        """How its data is read."""
        data = examine(recipe).data
        return () if data is None else data_notes(data)

    def metrics(self, recipe: Mapping[str, Any]) -> Sequence[str]:
        """Those of a trial on a card that counts its energy."""
        evaluation = examine(recipe).evaluation
        of_training = (*METRICS, *ON_A_CARD)
        return of_training if evaluation is None else (*of_training, *metric_names(evaluation))

    def early_metrics(self, recipe: Mapping[str, Any], *, documents: bool) -> Sequence[str]:
        """The loss and what training takes; the metrics of tasks where these are asked."""
        evaluation = examine(recipe).evaluation
        tasks = evaluation.tasks if evaluation and documents else None
        return (*EARLY, *(one.name for one in (survey(tasks).reported if tasks else ())))

    def fewest_steps(self, recipe: Mapping[str, Any]) -> int | None:
        """Of a trial whose length is not told in epochs."""
        trainer = examine(recipe).trainer
        return trainer.max_steps if trainer else None

    def resolve(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """With absolute paths of model, data and tasks, and the text of template files."""
        groups = {name: dict(group) for name, group in recipe.items() if isinstance(group, Mapping)}
        resolved = {**recipe, **groups}
        model = groups.get("model", {})
        resolved["data"] = resolve_data(groups.get("data", {}))
        if model.get("path") and Path(model["path"]).expanduser().is_dir():
            model["path"] = str(Path(model["path"]).expanduser().resolve())
        evaluation = groups.get("evaluation", {})
        if isinstance(tasks := evaluation.get("tasks"), Mapping) and tasks.get("folder") not in (None, DEMO):
            folder = str(Path(tasks["folder"]).expanduser().resolve())
            evaluation["tasks"] = {**tasks, "folder": folder}
        return resolved

    def prepare(self, recipe: Mapping[str, Any], cache: str, say: Callable[[str], None]) -> None:
        """Convert and quantise the base model and measure it untuned, as far as the cache lacks it."""
        run_isolated("jobs.prepare.trials", recipe, cache, say)

    def preview(self, recipe: Mapping[str, Any], cache: str, say: Callable[[str], None]) -> None:
        """What became of the rows, how long the examples are, and what some of them look like."""
        run_isolated("jobs.prepare.preview", recipe, cache, say)

    def peak_memory(
        self, recipe: Mapping[str, Any], cache: str, card: float | None = None, factor: float = 1.0
    ) -> Mapping[str, float] | None:
        """See `jobs.memory.forecast`."""
        return peak_memory(recipe, Path(cache), card, factor)

    def training_effort(
        self, recipe: Mapping[str, Any], cache: str, card: float | None = None, factor: float = 1.0
    ) -> Mapping[str, float] | None:
        """See `jobs.memory.flops`."""
        return training_effort(recipe, Path(cache), card, factor)

    @property
    def memory_keys(self) -> Sequence[str]:
        """See `jobs.memory.sizing`."""
        return MEMORY_KEYS

    def memory_seen(self, results: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
        """See `jobs.memory.forecast`."""
        return memory_seen(results)

    def baseline(self, recipe: Mapping[str, Any], cache: str) -> Mapping[str, float] | None:
        """See `jobs.evaluation.baseline.read_baseline`."""
        return read_baseline(parse(recipe), Path(cache))

    def samples(self, recipe: Mapping[str, Any], cache: str) -> Mapping[str, Any] | None:
        """See `jobs.evaluation.baseline.read_samples`."""
        return read_samples(parse(recipe), Path(cache))

    def check(self, recipe: Mapping[str, Any], cache: str) -> Sequence[tuple[str, str, str]]:
        """See `jobs.prepare.checks`."""
        with tempfile.TemporaryDirectory() as folder:
            answer = Path(folder) / "lines.json"
            try:
                run_isolated("jobs.prepare.checks", recipe, cache, lambda line: None, str(answer))
            except TrialError as error:
                last = str(error).splitlines()[-1]
                return [
                    ("fail", f"the trial's libraries do not load: {last}", "install torch and the rest anew")
                ]
            return [
                (level, what, hint) for level, what, hint in json.loads(answer.read_text(encoding="utf-8"))
            ]
