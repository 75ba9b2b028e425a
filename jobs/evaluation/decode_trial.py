"""One trial of decoding from its spec to its result: load, generate, judge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from hpo.records import Metric, Progress, TrialResult, TrialSpec
from jobs.attempt.attempt import Attempt
from jobs.attempt.console import say
from jobs.attempt.environment import machine, peak_host_memory_gib, seconds_since_start, versions
from jobs.cache import key_of, known_digest
from jobs.evaluation.shards import Answers, StoredShards
from jobs.evaluation.task_model import Asking
from jobs.evaluation.tasks import judge_by_tasks
from jobs.models.base_model import BaseFolder, load, obtain_base
from jobs.models.libraries import quiet
from jobs.models.precision import Precision, of_this_machine
from jobs.recipes.decode import DecodeRecipe, parse
from jobs.recipes.metrics import DecodeMetrics


class CountedShards:
    """Counts the documents of every shard, and notes that it is kept; see `jobs.evaluation.shards.Shards`.

    Args:
        attempt: to be told of every new one.
    """

    def __init__(self, kept: StoredShards, attempt: Attempt) -> None:
        self._kept, self._attempt = kept, attempt
        self.documents = self.shards = 0

    @property
    def seconds(self) -> float:
        """Of all attempts, spent on the shards that were asked for."""
        return self._kept.spent_s

    def obtain(self, name: str, asked: Any, compute: Callable[[], Answers]) -> Answers:
        """The answers of one shard.

        Args:
            asked: what decides them, with the model.
        """
        earlier = self._kept.earlier_s
        answers = self._kept.obtain(name, asked, compute)
        self.documents += len(answers)
        self.shards += 1
        if self._kept.earlier_s == earlier:
            self._attempt.log.saved(self.shards)
        else:
            self._attempt.log.resumed(self.shards)
        return answers


def run(spec: TrialSpec, attempt: Attempt) -> TrialResult:
    """Run one attempt of a trial to its end.

    Raises:
        TrialError: see `jobs.errors`.
    """
    quiet()
    recipe, cache, signals = parse(spec.recipe), Path(spec.cache), attempt.signals
    progress = attempt.progress()
    progress.phase(Progress(attempt.number, "loading"))
    precision = of_this_machine()
    on_card = precision.device.type == "cuda"
    device = torch.cuda.get_device_name(precision.device) if on_card else "cpu"
    attempt.log.on_device(device)
    base = obtain_base(recipe, cache, say)
    tokenizer, model = _load(recipe, base, precision)
    start = seconds_since_start()
    adapter = _adapter_digest(recipe, cache)
    shards = CountedShards(_kept(spec, attempt, recipe, base, adapter, precision), attempt)

    def after_batch() -> None:
        progress.step(Progress(attempt.number, "evaluating", shards.documents))
        if signals.due:
            signals.answer()  # the shards that are finished are kept already

    progress.phase(Progress(attempt.number, "evaluating"))
    shard, size = recipe.tasks.shard_documents, recipe.evaluation.batch_size
    asking = Asking(size, shard, precision, after_batch, spec.seed)
    judged = judge_by_tasks(model, tokenizer, recipe.tasks, cache, asking, shards, recipe.trainer.decoding)
    progress.phase(Progress(attempt.number, "done", shards.documents, shards.documents))
    peak = torch.cuda.max_memory_reserved(precision.device) / 2**30 if on_card else peak_host_memory_gib()
    measured = DecodeMetrics(
        seconds_per_document=Metric(shards.seconds / shards.documents),
        eval_seconds=Metric(shards.seconds),
        start_seconds=Metric(start),
        peak_memory_gib=Metric(peak),
    )
    metrics = {**judged.metrics, **measured.measured()}
    details = {
        "device": device,
        "compute": str(precision.compute).removeprefix("torch."),
        "machine": machine(),
        "versions": versions(),
        "seed": spec.seed,
        "documents": shards.documents,
        "decoding": recipe.trainer.decoding,
        "hashes": {"recipe": spec.recipe_hash, "base": base.key, "adapter": adapter},
    }
    return TrialResult(spec.trial, attempt.number, metrics, details)


def _load(
    recipe: DecodeRecipe, base: BaseFolder, precision: Precision
) -> tuple[PreTrainedTokenizerBase, torch.nn.Module]:
    trust = recipe.model.trust_remote_code
    tokenizer = AutoTokenizer.from_pretrained(base.folder, trust_remote_code=trust)
    model: torch.nn.Module = load(base.folder, recipe.model, precision)
    if recipe.trainer.adapter is not None:
        model = PeftModel.from_pretrained(cast(Any, model), recipe.trainer.adapter)
    return cast(PreTrainedTokenizerBase, tokenizer), model.eval()


def _adapter_digest(recipe: DecodeRecipe, cache: Path) -> str:
    """Name of the adapter by its content; "" where there is none."""
    if recipe.trainer.adapter is None:
        return ""
    files = sorted(Path(recipe.trainer.adapter).glob("adapter_*"))
    return key_of(files={path.name: known_digest(path, cache) for path in files})


def _kept(
    spec: TrialSpec,
    attempt: Attempt,
    recipe: DecodeRecipe,
    base: BaseFolder,
    adapter: str,
    precision: Precision,
) -> StoredShards:
    """The place of the shards, by all that decides the answers and is no part of the questions."""
    compute, size = str(precision.compute), recipe.evaluation.batch_size
    key = key_of(base=base.key, adapter=adapter, compute=compute, batch_size=size, seed=spec.seed)
    return StoredShards(attempt.paths.evaluation / key, attempt.owner.confirm)
