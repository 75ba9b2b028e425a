"""Trains the adapter: reading order, accounting after every step, checkpoints when they are due."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from peft import PeftModel
from transformers import TrainerCallback

from hpo.records import Progress, read_json
from jobs.attempt.console import say
from jobs.data.packing import Packer
from jobs.data.reading_order import dealt, largest_pass, reading_order
from jobs.data.tokens import Collator, Examples, Ordered
from jobs.errors import OutOfMemory
from jobs.memory.sizing import Sizing, choose_sizing
from jobs.recipes.recipe import TrainerRecipe
from jobs.training.process_group import OutOfMemoryElsewhere
from jobs.training.resources import model_of
from jobs.training.rungs import RungMeter, RungWatch
from jobs.training.trainer import TOTALS, AdapterTrainer, Surroundings, Totals, training_arguments

SEED_STRIDE = 1_000_003  # between the seeds of two ranks: dropout must not be the same on each


class StepWatch(TrainerCallback):
    """After every step: time, loss, progress, and whether a checkpoint is due."""

    def __init__(
        self, trainer: AdapterTrainer, recipe: TrainerRecipe, first_step: Callable[[], None]
    ) -> None:
        self._trainer = trainer
        self._recipe = recipe
        self._first_step: Callable[[], None] | None = first_step
        self._began_at, self._cpu_began_at = 0.0, 0.0
        self._saved_at = time.monotonic()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock of the step."""
        if self._first_step is not None:
            self._first_step()
            self._first_step = None
        self._trainer.step_loss = None
        self._trainer.tokens_before_step = self._trainer.totals.tokens
        self._began_at, self._cpu_began_at = time.monotonic(), time.process_time()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Account for the step, or for the one before it where the card has not done this one yet.

        Raises:
            Diverged: see `AdapterTrainer.account_losses`.
        """
        trainer, totals, surroundings = self._trainer, self._trainer.totals, self._trainer.surroundings
        late = time.monotonic() - self._saved_at >= self._recipe.checkpoint_every_s
        (due,) = surroundings.ranks.meet(surroundings.ranks.rank == 0 and (surroundings.signals.due or late))
        assert trainer.step_loss is not None
        trainer.late.put(trainer.step_loss)
        totals.skipped_steps += bool(trainer.accelerator.optimizer_step_was_skipped)
        self._account(left=0 if due else 1)
        surroundings.progress.step(progress_line(trainer, "training"))
        if due:
            control.should_save = True
            self._saved_at = time.monotonic()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Account for the last step.

        Raises:
            Diverged: see `AdapterTrainer.account_losses`.
        """
        self._began_at, self._cpu_began_at = time.monotonic(), time.process_time()
        self._account(left=0)

    def _account(self, left: int) -> None:
        totals = self._trainer.totals
        try:
            self._trainer.account_losses(left)  # perhaps waits for the card, which is time of training
        finally:
            totals.train_seconds += time.monotonic() - self._began_at
            totals.train_cpu_seconds += time.process_time() - self._cpu_began_at


def progress_line(trainer: AdapterTrainer, phase: str, eval_loss: float | None = None) -> Progress:
    """Where a trial stands.

    Args:
        eval_loss: in nats per token, if it is known.
    """
    totals = trainer.totals
    scheduler = trainer.lr_scheduler
    return Progress(
        attempt=totals.attempts[-1],
        phase=phase,
        step=len(totals.losses),  # the Trainer's own count starts at 0 until it has resumed
        steps=trainer.args.max_steps,
        loss=totals.losses[-1] if totals.losses else None,
        learning_rate=None if scheduler is None else float(scheduler.get_last_lr()[0]),
        tokens=totals.tokens,
        train_seconds=totals.train_seconds,
        eval_loss=eval_loss,
    )


@dataclass(frozen=True)
class Plan:
    """What is trained: how long, from which seed, in which folder the Trainer may put things."""

    steps: int
    seed: int
    attempt: int
    folder: Path
    memory_factor: float = 1.0  # see `jobs.memory.peak.correction`
    rungs: Mapping[int, Sequence[float]] = field(default_factory=dict)  # by the step that reaches them


