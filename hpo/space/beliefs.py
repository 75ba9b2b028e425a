"""What a user believes of a parameter beforehand: its usual value, and how firmly. Standard library only."""

from __future__ import annotations

from typing import Any, Literal, Protocol, get_args

from hpo.records import ParamValue

Belief = Literal["low", "medium", "high"]
USUAL = "medium"  # where a usual value comes without a belief
# Standard deviation of a number around its usual value, as a share of the unit interval.
DEVIATION = {"low": 0.35, "medium": 0.2, "high": 0.1}
# Weight of each other value of an unordered choice, that of the usual one being 1.
OTHERS = {"low": 0.6, "medium": 0.4, "high": 0.2}


class Believed(Protocol):
    """A parameter that may have a usual value."""

    @property
    def usual(self) -> ParamValue | None:
        """What people take where they know nothing better."""

    @property
    def belief(self) -> Belief | None:
        """How firmly they believe in it."""

    def problem(self, value: object) -> str | None:
        """What is wrong with a value."""


def set_belief(parameter: Believed) -> list[str]:
    """Fill in the belief of a parameter that has a usual value alone; says what is wrong with the two."""
    if parameter.usual is None:
        return [] if parameter.belief is None else [f"belief {parameter.belief}: expected `usual` beside it"]
    if parameter.belief is None:
        object.__setattr__(parameter, "belief", USUAL)
    wrong = parameter.problem(parameter.usual)
    problems = [f"usual: {wrong}"] if wrong else []
    if parameter.belief not in get_args(Belief):
        problems.append(f"belief: expected one of {', '.join(get_args(Belief))}, got {parameter.belief!r}")
    return problems


def described(parameter: Believed) -> dict[str, Any]:
    """What a description says of a belief: nothing where there is none, as in studies of earlier versions."""
    return {} if parameter.usual is None else {"usual": parameter.usual, "belief": parameter.belief}
