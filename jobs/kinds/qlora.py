"""What can be known of a QLoRA trial without running one. Loads no torch: what needs it runs apart."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.data.problems import data_problems, file_problems
from jobs.evaluation.baseline import read_baseline, read_samples
from jobs.evaluation.prompts import prompt_problems
from jobs.kinds.adapters import QloraAdapters
from jobs.memory.flops import training_effort
from jobs.memory.forecast import memory_seen, packing_problems, peak_memory
from jobs.memory.sizing import MEMORY_KEYS
from jobs.prepare.isolated_process import run_apart
from jobs.recipes.data import resolve_data
from jobs.recipes.evaluation import DEMO
from jobs.recipes.recipe import examine, parse
from jobs.recipes.sources import model_problems
from jobs.recipes.task_metrics import metric_names, survey
from jobs.recipes.trainer_arguments import argument_problems

METRICS = (
    "eval_loss", "train_loss", "train_seconds", "train_cpu_seconds", "eval_seconds", "start_seconds",
    "tokens", "tokens_per_second", "peak_memory_gib", "trainable_parameters", "adapter_bytes",
    "skipped_steps",
)  # fmt: skip
ON_A_CARD = ("gpu_memory_gib", "foretold_memory_gib", "training_memory_gib", "gpu_energy_wh")

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
        """Everything that is wrong with a recipe, as far as it can be seen without loading a model.

        Returns:
            (key path, what is wrong) per problem.
        """
        examined = examine(recipe)
        found = [*examined.problems, *argument_problems(recipe)]
        if examined.model is not None:
            found += model_problems(examined.model)
        if examined.evaluation is not None and examined.evaluation.tasks is not None:
            found += survey(examined.evaluation.tasks).problems
        if examined.data is not None:
            if examined.evaluation is not None:
                found += prompt_problems(examined.evaluation.samples, examined.data.template)
            if examined.model is not None:
                found += packing_problems(examined.model, examined.data)
            return [*found, *data_problems(examined.data)]
        return [*found, *file_problems(recipe)]

    def metrics(self, recipe: Mapping[str, Any]) -> Sequence[str]:
        """The names of the metrics that trials report, on a card and where it counts its energy."""
        evaluation = examine(recipe).evaluation
        own = (*METRICS, *ON_A_CARD)
        return own if evaluation is None else (*own, *metric_names(evaluation))

    def resolve(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """The recipe as trials need it: the paths in it do not depend on where a command is given."""
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
        """Convert and quantise the base model and measure it untuned, as far as the cache lacks it.

        Raises:
            TrialError: with the message of what failed.
        """
        run_apart("jobs.prepare.trials", recipe, cache, say)

    def preview(self, recipe: Mapping[str, Any], cache: str, say: Callable[[str], None]) -> None:
        """Tell what became of the rows, how long the examples are, and what some of them look like.

        Raises:
            TrialError: with the message of what failed.
        """
        run_apart("jobs.prepare.preview", recipe, cache, say)

    def peak_memory(
        self, recipe: Mapping[str, Any], cache: str, card: float | None = None, factor: float = 1.0
    ) -> Mapping[str, float] | None:
        """Bytes of GPU memory at the peak of a trial, by part; see `jobs.memory.forecast`."""
        return peak_memory(recipe, Path(cache), card, factor)

    def training_effort(
        self, recipe: Mapping[str, Any], cache: str, card: float | None = None, factor: float = 1.0
    ) -> Mapping[str, float] | None:
        """What a training computes; see `jobs.memory.flops`."""
        return training_effort(recipe, Path(cache), card, factor)

    @property
    def memory_keys(self) -> Sequence[str]:
        """The keys of a recipe that the least memory of a trial depends on."""
        return MEMORY_KEYS

    def memory_seen(self, results: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
        """What finished trials say of cards and of how well their memory was foretold.

        Returns:
            `factor`, to multiply what is foretold with, and from how many `trials`; `card`, bytes of the
            smallest, where any was seen.
        """
        return memory_seen(results)

    def baseline(self, recipe: Mapping[str, Any], cache: str) -> Mapping[str, float] | None:
        """The untuned base model on the validation examples, if `prepare` has measured it.

        Returns:
            eval_loss and standard_error in nats per token; numbers of examples and tokens.
        """
        return read_baseline(parse(recipe), Path(cache))

    def samples(self, recipe: Mapping[str, Any], cache: str) -> Mapping[str, Any] | None:
        """What the untuned base model writes to the prompts of the evaluation, if `prepare` has asked it."""
        return read_samples(parse(recipe), Path(cache))

    def check(self, recipe: Mapping[str, Any], cache: str) -> Sequence[tuple[str, str, str]]:
        """What `doctor` says of this machine.

        Returns:
            (ok, warn or fail; what; hint) per line.
        """
        with tempfile.TemporaryDirectory() as folder:
            file, answer = Path(folder) / "recipe.json", Path(folder) / "lines.json"
            file.write_text(json.dumps(dict(recipe)), encoding="utf-8")
            command = [sys.executable, "-m", "jobs.prepare.checks", str(file), cache, str(answer)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if not answer.exists():
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                return [
                    ("fail", f"the trial's libraries do not load: {last}", "install torch and the rest anew")
                ]
            return [
                (level, what, hint) for level, what, hint in json.loads(answer.read_text(encoding="utf-8"))
            ]
