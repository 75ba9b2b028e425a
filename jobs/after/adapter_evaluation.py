"""A saved adapter, or the untuned base model, judged by tasks; finished shards survive whatever happens."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from peft import PeftModel
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from hpo.records import SCHEMA_VERSION, Metric, Progress, TrialResult, TrialSpec, write_json
from jobs.attempt.attempt import Attempt
from jobs.attempt.card import Card
from jobs.attempt.console import say
from jobs.attempt.environment import machine, seconds_since_start, versions
from jobs.attempt.progress import ProgressLog
from jobs.cache import file_digest, key_of
from jobs.data.marks import pad_token
from jobs.data.tokens import Collator
from jobs.evaluation.judging import Judge
from jobs.evaluation.shards import StoredShards
from jobs.evaluation.tasks import TaskScores
from jobs.models.adapter import WEIGHTS
from jobs.models.base_model import load, obtain_base
from jobs.models.libraries import quiet
from jobs.models.precision import Precision, of_this_machine
from jobs.prepare.bases import on_base
from jobs.recipes.evaluation import JudgedBase
from jobs.recipes.recipe import Recipe, parse
from jobs.recipes.task_metrics import survey


def run(spec: TrialSpec, attempt: Attempt) -> TrialResult:
    """Judge the adapter that a spec names, or the base model where it names none.

    Args:
        spec: its recipe says with `judged.base` on which base model.

    Returns:
        The result, not committed yet; what single documents scored is written beside it.

    Raises:
        TrialError: see `jobs.errors`.
    """
    quiet()
    recipe = on_base(parse(spec.recipe), JudgedBase(spec.recipe["judged"]["base"]))
    progress = attempt.progress()
    progress.phase(Progress(attempt.number, "loading"))
    precision = of_this_machine()
    card = Card.of(precision.device)
    attempt.log.on_device(card.name)
    base = obtain_base(recipe, Path(spec.cache), say)
    model = load(base.folder, recipe.model, precision)
    adapted: Any = PeftModel.from_pretrained(model, spec.adapter) if spec.adapter else model
    adapter = file_digest(Path(spec.adapter) / WEIGHTS)[:20] if spec.adapter else None
    compute, size = str(precision.compute), recipe.evaluation.batch_size
    key = key_of(adapter=adapter, base=base.key, compute=compute, batch_size=size)
    shards = StoredShards(attempt.paths.evaluation / key, attempt.owner.confirm)
    start_seconds, began = seconds_since_start(), time.monotonic()
    watch = Watch(attempt, progress)
    scores = _judge(recipe, spec, base.folder, precision).scores(
        adapted, shards, watch.after_batch, each=True
    )
    seconds = time.monotonic() - began + shards.earlier_s
    attempt.owner.confirm()
    attempt.insist(lambda: _write_documents(attempt, scores), "write the documents' scores")
    metrics = {
        **scores.metrics,
        "eval_seconds": Metric(seconds),
        "start_seconds": Metric(start_seconds),
        "peak_memory_gib": Metric(card.peak_bytes() / 2**30),
    }
    hashes = {"recipe": spec.recipe_hash, "base": base.key, "adapter": adapter}
    details = {**provenance(card, precision), "scores": _told(recipe, scores), "hashes": hashes}
    progress.phase(watch.line("done"))
    return TrialResult(spec.trial, attempt.number, metrics, details)


class Watch:
    """After every forward pass: progress, and the answer to signals; every finished shard is kept already."""

    def __init__(self, attempt: Attempt, progress: ProgressLog) -> None:
        self._attempt, self._progress, self._passes = attempt, progress, 0

    def after_batch(self) -> None:
        """Called after every forward pass."""
        self._passes += 1
        self._progress.step(self.line("evaluating"))
        if self._attempt.signals.due:
            self._attempt.signals.answer()

    def line(self, phase: str) -> Progress:
        """Where the evaluation stands: forward passes of this attempt, of nobody knows how many."""
        return Progress(self._attempt.number, phase, self._passes)


def _judge(recipe: Recipe, spec: TrialSpec, folder: Path, precision: Precision) -> Judge:
    trust = recipe.model.trust_remote_code
    tokenizer = cast(PreTrainedTokenizerBase, AutoTokenizer.from_pretrained(folder, trust_remote_code=trust))
    return Judge(recipe, Path(spec.cache), tokenizer, [], Collator(pad_token(tokenizer)), precision)


def _write_documents(attempt: Attempt, scores: TaskScores) -> None:
    documents = {name: asdict(one) for name, one in scores.documents.items()}
    write_json(attempt.paths.documents, {"schema_version": SCHEMA_VERSION, "documents": documents})


def _told(recipe: Recipe, scores: TaskScores) -> list[dict[str, Any]]:
    """What each number is, for whoever makes tables of them."""
    assert recipe.evaluation.tasks is not None
    return [
        {
            "name": one.name,
            "task": one.task,
            "metric": one.metric,
            "higher_is_better": scores.higher_is_better.get(one.name),
            "documents": len(scores.documents[one.name].values) if one.name in scores.documents else None,
        }
        for one in survey(recipe.evaluation.tasks).reported
    ]


def provenance(card: Card, precision: Precision) -> dict[str, Any]:
    """Where and with what something was computed."""
    compute = str(precision.compute).removeprefix("torch.")
    return {"device": card.name, "compute": compute, "machine": machine(), "versions": versions()}
