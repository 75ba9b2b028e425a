"""What one trial is made of: model, data, trainer, evaluation. Loads no torch.

Defaults are in conf/ only. A recipe is checked as a whole and every problem is told by its key path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails

from jobs.errors import RecipeError

STRICT = ConfigDict(extra="forbid", protected_namespaces=())
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Template(StrEnum):
    """How a row becomes a prompt and a response; see `jobs.templates`."""

    ALPACA = "alpaca"
    CHAT = "chat"
    COMPLETION = "completion"
    TEXT = "text"


class Quantisation(StrEnum):
    """How the frozen base model is stored."""

    NF4 = "nf4"
    FP4 = "fp4"
    INT8 = "int8"
    NONE = "none"


@dataclass(frozen=True, config=STRICT)
class ModelRecipe:
    """The base model: a folder or hub name, or else a GGUF file inside an installed package."""

    name: str
    path: str | None
    revision: str | None
    package: str | None
    file: str | None
    trust_remote_code: bool


@dataclass(frozen=True, config=STRICT)
class DataRecipe:
    """Examples to learn from and to be judged by; lengths in tokens."""

    path: str | None
    template: Template
    max_length: Annotated[int, Field(ge=8)]
    train_examples: Count | None
    validation_examples: Count | None
    validation_fraction: Annotated[float, Field(gt=0, lt=1)]
    seed: int


@dataclass(frozen=True, config=STRICT)
class TrainerRecipe:
    """How the adapter is trained."""

    learning_rate: Positive
    lora_rank: Count
    lora_alpha: Positive
    lora_dropout: Share
    target_modules: str | list[str]
    quantisation: Quantisation
    double_quantisation: bool
    batch_size: Count  # examples an optimiser step
    micro_batch_size: Count | None  # examples a forward pass
    max_steps: Count | None
    epochs: Positive | None
    gradient_checkpointing: bool
    checkpoint_every_s: Annotated[float, Field(ge=0)]
    divergence_loss: Positive  # nats per token
    args: dict[str, Any] = field(default_factory=dict)

    @property
    def micro_batch(self) -> int:
        """Examples a forward pass: at most the batch."""
        return min(self.micro_batch_size or self.batch_size, self.batch_size)

    def steps(self, train_examples: int, fidelity: float = 1.0) -> int:
        """Optimiser steps of a trial.

        Args:
            train_examples: number of training examples.
            fidelity: share of the full length, in (0, 1].

        Returns:
            max_steps where it is set, else the steps of `epochs` epochs; at least 1.
        """
        full = self.max_steps or (self.epochs or 1.0) * train_examples / self.batch_size
        return max(1, round(full * fidelity))


@dataclass(frozen=True, config=STRICT)
class EvaluationRecipe:
    """How the trained adapter is judged."""

    batch_size: Count


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """The whole of a trial but for its seed."""

    model: ModelRecipe
    data: DataRecipe
    trainer: TrainerRecipe
    evaluation: EvaluationRecipe


def parse(raw: Mapping[str, Any]) -> Recipe:
    """Turn plain values into a recipe.

    Args:
        raw: mappings `model`, `data`, `trainer` and `evaluation`; other keys are not ours and passed over.

    Raises:
        RecipeError: naming every problem by its key path.
    """
    recipe, problems = examine(raw)
    if recipe is None:
        raise RecipeError("\n".join(f"{key}: {problem}" for key, problem in problems))
    return recipe


def examine(raw: Mapping[str, Any]) -> tuple[Recipe | None, list[tuple[str, str]]]:
    """The recipe if every value has its type and range, and what is wrong if not.

    Args:
        raw: see `parse`.

    Returns:
        The recipe or None; (key path, problem) of each value that is out of range or of the wrong kind.
    """
    try:
        return TypeAdapter(Recipe).validate_python(_ours(raw)), []
    except ValidationError as error:
        return None, _told(error.errors())


def _ours(raw: Mapping[str, Any]) -> dict[str, Any]:
    groups = {name: raw[name] for name in ("model", "data", "trainer", "evaluation") if name in raw}
    trainer = groups.get("trainer")
    if isinstance(trainer, Mapping):  # `_target_` chooses this package; it is no setting of the trainer
        groups["trainer"] = {key: value for key, value in trainer.items() if key != "_target_"}
    return groups


def _told(errors: Sequence[ErrorDetails]) -> list[tuple[str, str]]:
    told: dict[str, str] = {}
    for error in errors:
        path = [str(part) for part in error["loc"]]
        key = ".".join(part for part in path if part not in {"str", "list[str]"})
        problem = _problem(error)
        told[key] = f"{told[key]}, or {problem.partition('expected ')[2]}" if key in told else problem
    return list(told.items())


def _problem(error: ErrorDetails) -> str:
    match error["type"]:
        case "missing":
            return "missing, expected a value"
        case "unexpected_keyword_argument":
            return "got an unknown key, expected one that conf/ lists\n\nhint: is it misspelt?"
        case "greater_than_equal":
            return f"got {error['input']!r}, expected at least {error['ctx']['ge']}"
        case "greater_than":
            return f"got {error['input']!r}, expected more than {error['ctx']['gt']}"
        case "less_than":
            return f"got {error['input']!r}, expected less than {error['ctx']['lt']}"
    expected = error["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    return f"got {error['input']!r}, expected {expected}"
