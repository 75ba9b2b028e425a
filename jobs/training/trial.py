"""One trial from its spec to its result: load, train, evaluate, save."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from hpo.paths import TrialPaths
from hpo.records import Metric, Progress, StoppedResult, TrialResult, TrialSpec
from jobs.attempt.attempt import Attempt
from jobs.attempt.card import Card
from jobs.attempt.console import say
from jobs.attempt.environment import machine, seconds_since_start, versions
from jobs.attempt.rungs import RungLog, rung_steps
from jobs.data.marks import pad_token
from jobs.data.packing import Packer, attend_within_examples
from jobs.data.rows import data_key
from jobs.data.tokens import Collator, Examples
from jobs.evaluation.answer_scores import measure_for
from jobs.evaluation.baseline import read_baseline
from jobs.evaluation.examples import obtain_examples
from jobs.evaluation.judging import Judge
from jobs.evaluation.validation_loss import Judgement
from jobs.models.adapter import AdapterSize, add_adapter, begin_from, save_adapter
from jobs.models.base_model import BaseFolder, load, obtain_base
from jobs.models.libraries import quiet, use_cores
from jobs.models.precision import Precision, of_this_machine
from jobs.recipes.data import DataRecipe, Packing
from jobs.recipes.heads import PLAIN_HEADS
from jobs.recipes.metrics import TrainingMetrics
from jobs.recipes.recipe import Recipe, parse
from jobs.training.gpus import Place
from jobs.training.loop import Plan, progress_line, train
from jobs.training.rank_group import part, rank_group
from jobs.training.resources import drawn_energy, memory_metrics
from jobs.training.rungs import RungMeter
from jobs.training.shared_checkpoints import SharedCheckpoints
from jobs.training.trainer import AdapterTrainer, Surroundings, makes_again
from jobs.training.trial_evaluation import TrialEvaluation


@dataclass(frozen=True)
class Loaded:
    """What a trial works with."""

    base: BaseFolder
    model: torch.nn.Module
    examples: Examples
    collator: Collator
    tokenizer: PreTrainedTokenizerBase


@dataclass
class Times:
    """Seconds and memory of this attempt."""

    start: float = 0.0  # from the start of the process to the first step
    evaluation: float = 0.0  # over all attempts, as far as their parts are used
    peak_gib: float = 0.0  # of memory, of any rank while it trained, and of this one while it judged


def load_all(
    recipe: Recipe, cache: Path, precision: Precision, after_batch: Callable[[], None] = lambda: None
) -> Loaded:
    """Base model, examples and collator of a recipe.

    Args:
        after_batch: called after every forward pass, if curation needs losses that the cache does not hold.
    """
    base = obtain_base(recipe, cache, say)
    trust = recipe.model.trust_remote_code
    tokenizer = cast(
        PreTrainedTokenizerBase, AutoTokenizer.from_pretrained(base.folder, trust_remote_code=trust)
    )
    model, collator = load(base.folder, recipe.model, precision), Collator(pad_token(tokenizer))
    measure = measure_for(recipe, model, tokenizer, precision, after_batch)
    examples = obtain_examples(recipe, cache, lambda: tokenizer, say, measure)
    account = examples.account
    for line in (*account.notes(), *account.lines(), *account.curation()):
        say(line)
    say(
        f"{len(examples.train)} training and {len(examples.validation)} validation examples; "
        f"{examples.dropped} dropped and {examples.cut} cut at {recipe.data.max_length} tokens"
    )
    return Loaded(base, model, examples, collator, tokenizer)


def with_adapter(loaded: Loaded, recipe: Recipe, spec: TrialSpec) -> PeftModel:
    """The base model with a fresh adapter, or with the one that the trial begins from."""
    origin = recipe.model.path or str(loaded.base.plain)
    adapted = add_adapter(cast(Any, loaded.model), recipe.trainer, spec.seed, origin)
    if spec.adapter is not None:
        begin_from(adapted, Path(spec.adapter))  # the newest checkpoint, if there is one, outranks it
    return adapted


def plan_of(spec: TrialSpec, recipe: Recipe, loaded: Loaded, attempt: int, paths: TrialPaths) -> Plan:
    """How long an attempt trains, from which seed."""
    steps = recipe.trainer.steps(len(loaded.examples.train), spec.fidelity)
    rungs = rung_steps(spec.rungs, steps)
    return Plan(steps, spec.seed, attempt, paths.checkpoints, spec.memory_factor, rungs)


def run(spec: TrialSpec, attempt: Attempt, place: Place) -> TrialResult | StoppedResult:
    """Run one attempt of a trial to its end.

    Returns:
        The result, or that of a rung, not committed yet; the adapter is saved.

    Raises:
        TrialError: see `jobs.errors`.
    """
    quiet()
    recipe, cache, signals = place.settled(parse(spec.recipe)), Path(spec.cache), attempt.signals
    progress = attempt.progress()
    progress.phase(Progress(attempt.number, "loading"))
    precision = replace(of_this_machine(), cards=place.layers)
    card = Card.of(precision.device, precision.cards)
    attempt.log.on_device(card.name)
    times = Times()

    def first_step() -> None:
        times.start = seconds_since_start()
        say(f"first step {times.start:.1f} s after the start of the process")

    with rank_group(attempt, place, precision.device) as join:
        use_cores(place.ranks)
        loaded = load_all(recipe, cache, precision, signals.answer_if_due)
        collator = collator_of(loaded, recipe.data)
        adapted = with_adapter(loaded, recipe, spec)
        signals.answer_if_due()
        ranks = join()
        checkpoints = SharedCheckpoints(attempt.checkpoints, ranks)
        surroundings = Surroundings(precision, card, progress, checkpoints, signals, ranks)
        plan = plan_of(spec, recipe, loaded, attempt.number, attempt.paths)
        judge = Judge(recipe, cache, loaded.tokenizer, loaded.examples.validation, loaded.collator, precision)
        trained = plan.steps * recipe.trainer.batch_size // place.ranks
        meter = RungMeter.of(RungLog(attempt), judge, loaded.examples, spec, trained) if plan.rungs else None
        trainer = train(
            adapted, loaded.examples, collator, recipe.trainer, plan, surroundings, first_step, meter
        )
        times.peak_gib = part(trainer)
    use_cores()
    details = _details(spec, recipe, trainer, loaded, place)
    if meter is not None:
        details["rung_seconds"] = meter.log.seconds
        if len(trainer.totals.losses) < plan.steps:
            _save(adapted, attempt)
            return meter.log.result(trainer.state.global_step, details)
    memory = memory_metrics(trainer, recipe.trainer)
    evaluation = TrialEvaluation(trainer, attempt, judge, loaded.base.key)
    judgement, tasks = evaluation.as_trained()
    size = _save(adapted, attempt)
    evaluation.write_samples()
    times.peak_gib = max(times.peak_gib, card.peak_bytes() / 2**30)  # as trained; the plain base takes more
    plain = evaluation.on_plain_base()
    times.evaluation = evaluation.seconds
    on_card = replace(memory, gpu_energy_wh=drawn_energy(trainer)).measured()
    metrics = {**_metrics(trainer, judgement, size, times).measured(), **tasks, **plain, **on_card}
    progress.phase(progress_line(trainer, "done", judgement.loss))
    return TrialResult(spec.trial, attempt.number, metrics, details)


def _save(adapted: PeftModel, attempt: Attempt) -> AdapterSize:
    attempt.owner.confirm()
    return attempt.insist(lambda: save_adapter(adapted, attempt.paths.adapter), "write the adapter")


def collator_of(loaded: Loaded, data: DataRecipe) -> Collator | Packer:
    """How training examples become a batch; the model is made to read such batches."""
    model = cast(Any, loaded.model)
    if data.packing is not Packing.NONE or model.config.model_type in PLAIN_HEADS:
        attend_within_examples(model)
    return loaded.collator if data.packing is Packing.NONE else Packer()


def _metrics(
    trainer: AdapterTrainer, judgement: Judgement, size: AdapterSize, times: Times
) -> TrainingMetrics:
    totals = trainer.totals
    return TrainingMetrics(
        eval_loss=Metric(judgement.loss, judgement.standard_error),
        train_loss=Metric(totals.train_loss),
        train_seconds=Metric(totals.train_seconds),
        train_cpu_seconds=Metric(totals.train_cpu_seconds),
        eval_seconds=Metric(times.evaluation),
        start_seconds=Metric(times.start),
        tokens=Metric(totals.tokens),
        tokens_per_second=Metric(totals.tokens / totals.train_seconds),
        peak_memory_gib=Metric(times.peak_gib),
        trainable_parameters=Metric(size.trainable_parameters),
        adapter_bytes=Metric(size.file_bytes),
        skipped_steps=Metric(totals.skipped_steps),
    )


def _details(
    spec: TrialSpec, recipe: Recipe, trainer: AdapterTrainer, loaded: Loaded, place: Place
) -> dict[str, Any]:
    precision, cache = trainer.surroundings.precision, Path(spec.cache)
    baseline = read_baseline(recipe, cache)
    details = {
        "device": trainer.surroundings.card.name,
        "compute": str(precision.compute).removeprefix("torch."),
        "machine": machine(),
        "versions": versions(),
        "seed": spec.seed,
        "attempts": trainer.totals.attempts,
        "steps": trainer.state.global_step,
        "micro_batch": trainer.args.per_device_train_batch_size,
        "gradient_checkpointing": makes_again(trainer.args),
        "gpus": {"ranks": place.ranks, "layers_split_over": place.layers},
        "train_examples": len(loaded.examples.train),
        "validation_examples": len(loaded.examples.validation),
        "hashes": {"recipe": spec.recipe_hash, "base": loaded.base.key, "data": data_key(recipe.data, cache)},
    }
    if spec.adapter is not None:
        details["from_adapter"] = spec.adapter
    return details if baseline is None else {**details, "base_eval_loss": baseline["eval_loss"]}
