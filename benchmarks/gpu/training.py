"""A few steps of a trial on a base model that stays where it is: how long they take, and their memory."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from transformers import PreTrainedModel

from benchmarks.records import Record
from benchmarks.trial.clock import Clock
from benchmarks.trial.scene import SEED, recipe_of
from hpo.records import Progress
from jobs.attempt.card import Card
from jobs.attempt.signals import Signals
from jobs.data.account import Account
from jobs.data.packing import Packer, attend_within_examples
from jobs.data.tokens import Collator, Examples, Tokens
from jobs.errors import OutOfMemory
from jobs.memory.flops import flops_per_token
from jobs.memory.sizing import Model, foretold, load_of
from jobs.models.adapter import add_adapter
from jobs.models.precision import Precision
from jobs.recipes.recipe import TrainerRecipe, parse
from jobs.training.loop import Plan, train
from jobs.training.trainer import Surroundings, makes_again

GIB = 2**30


class OverTime(Exception):
    """A case has taken longer than it may."""


@dataclass(frozen=True)
class Case:
    """What is trained.

    Args:
        trainer: keys of the recipe's group that differ from `COMMON`.
        length: tokens of the longest example.
        natural: lengths as of instruction data, most of them much shorter; else all alike.
    """

    name: str
    trainer: Mapping[str, Any] = field(default_factory=dict)
    length: int = 1024
    natural: bool = False
    packed: bool = False
    steps: int = 3

    @property
    def recipe(self) -> TrainerRecipe:
        """Of the trial."""
        return parse(recipe_of(None, {}, {**COMMON, **self.trainer, "max_steps": self.steps})).trainer

    def examples(self, vocabulary: int, count: int) -> list[Tokens]:
        """Random tokens, a third of each example its prompt."""
        draw = random.Random(SEED)
        lengths = [self.length] * count
        if self.natural:  # as Alpaca's: a median of a fifth of the longest, a long tail
            drawn = (int(draw.lognormvariate(0.0, 0.7) * self.length / 5) for _ in range(count - 1))
            lengths = [self.length, *(min(max(16, length), self.length) for length in drawn)]
        ids = [tuple(draw.randrange(3, vocabulary) for _ in range(length)) for length in lengths]
        return [Tokens(own, len(own) // 3) for own in ids]


COMMON: dict[str, Any] = {
    "lora_rank": 16, "lora_alpha": 32, "target_modules": "all", "batch_size": 4, "micro_batch_size": 4,
    "gradient_checkpointing": True, "checkpoint_every_s": 1e9, "divergence_loss": 1e9,
}  # fmt: skip


class _NoCheckpoints:
    def resume(self) -> None:
        return None

    def newest(self) -> None:
        return None

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        return None


class _Watch:
    """In place of the progress log: a clock, and the end of what takes too long."""

    def __init__(self, limit_s: float) -> None:
        self.clock, self._until = Clock(), time.monotonic() + limit_s

    def phase(self, line: Progress) -> None:
        """Nothing."""

    def step(self, line: Progress) -> None:
        self.clock.step_ended(line.tokens)
        if time.monotonic() > self._until:
            raise OverTime


def train_case(
    base: PreTrainedModel, case: Case, precision: Precision, limit_s: float
) -> tuple[Record, TrainerRecipe]:
    """Train, and take the adapter out again.

    Returns:
        What was measured, or why nothing was; and the recipe.
    """
    recipe, card, watch = case.recipe, Card.of(precision.device), _Watch(limit_s)
    adapted = add_adapter(base, recipe, SEED, "random")
    attend_within_examples(base)
    rows = case.examples(base.config.vocab_size, recipe.batch_size * case.steps)
    examples = Examples(rows, [], Account())
    record: Record = {"case": case.name, **case.trainer, "length": case.length}
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            signals = Signals(folder / "cancel", folder / "pause")
            around = Surroundings(precision, card, cast(Any, watch), cast(Any, _NoCheckpoints()), signals)
            plan = Plan(case.steps, SEED, 1, folder)
            collator = Packer() if case.packed else Collator(0)
            trainer = train(adapted, examples, collator, recipe, plan, around, lambda: None)
        record |= {"peak_gib": round(card.peak_bytes() / GIB, 3), "tokens_a_pass": trainer.most_tokens}
        record |= {"micro_batch": trainer.args.per_device_train_batch_size}
        record |= _forecast(base, recipe, makes_again(trainer.args), trainer.most_tokens)
        if len(watch.clock.walls) > 1:
            record |= watch.clock.record()
            record |= _achieved(base, recipe, case, record["tokens_per_second"], makes_again(trainer.args))
    except (OverTime, OutOfMemory, torch.OutOfMemoryError) as error:
        record["error"] = f"{type(error).__name__}: {error}"[:200]
    finally:
        cast(Any, adapted).unload()
        base.requires_grad_(False)
        card.restart_peak()
    return record, recipe


def _model(base: PreTrainedModel) -> Model:
    model = Model.of(base.config.to_dict())
    assert model is not None
    return model


def _forecast(base: PreTrainedModel, recipe: TrainerRecipe, again: bool, tokens: int) -> Record:
    peak = foretold(recipe, _model(base), again, tokens)
    parts = {name: round(value / GIB, 3) for name, value in vars(peak).items()}
    return {"foretold_gib": round(peak.total / GIB, 3), "parts_gib": parts}


def _achieved(base: PreTrainedModel, recipe: TrainerRecipe, case: Case, rate: float, again: bool) -> Record:
    """Operations that the model itself takes, a second; padding and what is made again are none of them."""
    model = _model(base)
    each = flops_per_token(model.sizes, load_of(recipe, model.kind), case.length, checkpointing=again)
    return {"tflops": round(rate * each / 1e12, 2), "checkpointing": again}
