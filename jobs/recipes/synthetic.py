"""What a synthetic trial is made of, and what it comes to: closed forms, loading nothing.

The loss is shaped like that of a QLoRA fine-tune: a bowl in the logarithm of the learning rate, whose bottom
depends on alpha / rank, and a power law that falls with the size of the adapter. A larger one takes longer.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from jobs.errors import RecipeError
from jobs.recipes import targets

UNTUNED = 3.0  # loss of the base model, nats per token
STANDARD_ERROR = 0.01  # of the evaluation loss: it has noise of this size
BEST_RATE = -2.8  # log10 of learning rate x sqrt(alpha / rank) at the bottom of the bowl
LARGEST_RANK = 64
SHARES = {"qv": 0.25, "attention": 0.45, "mlp": 0.7, "all": 1.0}  # of the adapter's largest size
FALL = 8.0  # how fast the loss of a trial falls, at a learning rate that is not too low
STEP_NOISE = 0.02  # of the training loss
LAYERS = 7  # of a Llama block: one name of a list is a seventh

Problem = tuple[str, str]


@dataclass(frozen=True)
class SyntheticRecipe:
    """The keys of conf/trainer/synthetic.yaml."""

    learning_rate: float
    lora_rank: int
    lora_alpha: float
    target_modules: str | list[str]
    seconds: float
    sigma: float
    start_seconds: float
    step_seconds: float
    checkpoint_every_s: float
    fail_error: float
    fail_crash: float
    fail_diverged: float
    fail_out_of_memory: float
    diverges_above: float | None
    slow_start: bool

    @property
    def size(self) -> float:
        """Of the adapter, 1 for rank 64 in all layers."""
        chosen = self.target_modules
        if isinstance(chosen, str) and chosen in SHARES:
            share = SHARES[chosen]
        else:
            share = min(1.0, len(targets.names_in(chosen)) / LAYERS)
        return share * self.lora_rank / LARGEST_RANK

    def eval_loss(self, fidelity: float = 1.0) -> float:
        """Loss of the trained adapter, nats per token, without noise.

        Args:
            fidelity: share of the full length, in (0, 1].
        """
        rate = math.log10(self.learning_rate) + 0.5 * math.log10(self.lora_alpha / self.lora_rank)
        low, high = min(rate - BEST_RATE, 0.0), max(rate - BEST_RATE, 0.0)
        return 0.7 + 0.06 / math.sqrt(self.size * fidelity) + 0.3 * low**2 + 0.6 * high**2

    def rung_loss(self, share: float) -> float:
        """Loss of a trial under way: it falls from `UNTUNED` to `eval_loss()`.

        With `slow_start` a low learning rate is slow to begin with, whatever it comes to: curves cross.

        Args:
            share: done, in [0, 1].
        """
        rate = math.log10(self.learning_rate) + 0.5 * math.log10(self.lora_alpha / self.lora_rank)
        speed = FALL * 10 ** (0.5 * min(rate - BEST_RATE, 0.0)) if self.slow_start else FALL
        last = math.exp(-speed)
        left = (math.exp(-speed * share) - last) / (1.0 - last)
        return self.eval_loss() + (UNTUNED - self.eval_loss()) * left

    def steps(self, seconds: float) -> int:
        """How many steps a trial has that works for so long."""
        return max(1, math.ceil(seconds / self.step_seconds))

    def final_loss(self, seed: int, fidelity: float = 1.0) -> float:
        """The loss that a trial measures at its end, with its noise."""
        return self.eval_loss(fidelity) + STANDARD_ERROR * draw(seed, "evaluation").gauss(0.0, 1.0)

    def work_seconds(self, seed: int, fidelity: float = 1.0) -> float:
        """How long the trial works: log-normal around a mean of `seconds`, whatever the spread.

        Args:
            fidelity: share of the full length, in (0, 1].
        """
        deviation = draw(seed, "work").gauss(0.0, 1.0)
        return self.seconds * fidelity * math.exp(self.sigma * deviation - self.sigma**2 / 2)

    def train_seconds(self, seed: int, fidelity: float = 1.0) -> float:
        """The objective: the time that the trial works, and what a larger adapter would take on top.

        Args:
            fidelity: share of the full length, in (0, 1].
        """
        return self.work_seconds(seed, fidelity) + self.seconds * fidelity * self.size

    def rung_loss_of(self, seed: int, rung: float, share: float) -> float:
        """The loss that a trial measures at a rung, with its noise.

        Args:
            share: that is done when it measures.
        """
        return self.rung_loss(share) + STANDARD_ERROR * draw(seed, "rung", rung).gauss(0.0, 1.0)


def step_loss(final: float, seed: int, step: int, steps: int) -> float:
    """The training loss of a step, with its noise.

    Args:
        final: the trial's loss at its end.
        step: from 1.
    """
    noise = STEP_NOISE * draw(seed, "step", step).gauss(0.0, 1.0)
    return final + (UNTUNED - final) * math.exp(-5 * step / steps) + noise


def late_steps(steps: int) -> int:
    """How many steps make the training loss: the last tenth, at least one."""
    return max(1, steps // 10)


def draw(seed: int, *what: object) -> random.Random:
    """Random numbers that belong to one purpose of one trial.

    Args:
        what: the purpose, with the number of the attempt where it is for one.
    """
    return random.Random(":".join(str(part) for part in (seed, *what)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _above_zero(value: Any) -> str | None:
    return None if _is_number(value) and value > 0 else f"got {value!r}, expected a number above 0"


def _from_zero(value: Any) -> str | None:
    return None if _is_number(value) and value >= 0 else f"got {value!r}, expected a number of at least 0"


def _share(value: Any) -> str | None:
    return None if _is_number(value) and 0 <= value <= 1 else f"got {value!r}, expected a number from 0 to 1"


def _count(value: Any) -> str | None:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return None if whole else f"got {value!r}, expected a whole number of at least 1"


def _rate_or_null(value: Any) -> str | None:
    return None if value is None else _above_zero(value)


def _truth(value: Any) -> str | None:
    return None if isinstance(value, bool) else f"got {value!r}, expected true or false"


def _targets(value: Any) -> str | None:
    if isinstance(value, str) or (isinstance(value, list) and all(isinstance(name, str) for name in value)):
        return targets.problem(value)
    return f"got {value!r}, expected one of {', '.join(targets.PRESETS)}, or a list of module names"


LATER: Mapping[str, Any] = {"slow_start": True}  # keys that specs of before do not have, as things were
CHECKS: Mapping[str, Callable[[Any], str | None]] = {
    "learning_rate": _above_zero,
    "lora_rank": _count,
    "lora_alpha": _above_zero,
    "target_modules": _targets,
    "seconds": _above_zero,
    "sigma": _from_zero,
    "start_seconds": _from_zero,
    "step_seconds": _above_zero,
    "checkpoint_every_s": _from_zero,
    "fail_error": _share,
    "fail_crash": _share,
    "fail_diverged": _share,
    "fail_out_of_memory": _share,
    "diverges_above": _rate_or_null,
    "slow_start": _truth,
}


def problems(recipe: Mapping[str, Any]) -> list[Problem]:
    """(key path, what is wrong) for everything that is; model, data and evaluation are not looked at."""
    trainer = recipe.get("trainer")
    if not isinstance(trainer, Mapping):
        return [("trainer", f"got {trainer!r}, expected a mapping")]
    return [(f"trainer.{name}", wrong) for name, wrong in _wrong(trainer)]


def _wrong(trainer: Mapping[str, Any]) -> Sequence[Problem]:
    found = [(name, "missing, expected a value") for name in CHECKS if name not in {*trainer, *LATER}]
    for name, value in trainer.items():
        if name == "_target_":  # chooses this package; it is no setting
            continue
        if name not in CHECKS:
            unknown = "got an unknown key, expected one that conf/ lists\n\nhint: is it misspelt?"
            found.append((name, unknown))
        elif (wrong := CHECKS[name](value)) is not None:
            found.append((name, wrong))
    return found


def parse(recipe: Mapping[str, Any]) -> SyntheticRecipe:
    """Turn plain values into a recipe.

    Raises:
        RecipeError: naming every problem by its key path.
    """
    if found := problems(recipe):
        raise RecipeError.of(found)
    given = {**LATER, **recipe["trainer"]}
    return SyntheticRecipe(**{entry.name: given[entry.name] for entry in fields(SyntheticRecipe)})
