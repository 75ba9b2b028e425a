"""What one trial is made of: model, data, trainer, evaluation. Loads no torch.

Defaults are in conf/ only. A recipe is checked as a whole and every problem is told by its key path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from enum import StrEnum
from typing import Annotated, Any, Literal, Protocol, TypeVar, get_type_hints

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails

from jobs.errors import sound
from jobs.recipes import targets
from jobs.recipes.data import DataRecipe
from jobs.recipes.evaluation import EvaluationRecipe
from jobs.recipes.model_sizes import known_sizes

STRICT = ConfigDict(extra="forbid", protected_namespaces=())
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
G = TypeVar("G")
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# Marks of a trainer's keys, for those who ask for all of a kind: see `marked`.
SHAPES_ADAPTER = "shapes the adapter, or what it computes from its weights"
TAKES_MEMORY = "decides how little memory a trial comes down to"
AUTO: Literal["auto"] = "auto"  # what `jobs.memory.sizing` decides on the node


class Quantisation(StrEnum):
    """How the frozen base model is stored."""

    NF4 = "nf4"
    FP4 = "fp4"
    INT8 = "int8"
    NONE = "none"


class LoraBias(StrEnum):
    """Which biases of the base model are trained beside the adapter."""

    NONE = "none"
    LORA_ONLY = "lora_only"  # those of the layers that have an adapter
    ALL = "all"


class Parallel(StrEnum):
    """How a trial uses several cards."""

    AUTO = "auto"  # data where the model fits one card, else layers
    DATA = "data"  # the whole model on each card, and a share of every batch
    LAYERS = "layers"  # the layers of one model split over the cards


@dataclass(frozen=True, config=STRICT)
class ModelRecipe:
    """The base model: a folder or hub name, or else a GGUF file inside an installed package."""

    name: str
    path: str | None
    revision: str | None
    package: str | None
    file: str | None
    trust_remote_code: bool
    # what its config.json says, for forecasts before it is here
    sizes: Annotated[dict[str, Any] | None, AfterValidator(known_sizes)] = None


def _known_targets(chosen: str | list[str]) -> str | list[str]:
    if wrong := targets.problem(chosen):
        raise ValueError(wrong)
    return chosen


@dataclass(frozen=True, config=STRICT)
class TrainerRecipe:
    """How the adapter is trained."""

    learning_rate: Positive
    lora_rank: Annotated[Count, SHAPES_ADAPTER, TAKES_MEMORY]
    lora_alpha: Annotated[Positive, SHAPES_ADAPTER]
    lora_dropout: Share
    lora_bias: Annotated[LoraBias, SHAPES_ADAPTER]
    use_rslora: Annotated[bool, SHAPES_ADAPTER]
    use_dora: Annotated[bool, SHAPES_ADAPTER, TAKES_MEMORY]
    target_modules: Annotated[str | list[str], AfterValidator(_known_targets), SHAPES_ADAPTER, TAKES_MEMORY]
    quantisation: Annotated[Quantisation, TAKES_MEMORY]
    double_quantisation: Annotated[bool, TAKES_MEMORY]
    batch_size: Count  # examples an optimiser step
    micro_batch_size: Count | Literal["auto"] | None  # examples a forward pass; None: the whole batch
    max_steps: Count | None
    epochs: Positive | None
    gradient_checkpointing: Annotated[bool | Literal["auto"], TAKES_MEMORY]
    checkpoint_every_s: Annotated[float, Field(ge=0)]
    divergence_loss: Positive  # nats per token
    gpus: Annotated[Count, TAKES_MEMORY]  # of each trial
    parallel: Annotated[Parallel, TAKES_MEMORY]
    args: dict[str, Any] = field(default_factory=dict)

    @property
    def micro_batches(self) -> tuple[int, ...]:
        """Examples a forward pass that may be chosen, each a divisor of the batch, the smallest first."""
        if self.micro_batch_size == AUTO:
            return tuple(size for size in range(1, self.batch_size + 1) if self.batch_size % size == 0)
        return (min(self.micro_batch_size or self.batch_size, self.batch_size),)

    @property
    def checkpointings(self) -> tuple[bool, ...]:
        """Whether activations may be kept (False), made again (True), or either."""
        chosen = self.gradient_checkpointing
        return (False, True) if chosen == AUTO else (chosen,)

    def shared_by(self, ranks: int) -> TrainerRecipe:
        """The part of one process of several that train together.

        Args:
            ranks: processes; they divide the batch.
        """
        return replace(self, batch_size=self.batch_size // ranks)

    @property
    def on_a_card(self) -> TrainerRecipe:
        """The part of one card, unless the layers are to be split over the cards."""
        return self.shared_by(1 if self.splits_layers else self.gpus)

    @property
    def splits_layers(self) -> bool:
        """Whether one model is known to be split over several cards."""
        return self.parallel is Parallel.LAYERS and self.gpus > 1

    def steps(self, train_examples: int, fidelity: float = 1.0) -> int:
        """Optimiser steps of a trial.

        Args:
            fidelity: share of the full length, in (0, 1].

        Returns:
            max_steps where it is set, else the steps of `epochs` epochs; at least 1.
        """
        full = self.max_steps or (self.epochs or 1.0) * train_examples / self.batch_size
        return max(1, round(full * fidelity))


class Stored(Protocol):
    """A trainer, as far as it decides how the base model is stored."""

    @property
    def quantisation(self) -> Quantisation:
        """Of the linear layers."""

    @property
    def double_quantisation(self) -> bool:
        """Of the 4-bit kinds."""


class Based(Protocol):
    """What has a base model."""

    @property
    def model(self) -> ModelRecipe:
        """Which."""

    @property
    def trainer(self) -> Stored:
        """How it is stored."""


def marked(mark: str) -> tuple[str, ...]:
    """The key paths of a trainer's keys with a mark, such as `SHAPES_ADAPTER`."""
    hints = get_type_hints(TrainerRecipe, include_extras=True)
    return tuple(f"trainer.{key}" for key, hint in hints.items() if mark in getattr(hint, "__metadata__", ()))


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """The whole of a trial but for its seed."""

    model: ModelRecipe
    data: DataRecipe
    trainer: TrainerRecipe
    evaluation: EvaluationRecipe


