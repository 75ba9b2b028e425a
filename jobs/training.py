"""Trains the adapter on transformers' Trainer, with our loss, our order of data and our checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from hpo.records import Progress, read_json, write_json
from jobs.adapter import write_adapter
from jobs.checkpoints import Checkpoints
from jobs.data import Collator, Examples, Ordered
from jobs.errors import Diverged
from jobs.loss import token_losses
from jobs.precision import Precision
from jobs.progress import ProgressLog
from jobs.recipe import TrainerRecipe
from jobs.schedule import reading_order
from jobs.signals import Signals

TOTALS = "totals.json"
STATE = "trainer_state.json"


@dataclass
class Totals:
    """What a trial's attempts did together; kept in every checkpoint."""

    train_seconds: float = 0.0  # training steps only
    tokens: int = 0  # trained on, without padding
    losses: list[float] = field(default_factory=list)  # of every step, nats per token
    attempts: list[int] = field(default_factory=list)

    @property
    def train_loss(self) -> float:
        """Mean loss of the last tenth of the steps, at least one."""
        last = self.losses[-max(1, len(self.losses) // 10) :]
        return math.fsum(last) / len(last)


@dataclass(frozen=True)
class Surroundings:
    """What a training needs of the trial around it."""

    precision: Precision
    progress: ProgressLog
    checkpoints: Checkpoints
    signals: Signals


def training_arguments(
    trainer: TrainerRecipe, seed: int, steps: int, precision: Precision
) -> TrainingArguments:
    """The Trainer's settings: ours, and whatever `trainer.args` names.

    Args:
        trainer: of the recipe.
        seed: of dropout.
        steps: optimiser steps.
        precision: of this machine.
    """
    chosen: dict[str, Any] = {
        **trainer.args,
        "learning_rate": trainer.learning_rate,
        "per_device_train_batch_size": trainer.micro_batch,
        "gradient_accumulation_steps": max(1, trainer.batch_size // trainer.micro_batch),
        "max_steps": steps,
        "seed": seed,
        "fp16": precision.scales_loss,
        "bf16": precision.compute is torch.bfloat16,
        "activation_checkpointing": trainer.gradient_checkpointing,
        **OWN_ARGUMENTS,
    }
    return TrainingArguments(**chosen)


# What the trial decides by itself, so that `trainer.args` may not.
OWN_ARGUMENTS: Mapping[str, Any] = {
    "train_sampling_strategy": "sequential",  # `jobs.schedule` has put the examples in order
    "save_strategy": "no",  # `StepWatch` says when
    "eval_strategy": "no",
    "logging_strategy": "no",
    "logging_nan_inf_filter": False,
    "report_to": "none",
    "disable_tqdm": True,
    "remove_unused_columns": False,
    "dataloader_pin_memory": False,
    "use_cache": False,
}


class AdapterTrainer(Trainer):
    """The Trainer with the loss on the response only, and checkpoints of the adapter."""

    def __init__(self, surroundings: Surroundings, totals: Totals, **options: Any) -> None:
        self.surroundings = surroundings
        self.totals = totals
        self.step_loss = 0.0
        super().__init__(**options)
        self.remove_callback(PrinterCallback)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Sum of the losses over the tokens of the whole batch, whatever micro-batch they are in.

        Args:
            model: with the adapter.
            inputs: one micro-batch.
            return_outputs: not used.
            num_items_in_batch: response tokens of the whole batch.
        """
        losses, _ = token_losses(model, inputs, self.surroundings.precision)
        self.totals.tokens += int(inputs["attention_mask"].sum())
        return losses.sum() / (len(losses) if num_items_in_batch is None else num_items_in_batch)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """One micro-batch forward and backward.

        Args:
            args: the Trainer's.
            kwargs: the Trainer's.
        """
        loss = super().training_step(*args, **kwargs)
        self.step_loss += float(loss)
        return loss

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        self.save_now()

    def save_now(self) -> None:
        """Write a checkpoint, then answer the signal that may have asked for it."""
        self.surroundings.checkpoints.save(self.state.global_step, self._write)
        if self.surroundings.signals.due:
            self.surroundings.signals.answer()

    def _write(self, folder: Path) -> None:
        assert isinstance(self.model, PeftModel)
        write_adapter(self.model, folder)
        self._save_optimizer_and_scheduler(str(folder))
        self._save_scaler(str(folder))
        self._save_rng_state(str(folder))
        self.state.save_to_json(str(folder / STATE))
        write_json(folder / TOTALS, vars(self.totals))


class StepWatch(TrainerCallback):
    """After every step: time, loss, progress, and whether a checkpoint is due."""

    def __init__(
        self, trainer: AdapterTrainer, recipe: TrainerRecipe, first_step: Callable[[], None]
    ) -> None:
        self._trainer = trainer
        self._recipe = recipe
        self._first_step: Callable[[], None] | None = first_step
        self._began_at = 0.0
        self._saved_at = time.monotonic()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock of the step.

        Args:
            args: the Trainer's.
            state: the Trainer's.
            control: the Trainer's.
            kwargs: the Trainer's.
        """
        if self._first_step is not None:
            self._first_step()
            self._first_step = None
        self._trainer.step_loss = 0.0
        self._began_at = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Account for the step.

        Args:
            args: the Trainer's.
            state: the Trainer's.
            control: the Trainer's.
            kwargs: the Trainer's.

        Raises:
            Diverged: the loss is not finite or above the bound.
        """
        totals, loss, now = self._trainer.totals, self._trainer.step_loss, time.monotonic()
        totals.train_seconds += now - self._began_at
        if not math.isfinite(loss) or loss > self._recipe.divergence_loss:
            bound = self._recipe.divergence_loss
            raise Diverged(f"loss at step {state.global_step}: got {loss}, expected at most {bound} (finite)")
        totals.losses.append(loss)
        self._trainer.surroundings.progress.step(progress_line(self._trainer, "training"))
        if self._trainer.surroundings.signals.due or now - self._saved_at >= self._recipe.checkpoint_every_s:
            control.should_save = True
            self._saved_at = now


def progress_line(trainer: AdapterTrainer, phase: str, eval_loss: float | None = None) -> Progress:
    """Where a trial stands.

    Args:
        trainer: of the trial.
        phase: of the trial.
        eval_loss: in nats per token, if it is known.
    """
    totals = trainer.totals
    scheduler = trainer.lr_scheduler
    return Progress(
        attempt=totals.attempts[-1],
        phase=phase,
        step=trainer.state.global_step,
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


def train(
    adapted: PeftModel,
    examples: Examples,
    collator: Collator,
    recipe: TrainerRecipe,
    plan: Plan,
    surroundings: Surroundings,
    first_step: Callable[[], None],
) -> AdapterTrainer:
    """Train from the newest checkpoint, or from the start, to the last step.

    Args:
        adapted: the model with a fresh adapter.
        examples: of the recipe.
        collator: pads.
        recipe: of the trainer.
        plan: length, seed and attempt.
        surroundings: progress, checkpoints and signals.
        first_step: called when the first step begins.

    Returns:
        The trainer, done: with the model, the totals, and able to checkpoint again.

    Raises:
        Diverged: see `StepWatch`.
    """
    resumed = surroundings.checkpoints.newest()
    totals = Totals(**read_json(resumed / TOTALS)) if resumed else Totals()
    totals.attempts.append(plan.attempt)
    lengths = [len(example) for example in examples.train]
    order = reading_order(lengths, recipe.batch_size, plan.steps, plan.seed)
    arguments = training_arguments(recipe, plan.seed, plan.steps, surroundings.precision)
    arguments.output_dir = str(plan.folder)
    trainer = AdapterTrainer(
        surroundings,
        totals,
        model=adapted,
        args=arguments,
        train_dataset=Ordered(examples.train, order),
        data_collator=collator,
    )
    trainer.add_callback(StepWatch(trainer, recipe, first_step))
    trainer.surroundings.progress.phase(progress_line(trainer, "training"))
    trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    return trainer