def train(
    adapted: PeftModel,
    examples: Examples,
    collator: Collator | Packer,
    recipe: TrainerRecipe,
    plan: Plan,
    surroundings: Surroundings,
    first_step: Callable[[], None],
    meter: RungMeter | None = None,
) -> AdapterTrainer:
    """Train from the newest checkpoint, or from the start, to the last step.

    Args:
        collator: pads, or packs.
        meter: what the first rank measures with at the rungs of the plan.

    Returns:
        The trainer, done, or stopped at a rung: with the model, the totals, and able to checkpoint again.

    Raises:
        Diverged: see `AdapterTrainer.account_losses`.
        OutOfMemory: not even one example a forward pass fits the card.
    """
    resumed = surroundings.checkpoints.resume()
    totals = Totals(**read_json(resumed / TOTALS)) if resumed else Totals()
    totals.attempts.append(plan.attempt)
    lengths = [len(example) for example in examples.train]
    padded = isinstance(collator, Collator)
    order = reading_order(lengths, recipe.batch_size, plan.steps, plan.seed, by_length=padded)
    ranks = surroundings.ranks
    order = dealt(order, recipe.batch_size, ranks.rank, ranks.count)
    recipe = recipe.shared_by(ranks.count)
    read = Ordered(examples.train, order)
    in_order = [lengths[place] for place in order]
    tokens = partial(largest_pass, in_order, padded=padded)
    card, mean = surroundings.card.bytes, fmean(in_order)
    sizing = choose_sizing(recipe, model_of(adapted), tokens, card, plan.memory_factor, mean)
    sizing = ranks.told(sizing)  # the ranks' shares differ in length, if only a little
    say(f"{described(sizing, recipe, ranks.count)}, on {surroundings.card.described}")
    while True:
        surroundings.card.restart_peak()
        seed = (plan.seed + ranks.rank * SEED_STRIDE) % 2**32
        arguments = training_arguments(recipe, sizing, seed, plan.steps, surroundings.precision)
        arguments.output_dir = str(plan.folder)
        trainer = AdapterTrainer(
            surroundings,
            totals,
            recipe.divergence_loss,
            model=adapted,
            args=arguments,
            train_dataset=read,
            data_collator=collator,
        )
        if plan.rungs:  # first, so that no step is as long as what it measures
            trainer.add_callback(RungWatch(trainer, plan.rungs, meter))
        trainer.add_callback(StepWatch(trainer, recipe, first_step))
        trainer.surroundings.progress.phase(progress_line(trainer, "training"))
        first_step = _nothing  # the trial has begun, whatever fits
        smaller = sizing.smaller(recipe)
        if _fits(trainer, resumed, last=smaller is None):
            return trainer
        assert smaller is not None
        sizing = smaller
        say(f"out of memory: going on with {described(sizing, recipe, ranks.count)}")
        resumed = after_out_of_memory(trainer)


def described(sizing: Sizing, recipe: TrainerRecipe, ranks: int) -> str:
    """How a batch goes through the cards, for people; the batch of `recipe` is the share of one rank."""
    made_again = " with gradient checkpointing" if sizing.checkpointing else ""
    shared = f", shared by {ranks}" if ranks > 1 else ""
    step = f"{recipe.batch_size * ranks} a step{shared}"
    return f"{sizing.micro_batch} examples a forward pass{made_again}, {step}"


def _nothing() -> None:
    """What the first step calls where it is not the trial's first."""


def _fits(trainer: AdapterTrainer, resumed: Path | None, *, last: bool) -> bool:
    """Train to the last step; False where the card's memory does not suffice, unless this is the last try."""
    try:
        trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    except torch.OutOfMemoryError as error:
        if not isinstance(error, OutOfMemoryElsewhere):
            trainer.surroundings.ranks.announce_out_of_memory()
        if not trainer.in_pass and trainer.surroundings.ranks.count > 1:
            raise OutOfMemory(f"GPU memory: got too little for the optimiser on one card: {error}") from error
        if last:
            raise OutOfMemory(
                f"GPU memory: got too little for one example a forward pass: {error}",
                "less data.max_length or lora_rank, trainer.gradient_checkpointing=true, or a larger card",
            ) from error
        return False
    return True


def after_out_of_memory(trainer: AdapterTrainer) -> Path | None:
    """Keep the steps that were done, and free what the failed one has taken.

    Returns:
        The checkpoint to go on from; None where no step was done.
    """
    trainer.account_losses(left=0)
    trainer.totals.tokens = trainer.tokens_before_step
    assert trainer.model is not None
    trainer.model.zero_grad(set_to_none=True)
    done = len(trainer.totals.losses)
    if done:
        trainer.save_now()
    return trainer.surroundings.checkpoints.newest() if done else None
