"""What holds for every space: round trips, bounds, cells, with conditions, derived values and constraints."""

import itertools
import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo.optimizer import Optimizer
from hpo.space.conditions import middle
from hpo.space.parameters import Parameter
from hpo.space.space import Choice, Derived, Float, Integer, SearchSpace, parse_space

UNITS = st.floats(0, 1)
thorough = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def numbers(draw: st.DrawFn) -> Float | Integer:
    log, low = draw(st.booleans()), draw(st.integers(1, 40))
    match draw(st.sampled_from(["integer", "stepped", "real"])):
        case "integer":
            return Integer(low, low + draw(st.integers(1, 12)), step=draw(st.integers(1, 3)), log=log)
        case "stepped":
            return Float(low / 10, low / 10 + 0.25 * draw(st.integers(1, 12)), step=0.25, log=log)
    return Float(low / 10, low / 10 + draw(st.integers(1, 50)), log=log)


CHOICES = st.builds(Choice, st.lists(st.sampled_from("vwxyz"), min_size=1, max_size=4, unique=True))


@st.composite
def spaces(draw: st.DrawFn, *, finite: bool = False) -> SearchSpace:
    """Spaces of up to five parameters, each conditional on an earlier one or not, and two derived ones.

    Constraints hold at one drawn point at least.
    """
    own = st.one_of(numbers().filter(lambda each: not finite or each.levels is not None), CHOICES)
    parameters: dict[str, Parameter] = {"a.b": draw(numbers() if not finite else st.just(Integer(1, 5)))}
    parameters |= {name: draw(own) for name in "pqrs"[: draw(st.integers(1, 4))]}
    names = list(parameters)
    conditions = {}
    for index, name in enumerate(names[1:], start=1):
        if draw(st.booleans()):
            conditions[name] = draw(comparisons(names[draw(st.integers(0, index - 1))], parameters))
    numeric = [name for name, each in parameters.items() if isinstance(each, Float | Integer)]
    one, two = draw(st.sampled_from(numeric)), draw(st.sampled_from(numeric))
    formulas = [f"2 * {one}", f"{one} + {two}", f"max({one}, {two}) - 1", f"round({one} / 3)", f"{one} / 4"]
    parameters["derived"] = Derived(draw(st.sampled_from(formulas)))
    parameters["again"] = Derived(f"derived * 3 + {one}", auxiliary=True)
    free = SearchSpace(parameters, conditions)
    there = free.from_unit(draw(st.lists(UNITS, min_size=len(free), max_size=len(free))))
    limit = float(there.get(one, 0)) + float(there.get(two, 0))
    constraints = [f"{one} + {two} <= {limit!r}", f"{one} + derived > -1e6"]
    return SearchSpace(parameters, conditions, draw(st.sampled_from([constraints, constraints[1:], []])))


@st.composite
def comparisons(draw: st.DrawFn, name: str, parameters: dict[str, Parameter]) -> str:
    """A condition on one parameter, true for one of its values at least."""
    own = parameters[name]
    assert isinstance(own, Float | Integer | Choice)
    value = own.from_unit(draw(UNITS))
    return (
        f"{name} {'==' if isinstance(own, Choice) else draw(st.sampled_from(['<=', '>=', '==']))} {value!r}"
    )


def point_of(space: SearchSpace, data: st.DataObject) -> tuple[float, ...]:
    return tuple(data.draw(st.lists(UNITS, min_size=len(space), max_size=len(space))))


@thorough
@given(spaces(), st.data())
def test_values_survive_the_way_to_the_cube_and_back(space: SearchSpace, data: st.DataObject) -> None:
    """Every parameter comes back, and no more; those that are computed from real numbers up to a round()."""
    params = space.from_unit(space.near(point_of(space, data)))
    space.check(params)
    again = space.from_unit(space.to_unit(params))
    assert list(again) == list(params)
    for name, value in params.items():
        if isinstance(value, float):
            assert math.isclose(float(again[name]), value, rel_tol=1e-9, abs_tol=1e-9)
        elif not isinstance(space.parameters[name], Derived):
            assert again[name] == value


@thorough
@given(spaces(), st.data())
def test_rounding_is_idempotent_and_changes_no_value(space: SearchSpace, data: st.DataObject) -> None:
    point = point_of(space, data)
    rounded = space.round(point)
    assert space.round(rounded) == rounded
    assert space.key(rounded) == space.key(point)
    assert space.from_unit(rounded) == space.from_unit(point)
    assert space.allows(rounded) == space.allows(point) == space.contains(space.from_unit(point))
    assert space.to_unit(space.from_unit(rounded)) == pytest.approx(rounded, abs=1e-9)


@thorough
@given(spaces(), st.data())
def test_rounded_coordinates_are_middles_of_cells(space: SearchSpace, data: st.DataObject) -> None:
    """An inactive parameter has the middle of the interval, or of the cell that holds it."""
    point = point_of(space, data)
    params = space.from_unit(point)
    for (name, own), unit in zip(space.dimensions.items(), space.round(point), strict=True):
        if name not in params:
            assert unit == middle(own)
        elif own.levels is not None:
            assert unit == own.grid.unit(own.grid.index(unit)) == own.to_unit(params[name])
        else:
            assert own.from_unit(unit) == params[name]


@thorough
@given(spaces(), st.data())
def test_near_points_are_allowed_and_rounded(space: SearchSpace, data: st.DataObject) -> None:
    point = point_of(space, data)
    found = space.near(point)
    assert space.allows(found)
    assert space.round(found) == found
    assert not space.allows(point) or found == space.round(point)


@thorough
@given(spaces(finite=True))
def test_finite_spaces_are_listed_once_and_whole(space: SearchSpace) -> None:
    """The same set as of all combinations of cells, rounded, those that are not allowed left out."""
    cells = [[own.grid.unit(index) for index in range(own.levels or 0)] for own in space.dimensions.values()]
    if math.prod(map(len, cells)) > 5000:
        return
    expected = {space.round(point) for point in itertools.product(*cells) if space.allows(point)}
    listed = list(space.configurations())
    assert len(listed) == len(set(listed)) == space.size
    assert set(listed) == expected


@thorough
@given(spaces())
def test_spaces_survive_json(space: SearchSpace) -> None:
    again = parse_space(json.loads(json.dumps(space.describe())))
    assert again == space
    assert again.identity() == space.identity()


@settings(thorough, max_examples=15)
@pytest.mark.parametrize("strategy", ["sobol", "random", "lhs", "grid", "powers_of_two"])
@given(space=st.one_of(spaces(), spaces(finite=True)))
def test_strategies_propose_what_is_allowed_and_never_repeat(strategy: str, space: SearchSpace) -> None:
    """As many as were asked for, or all there are; a constraint may leave a single value of a real number."""
    optimizer = Optimizer(space, {"y": "min"}, strategy=strategy)
    trials = optimizer.ask(4) + optimizer.ask(8)
    assert all(space.contains(params) for params in trials)
    assert len({space.key(space.to_unit(params)) for params in trials}) == len(trials)
    assert trials
    if strategy in ("sobol", "random", "lhs") and (space.size is not None or not space.constraints):
        assert len(trials) == min(12, 12 if space.size is None else space.size)
