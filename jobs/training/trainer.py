"""transformers' Trainer with the loss on the response only, and checkpoints of the adapter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PrinterCallback, Trainer, TrainingArguments

from hpo.records import write_json
from jobs.attempt.card import Card
from jobs.attempt.checkpoints import Checkpoints
from jobs.attempt.disk import disk_errors
from jobs.attempt.progress import ProgressLog, Silence
from jobs.attempt.signals import Signals
from jobs.memory.sizing import Sizing
from jobs.models.adapter import write_adapter
from jobs.models.loss import token_losses
from jobs.models.precision import Precision
from jobs.recipes.recipe import TrainerRecipe
from jobs.training.process_group import Ranks
from jobs.training.shared_checkpoints import SharedCheckpoints, restore_random_state, state_name

TOTALS = "totals.json"
STATE = "trainer_state.json"


@dataclass
class Totals:
    """What a trial's attempts did together; kept in every checkpoint."""

    train_seconds: float = 0.0  # training steps only
    train_cpu_seconds: float = 0.0  # the same of the CPU, by all threads of the first process
    tokens: int = 0  # trained on, without padding
    losses: list[float] = field(default_factory=list)  # of every step, nats per token
    attempts: list[int] = field(default_factory=list)
    skipped_steps: int = 0  # by the loss scaler, whose gradients overflowed
    gpu_energy_wh: float | None = 0.0  # as far as checkpoints tell; None: a card had no counter

    @property
    def train_loss(self) -> float:
        """Mean loss of the last tenth of the steps, at least one."""
        last = self.losses[-max(1, len(self.losses) // 10) :]
        return math.fsum(last) / len(last)


@dataclass(frozen=True)
class Surroundings:
    """What a training needs of the trial around it."""

    precision: Precision
    card: Card
    progress: ProgressLog | Silence
    checkpoints: Checkpoints | SharedCheckpoints
    signals: Signals
    ranks: Ranks = field(default_factory=Ranks)  # alone


def training_arguments(
    trainer: TrainerRecipe, sizing: Sizing, seed: int, steps: int, precision: Precision
) -> TrainingArguments:
    """The Trainer's settings: ours, and whatever `trainer.args` names.

    Args:
        sizing: examples a forward pass, and whether activations are made again.
    """
    chosen: dict[str, Any] = {
        **trainer.args,
        "learning_rate": trainer.learning_rate,
        "per_device_train_batch_size": sizing.micro_batch,
        "gradient_accumulation_steps": trainer.batch_size // sizing.micro_batch,
        "max_steps": steps,
        "seed": seed,
        "fp16": precision.scales_loss,
        "bf16": precision.compute is torch.bfloat16,
        "activation_checkpointing": sizing.checkpointing,
        **OWN_ARGUMENTS,
    }
    return TrainingArguments(**chosen)


# What the trial decides by itself, so that `trainer.args` may not.
OWN_ARGUMENTS: Mapping[str, Any] = {
    "train_sampling_strategy": "sequential",  # `jobs.data.reading_order` has put the examples in order
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
        self.tokens_before_step = 0
        self.most_tokens = 0  # of a forward pass, padding among them
        self.in_pass = False  # forward and backward; what fails there has changed no weight
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
            num_items_in_batch: response tokens of the whole batch.
        """
        losses, _ = token_losses(model, inputs, self.surroundings.precision)
        mask = inputs.get("attention_mask")  # packed rows have none, and no padding
        self.totals.tokens += inputs["input_ids"].numel() if mask is None else int(mask.sum())
        self.most_tokens = max(self.most_tokens, inputs["input_ids"].numel())
        own = len(losses) * self.surroundings.ranks.count
        return losses.sum() / (own if num_items_in_batch is None else num_items_in_batch)

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list[Any], Any]:
        """The micro-batches of a step, and the response tokens in them and in those of the other ranks."""
        batches, tokens = super().get_batch_samples(*args, **kwargs)
        if tokens is None or self.surroundings.ranks.count == 1:
            return batches, tokens
        return batches, self.surroundings.ranks.meet(float(tokens))[0]

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """One micro-batch forward and backward; after the last of a step the ranks sum their gradients."""
        self.in_pass = True
        loss = super().training_step(*args, **kwargs)
        self.step_loss += float(loss)
        if self.accelerator.sync_gradients:
            assert self.model is not None
            before = self.tokens_before_step
            self.step_loss, tokens = self.surroundings.ranks.sum_gradients(
                self.model.parameters(), self.step_loss, self.totals.tokens - before
            )
            self.totals.tokens = before + int(tokens)
        self.in_pass = False
        return loss

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        self.save_now()

    def save_now(self) -> None:
        """Write a checkpoint, then answer the signal that may have asked for it."""
        self.account_energy()
        self.surroundings.checkpoints.save(self.state.global_step, self._write)
        if self.surroundings.signals.due:
            self.surroundings.signals.answer()

    def account_energy(self) -> None:
        """Add what the cards of all ranks have drawn since this was last called."""
        drawn = self.surroundings.ranks.gathered(self.surroundings.card.drawn_wh())
        known, sofar = [one for one in drawn if one is not None], self.totals.gpu_energy_wh
        unknown = sofar is None or len(known) < len(drawn)
        self.totals.gpu_energy_wh = None if unknown else math.fsum([sofar or 0.0, *known])

    def _load_rng_state(self, checkpoint: str | None) -> None:
        rank = self.surroundings.ranks.rank
        if rank == 0 or checkpoint is None:
            super()._load_rng_state(checkpoint)
        else:
            restore_random_state(Path(checkpoint) / state_name(rank))

    def _write(self, folder: Path) -> None:
        assert isinstance(self.model, PeftModel)
        write_adapter(self.model, folder)
        torch.serialization.set_crc32_options(False)  # `seal` has a better one, and Adam's states are large
        with disk_errors():
            self._save_optimizer_and_scheduler(str(folder))
            self._save_scaler(str(folder))
            self._save_rng_state(str(folder))
        self.state.save_to_json(str(folder / STATE))
        write_json(folder / TOTALS, vars(self.totals))