@dataclass(frozen=True, config=ConfigDict(arbitrary_types_allowed=True))
class Examined:
    """What could be read of a recipe, group by group, and what is wrong with the rest."""

    model: ModelRecipe | None
    data: DataRecipe | None
    trainer: TrainerRecipe | None
    evaluation: EvaluationRecipe | None
    problems: list[tuple[str, str]]  # (key path, problem)

    @property
    def recipe(self) -> Recipe | None:
        """The whole, where every group could be read."""
        if self.model and self.data and self.trainer and self.evaluation:
            return Recipe(self.model, self.data, self.trainer, self.evaluation)
        return None


def parse(raw: Mapping[str, Any]) -> Recipe:
    """Turn plain values into a recipe.

    Args:
        raw: mappings `model`, `data`, `trainer` and `evaluation`; other keys are not ours and passed over.

    Raises:
        RecipeError: naming every problem by its key path.
    """
    examined = examine(raw)
    return sound(examined.recipe, examined.problems)


def examine(raw: Mapping[str, Any]) -> Examined:
    """Read each group of a recipe for itself, so that a mistake in one does not hide those in others."""
    problems: list[tuple[str, str]] = []
    model = read_group(ModelRecipe, "model", raw, problems)
    data = read_group(DataRecipe, "data", raw, problems)
    trainer = read_group(TrainerRecipe, "trainer", raw, problems)
    evaluation = read_group(EvaluationRecipe, "evaluation", raw, problems)
    if trainer is not None:
        problems += _combinations(trainer)
    if data is not None:
        problems += _mixture_problems(data)
    return Examined(model, data, trainer, evaluation, problems)


def read_group(kind: type[G], name: str, raw: Mapping[str, Any], problems: list[tuple[str, str]]) -> G | None:
    """Read one group of a recipe into its dataclass.

    Args:
        problems: what is wrong with the group is added here, by key path.

    Returns:
        The group; None where it cannot be read.
    """
    values = raw.get(name)
    if isinstance(values, Mapping):  # `_target_` chooses this package; it is no setting of the trainer
        values = {key: value for key, value in values.items() if key != "_target_"}
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        problems += _told(name, error.errors())
        return None


def _combinations(trainer: TrainerRecipe) -> list[tuple[str, str]]:
    problems = []
    split = trainer.gpus > 1 and not trainer.splits_layers
    if split and trainer.batch_size % trainer.gpus:
        expected = f"a multiple of trainer.gpus ({trainer.gpus}), which share it"
        problems.append(("trainer.batch_size", f"got {trainer.batch_size}, expected {expected}"))
    elif (own := trainer.on_a_card).batch_size % own.micro_batches[0]:
        got = trainer.micro_batch_size
        shared = f", the share of each of {trainer.gpus} cards" if split else ""
        problems.append(
            ("trainer.micro_batch_size", f"got {got}, expected a divisor of {own.batch_size}{shared}")
        )
    if (trainer.max_steps is None) == (trainer.epochs is None):
        both = f"max_steps={trainer.max_steps} and epochs={trainer.epochs}"
        problems.append(("trainer.max_steps", f"got {both}, expected one of them, and null for the other"))
    return problems


def _mixture_problems(data: DataRecipe) -> list[tuple[str, str]]:
    if data.sources and data.path:
        return [("data.path", f"got {data.path!r} beside data.sources, expected one of them")]
    if not any(source.weight for source in data.parts()):
        return [("data.sources", "got no weight above 0, expected at least one")]
    return []


# What pydantic puts into the place of an error for the alternatives of a key.
KINDS = frozenset({"str", "bool", "constrained-int"})
KINDS_OF = ("list[", "dict[", "function-", "literal[")


def _told(group: str, errors: Sequence[ErrorDetails]) -> list[tuple[str, str]]:
    told: dict[str, str] = {}
    for error in errors:
        path = [group, *(str(part) for part in error["loc"])]
        key = ".".join(part for part in path if not (part in KINDS or part.startswith(KINDS_OF)))
        problem = _problem(error)
        told[key] = f"{told[key]}, or {problem.partition('expected ')[2]}" if key in told else problem
    return list(told.items())


def _problem(error: ErrorDetails) -> str:
    match error["type"]:
        case "value_error":
            return str(error["ctx"]["error"])
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
