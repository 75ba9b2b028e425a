"""What a fine-tune measures at its rungs, on a few of the held-out examples, and how it ends at one."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from transformers import TrainerCallback

from hpo.records import Metric, TrialSpec
from jobs.attempt.rungs import RungLog, extrapolated
from jobs.data.tokens import Examples, Tokens
from jobs.evaluation.judging import Judge
from jobs.evaluation.shards import UnstoredShards
from jobs.evaluation.validation_loss import evaluate
from jobs.recipes.metrics import EVAL_LOSS, GROWING
from jobs.training.shared_checkpoints import same_random_numbers
from jobs.training.trainer import AdapterTrainer

PASSES = 2  # forward passes that training on a token is worth at least: no gradients of frozen weights


def rung_examples(
    examples: Examples, trained: int, rungs: int, cost: float, *, seed: int = 0
) -> list[Tokens]:
    """The held-out examples that are read at each rung, the same ones in every trial, more in longer ones.

    Args:
        trained: examples that the trial trains on, on each card.
        rungs: how many there are, at least 1.
        cost: share of the trial's computing, training and final loss, that all rungs together may take.

    Returns:
        At least one, at most all.
    """
    held_out = examples.validation
    work = PASSES * trained * fmean(map(len, examples.train)) + sum(map(len, held_out))
    room = cost * work / rungs
    chosen: list[Tokens] = []
    for place in random.Random(seed).sample(range(len(held_out)), len(held_out)):
        room -= len(held_out[place])
        if chosen and room < 0:
            break
        chosen.append(held_out[place])
    return chosen


@dataclass(frozen=True)
class RungMeter:
    """Measures a model in training.

    Args:
        log: what earlier attempts have measured, to be added to.
        judge: of the trial's end.
        examples: see `rung_examples`.
        documents: of each task; None: tasks are not asked.
    """

    log: RungLog
    judge: Judge
    examples: Sequence[Tokens]
    documents: int | None = None

    @classmethod
    def of(cls, log: RungLog, judge: Judge, examples: Examples, spec: TrialSpec, trained: int) -> RungMeter:
        """That of a trial; `trained` is as of `rung_examples`."""
        chosen = rung_examples(examples, trained, len(spec.rungs), spec.rung_cost)
        return cls(log, judge, chosen, spec.rung_documents)

    def measure(self, trainer: AdapterTrainer, rungs: Sequence[float], step: int, steps: int) -> None:
        """Measure at a step, unless an attempt has done so, and leave model and random numbers as they were.

        Args:
            rungs: those that are reached with this step.
        """
        wanted = [rung for rung in rungs if self.log.lacks(rung)]
        if not wanted:
            return
        began = time.monotonic()
        metrics = self._of_training(trainer)
        with same_random_numbers():
            metrics |= self._judged(trainer)
        share = step / steps
        foretold = extrapolated(metrics, share, GROWING)
        for rung in wanted:
            self.log.add(rung, share, step, foretold, time.monotonic() - began)

    def _of_training(self, trainer: AdapterTrainer) -> dict[str, Metric]:
        totals, card = trainer.totals, trainer.surroundings.card
        assert trainer.model is not None
        trainable = sum(weight.numel() for weight in trainer.model.parameters() if weight.requires_grad)
        values: dict[str, float | None] = {
            "train_loss": totals.train_loss,
            "train_seconds": totals.train_seconds,
            "train_cpu_seconds": totals.train_cpu_seconds,
            "tokens": totals.tokens,
            "tokens_per_second": totals.tokens / totals.train_seconds,
            "peak_memory_gib": card.peak_bytes() / 2**30,
            "trainable_parameters": trainable,
            "skipped_steps": totals.skipped_steps,
            "gpu_energy_wh": totals.gpu_energy_wh if card.bytes is not None else None,
        }
        return {name: Metric(float(value)) for name, value in values.items() if value is not None}

    def _judged(self, trainer: AdapterTrainer) -> dict[str, Metric]:
        judge, model = self.judge, trainer.model
        assert model is not None
        size = min(judge.recipe.evaluation.batch_size, trainer.args.per_device_train_batch_size)
        loss = evaluate(model, self.examples, judge.collator, size, judge.precision)
        metrics = {EVAL_LOSS: Metric(loss.loss, loss.standard_error)}
        tasks = judge.recipe.evaluation.tasks
        if tasks is not None and self.documents is not None:
            limit = min(tasks.limit or math.inf, self.documents)
            few = replace(judge.recipe.evaluation, tasks=replace(tasks, limit=int(limit)))
            asking = replace(judge, recipe=replace(judge.recipe, evaluation=few))
            training = model.training
            model.eval()
            metrics |= asking.tasks(model, UnstoredShards(), lambda: None)
            model.train(training)
        return metrics


class RungWatch(TrainerCallback):
    """Measures before the step that follows a rung, and ends the training where the controller has asked so.

    All ranks have one: the first measures and looks for the marker, the others come along.

    Args:
        rungs: by the step that reaches them.
        meter: of the first rank.
    """

    def __init__(
        self, trainer: AdapterTrainer, rungs: Mapping[int, Sequence[float]], meter: RungMeter | None
    ) -> None:
        self._trainer, self._rungs, self._meter = trainer, rungs, meter

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure; an attempt that goes on from a checkpoint of the rung's step comes by here, too."""
        step = state.global_step
        if step not in self._rungs:
            return
        self._trainer.account_energy()
        if self._meter is not None:
            self._meter.measure(self._trainer, self._rungs[step], step, state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write a checkpoint and leave, if asked to; a trial that is through has its result instead."""
        asked = self._meter is not None and self._meter.log.stop_asked
        (stop,) = self._trainer.surroundings.ranks.meet(asked)
        if stop and state.global_step < state.max_steps:
            control.should_training_stop = control.should_save = True
