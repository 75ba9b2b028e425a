"""What a study optimises: objectives with a direction. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from hpo.errors import InputError, Problem


class Direction(StrEnum):
    """Which way an objective is better."""

    MIN = "min"
    MAX = "max"

    @property
    def sign(self) -> int:
        """What turns a value into one to minimise: 1 or -1."""
        return 1 if self is Direction.MIN else -1


@dataclass(frozen=True)
class Objective:
    """One metric to optimise.

    Args:
        direction: `min` or `max`.
        threshold: the worst value of interest, in the metric's own unit; it becomes the reference point's
            coordinate. None: inferred from what was observed.

    Raises:
        InputError: another direction, or a threshold that is no finite number.
    """

    direction: Direction
    threshold: float | None = None

    def __post_init__(self) -> None:
        problems: list[Problem] = []
        try:
            object.__setattr__(self, "direction", Direction(self.direction))
        except ValueError:
            problems.append(("direction", f"expected min or max, got {self.direction!r}"))
        number: object = self.threshold
        if number is not None:
            plain = isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
            if not plain:
                problems.append(("threshold", f"expected a finite number, got {number!r}"))
        if problems:
            raise InputError(problems)

    def minimised(self, value: float) -> float:
        """A value with its sign so that less is better; the same call turns it back."""
        return self.direction.sign * value


Objectives = Mapping[str, Objective]


def _parse(value: object) -> Objective:
    if isinstance(value, Objective):
        return value
    if isinstance(value, str):
        return Objective(value)  # type: ignore[arg-type]  # checked there
    if isinstance(value, Mapping):
        try:
            return Objective(**value)
        except TypeError as error:
            raise InputError(f"expected direction and threshold, got {dict(value)!r}") from error
    raise InputError(f"expected min, max or a mapping with a direction, got {value!r}")


def parse_objectives(objectives: Mapping[str, object]) -> dict[str, Objective]:
    """Read objectives, in the given order.

    Args:
        objectives: name -> `min`, `max`, an `Objective`, or a mapping with `direction` and `threshold`.

    Raises:
        InputError: with every problem, by key path `objectives.<name>`; or there is no objective.
    """
    if not objectives:
        raise InputError([("objectives", "expected at least one objective, got none")])
    parsed: dict[str, Objective] = {}
    problems: list[Problem] = []
    for name, value in objectives.items():
        try:
            parsed[name] = _parse(value)
        except InputError as error:
            problems += error.under(f"objectives.{name}")
    if problems:
        raise InputError(problems)
    return parsed


def describe_objectives(objectives: Objectives) -> dict[str, Any]:
    """The objectives as JSON values, which `parse_objectives` reads."""
    return {name: asdict(objective) for name, objective in objectives.items()}
