"""Configurations that are given in part: the rest is where a design that fills the space would have it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from hpo.errors import InputError, Problem
from hpo.records import Params, ParamValue
from hpo.space.feasible_points import nearest_first
from hpo.space.parameters import Derived
from hpo.space.sampling import sobol_points
from hpo.space.space import Point, SearchSpace

_DRAWS = 64  # points of the design that are tried, one after the other
_NEAR = 8  # allowed points near each of them
_TRIES = 2_000  # values tried for these


def completed_params(space: SearchSpace, given: Mapping[str, ParamValue], seed: int, number: int) -> Params:
    """A configuration of the space with the given values.

    Args:
        space: the search space.
        given: parameter -> value; those that are missing are filled in.
        number: of the sequence's point that says what is missing. Where the rules of the space forbid that,
            the next ones are taken, and where they forbid many, something near one of them.

    Returns:
        The same for the same arguments.

    Raises:
        InputError: with what is wrong with the values, or no configuration with them was found.
    """
    wrong = [(name, text) for name, value in given.items() if (text := _problem(space, name, value))]
    if wrong:
        raise InputError(wrong)
    if space.contains(given):
        return dict(given)
    for point in _candidates(space, given, list(islice(sobol_points(len(space), seed, number), _DRAWS))):
        params = {**space.from_unit(point), **given}
        if space.contains(params):
            return {name: params[name] for name in space.parameters if name in params}
    raise InputError(_contradictions(space, given))


def _problem(space: SearchSpace, name: str, value: object) -> str | None:
    if name not in space.parameters:
        return f"unknown parameter: expected one of {', '.join(space.parameters)}"
    return space.parameters[name].problem(value)


def _candidates(space: SearchSpace, given: Params, points: Sequence[Point]) -> Iterator[Point]:
    """The points with the coordinates of the given values, then what the rules allow near them."""
    fixed = {name: each.to_unit(given[name]) for name, each in space.dimensions.items() if name in given}
    for point in points:
        yield tuple(fixed.get(name, unit) for name, unit in zip(space.dimensions, point, strict=True))
    for point in points:
        near = nearest_first(point)
        axes = [
            [fixed[name]] if name in fixed else list(near(place, dimension))
            for place, (name, dimension) in enumerate(space.dimensions.items())
        ]
        yield from islice(space.combinations(axes, _TRIES), _NEAR)


def _contradictions(space: SearchSpace, given: Params) -> list[Problem]:
    """Why there is no configuration with these values, as far as they say it themselves."""
    complete = all(
        name in given or name in space.conditions or isinstance(parameter, Derived)
        for name, parameter in space.parameters.items()
    )
    found = space.problems(given) if complete else []
    return found or [("", f"found no configuration of the space with {dict(given)}")]
