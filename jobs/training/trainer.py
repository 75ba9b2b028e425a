"""transformers' Trainer with the loss on the response only, and checkpoints of the adapter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from transformers import PrinterCallback, Trainer, TrainingArguments

from hpo.records import write_json
from jobs.attempt.card import Card
from jobs.attempt.checkpoints import Checkpoints
from jobs.attempt.disk import disk_errors
from jobs.attempt.progress import ProgressLog, Silence
from jobs.attempt.signals import Signals
from jobs.data.tokens import COUNTED, TOKENS
from jobs.errors import Diverged
from jobs.memory.sizing import Sizing
from jobs.models.adapter import write_adapter
from jobs.models.loss import token_losses
from jobs.models.precision import Precision
from jobs.recipes.recipe import TrainerRecipe
from jobs.training.ahead import Ahead
from jobs.training.late_losses import LateLosses
from jobs.training.process_group import Ranks
from jobs.training.shared_checkpoints import SharedCheckpoints, restore_random_state, state_name

TOTALS = "totals.json"
STATE = "trainer_state.json"
# transformers 5.23 gave the field its new name, and warns of the old one.
CHECKPOINTING = next(
    name
    for name in ("activation_checkpointing", "gradient_checkpointing")
    if name in TrainingArguments.__dataclass_fields__
)


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
        CHECKPOINTING: sizing.checkpointing,
        **OWN_ARGUMENTS,
    }
    if precision.device.type == "cuda":  # batches go to the card while it computes
        chosen["dataloader_pin_memory"] = True
        chosen.setdefault("accelerator_config", {"non_blocking": True})
    return TrainingArguments(**chosen)


def makes_again(arguments: TrainingArguments) -> bool:
    """Whether activations are made again in the backward pass."""
    return getattr(arguments, CHECKPOINTING) is True


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

    def __init__(
        self, surroundings: Surroundings, totals: Totals, divergence_loss: float, **options: Any
    ) -> None:
        self.surroundings = surroundings
        self.totals = totals
        self.divergence_loss = divergence_loss
        self.step_loss: torch.Tensor | None = None  # so far, where the model computes
        self.late = LateLosses()
        self.tokens_before_step = 0
        self.most_tokens = 0  # of a forward pass, padding among them
        self.in_pass = False  # forward and backward; what fails there has changed no weight
        self._ahead: Ahead[dict[str, Any]] | None = None
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
        self.totals.tokens += cast(int, inputs[TOKENS])
        self.most_tokens = max(self.most_tokens, inputs["input_ids"].numel())
        own = len(losses) * self.surroundings.ranks.count
        return losses.sum() / (own if num_items_in_batch is None else num_items_in_batch)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """See transformers; whatever ends it, no thread stays behind."""
        try:
            return super().train(*args, **kwargs)
        finally:
            if self._ahead is not None:
                self._ahead.close()

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Any]:
        """The micro-batches of a step, and the response tokens in them and in those of the other ranks.

        Those of the next step are made, and sent to the card, while this one is computed.
        """
        if self._ahead is None or self._ahead.source is not epoch_iterator:
            self._ahead = Ahead(epoch_iterator, self.args.gradient_accumulation_steps + 1)
        batches, tokens = super().get_batch_samples(self._ahead, num_batches, device)
        if tokens is None:
            return batches, None
        own = sum(len(batch[COUNTED]) for batch in batches)  # known here; `tokens` the card would have to say
        return batches, self.surroundings.ranks.meet(own)[0]

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """One micro-batch forward and backward; after the last of a step the ranks sum their gradients."""
        self.in_pass = True
        loss = super().training_step(*args, **kwargs)
        own = loss.double()
        self.step_loss = own if self.step_loss is None else self.step_loss + own
        if self.accelerator.sync_gradients and self.surroundings.ranks.count > 1:
            assert self.model is not None
            before = self.tokens_before_step
            summed, tokens = self.surroundings.ranks.sum_gradients(
                self.model.parameters(), float(self.step_loss), self.totals.tokens - before
            )
            self.step_loss = torch.tensor(summed, dtype=torch.float64)
            self.totals.tokens = before + int(tokens)
        self.in_pass = False
        return loss

    def account_losses(self, left: int) -> None:
        """Take the losses of the steps that the card has done into the totals.

        Args:
            left: how many of the newest need not be waited for.

        Raises:
            Diverged: a loss is not finite, or above the bound.
        """
        for loss in self.late.read(left):
            step = len(self.totals.losses) + 1
            if not math.isfinite(loss) or loss > self.divergence_loss:
                bound = self.divergence_loss
                raise Diverged(f"loss at step {step}: got {loss}, expected at most {bound} (finite)")
            self.totals.losses.append(loss)

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
        write_adapter(self.model, folder, card=False)
        torch.serialization.set_crc32_options(False)  # `seal` has a better one, and Adam's states are large
        with disk_errors():
            self._save_optimizer_and_scheduler(str(folder))
            self._save_scaler(str(folder))
            self._save_rng_state(str(folder))
        self.state.save_to_json(str(folder / STATE))
        write_json(folder / TOTALS, vars(self.totals))
