"""The search space: values, cells, coordinates, and every problem named."""

import json
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hpo.errors import InputError
from hpo.space.space import Choice, Constant, Float, Integer, Parameter, SearchSpace, parse_space

UNITS = st.floats(0, 1)


@st.composite
def floats(draw: st.DrawFn) -> Float:
    log = draw(st.booleans())
    low = draw(st.floats(1e-8, 1e3) if log else st.floats(-1e6, 1e6))
    high = low * draw(st.floats(1.01, 1e6)) if log else low + draw(st.floats(1e-3, 1e6))
    return Float(low, high, log=log)


@st.composite
def integers(draw: st.DrawFn) -> Integer:
    log = draw(st.booleans())
    low = draw(st.integers(1, 50) if log else st.integers(-50, 50))
    return Integer(low, low + draw(st.integers(1, 3000)), step=draw(st.integers(1, 20)), log=log)


@st.composite
def stepped(draw: st.DrawFn) -> Float:
    step = draw(st.sampled_from([0.1, 0.05, 0.25, 3.0]))
    low = draw(st.integers(1, 30)) / 10
    return Float(low, low + step * draw(st.integers(1, 50)), log=draw(st.booleans()), step=step)


CHOICES = st.builds(
    Choice, st.lists(st.one_of(st.text(), st.integers()), min_size=1, max_size=6, unique=True), st.booleans()
)
DISCRETE = st.one_of(integers(), stepped(), CHOICES)
PARAMETERS = st.one_of(floats(), DISCRETE, st.builds(Constant, st.integers()))


@given(floats(), UNITS)
def test_a_real_number_survives_the_way_to_the_cube_and_back(parameter: Float, unit: float) -> None:
    value = parameter.from_unit(unit)
    assert parameter.problem(value) is None
    tolerance = 1e-9 if parameter.log else 1e-9 * (parameter.high - parameter.low)
    back = parameter.from_unit(parameter.to_unit(value))
    assert math.isclose(back, value, rel_tol=1e-9, abs_tol=tolerance)


@given(DISCRETE, UNITS)
def test_a_rounded_value_lies_in_the_middle_of_its_cell(parameter: Integer | Choice, unit: float) -> None:
    """Both ends of the cell, just inside, mean the value, and its coordinate is half way between them."""
    index = parameter.grid.index(unit)
    middle = parameter.grid.unit(index)
    assert parameter.grid.index(middle) == index
    half = middle - _edge(parameter, index - 1, middle)
    assert parameter.grid.index(min(middle + half * (1 - 1e-3), 1.0)) == index
    if index + 1 < parameter.levels and middle + half * (1 + 1e-3) < 1:
        assert parameter.grid.index(middle + half * (1 + 1e-3)) == index + 1


def _edge(parameter: Integer | Choice, below: int, middle: float) -> float:
    """The lower edge of the cell above level `below`, by bisection."""
    if below < 0:
        return 0.0
    low, high = parameter.grid.unit(below), middle
    for _ in range(60):
        centre = (low + high) / 2
        low, high = (low, centre) if parameter.grid.index(centre) > below else (centre, high)
    return high


@given(DISCRETE)
def test_every_level_is_reached_and_comes_back(parameter: Integer | Choice) -> None:
    for index in {0, parameter.levels // 2, parameter.levels - 1}:
        value = parameter.level(index)
        assert parameter.problem(value) is None
        assert parameter.from_unit(parameter.to_unit(value)) == value


@given(DISCRETE)
def test_levels_ascend_along_the_unit_interval(parameter: Integer | Choice) -> None:
    units = [parameter.grid.unit(index) for index in range(min(parameter.levels, 50))]
    assert units == sorted(set(units))
    assert all(0 < unit < 1 for unit in units)


@given(st.dictionaries(st.text(min_size=1, max_size=3), PARAMETERS, min_size=1, max_size=4), st.data())
def test_rounding_is_idempotent_and_what_the_values_mean(
    own: dict[str, Parameter], data: st.DataObject
) -> None:
    space = SearchSpace(own)
    point = data.draw(st.lists(UNITS, min_size=len(space), max_size=len(space)))
    rounded = space.round(point)
    assert space.round(rounded) == rounded
    params = space.from_unit(point)
    assert space.contains(params)
    assert space.to_unit(params) == pytest.approx(rounded, abs=1e-6)


@given(st.dictionaries(st.text(min_size=1, max_size=3), PARAMETERS, min_size=1, max_size=4))
def test_a_space_survives_json_and_keeps_its_identity(own: dict[str, Parameter]) -> None:
    space = SearchSpace(own)
    again = parse_space(json.loads(json.dumps(space.describe())))
    assert again == space
    assert again.identity() == SearchSpace(dict(reversed(own.items()))).identity()


def test_a_changed_space_has_another_identity() -> None:
    assert SearchSpace({"r": Integer(4, 64)}).identity() != SearchSpace({"r": Integer(4, 65)}).identity()


def test_a_log_scale_puts_equal_factors_at_equal_distances() -> None:
    own = Float(1e-5, 1e-3, log=True)
    assert own.to_unit(1e-4) == pytest.approx(0.5)
    assert own.from_unit(0.25) == pytest.approx(10**-4.5)


def test_log_integers_take_cells_between_geometric_means() -> None:
    """1..4: edges at 1/sqrt(2), sqrt(2), sqrt(6), sqrt(12), 16/sqrt(12), so 2 has a share of ln 3 / 2."""
    grid = Integer(1, 4, log=True).grid
    width = math.log(16 / math.sqrt(12)) - math.log(1 / math.sqrt(2))
    assert grid.index((math.log(1.42) + math.log(2) / 2) / width) == 1
    assert grid.index((math.log(1.41) + math.log(2) / 2) / width) == 0
    assert grid.unit(1) == pytest.approx(((math.log(2) + math.log(6)) / 4 + math.log(2) / 2) / width)


def test_the_step_decides_which_values_there_are() -> None:
    own = Integer(4, 30, step=8)
    assert [own.from_unit(unit / 10) for unit in (0, 3, 6, 9, 10)] == [4, 12, 20, 28, 28]
    assert own.problem(11) == "expected 4 plus a multiple of 8, got 11"


def test_stepped_real_numbers_are_exact_decimals() -> None:
    own = Float(0.1, 0.5, step=0.1)
    assert [own.level(index) for index in range(5)] == [0.1, 0.2, 0.3, 0.4, 0.5]


def test_constants_and_single_levels_take_no_coordinate() -> None:
    space = SearchSpace({"a": Constant("x"), "b": Integer(1, 2, step=5), "c": Choice(("only",))})
    assert len(space) == 0
    assert space.size == 1
    assert space.from_unit(()) == {"a": "x", "b": 1, "c": "only"}


def test_the_order_of_the_mapping_changes_no_coordinate() -> None:
    one = SearchSpace({"b": Integer(1, 9), "a": Float(0, 1)})
    two = SearchSpace({"a": Float(0, 1), "b": Integer(1, 9)})
    assert one.to_unit({"a": 0.2, "b": 9}) == two.to_unit({"b": 9, "a": 0.2}) == (0.2, 17 / 18)
    assert list(one.from_unit((0.2, 0.9))) == ["b", "a"]


def test_configurations_lists_a_finite_space_once() -> None:
    space = SearchSpace({"a": Integer(1, 3), "b": Choice(("x", "y")), "c": Constant(0)})
    assert len(set(space.configurations())) == space.size == 6
    assert list(SearchSpace({"a": Float(0, 1)}).configurations()) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"r": 5, "t": "x"}, "params.r: expected 4 plus a multiple of 4, got 5"),
        ({"r": 8.0, "t": "x"}, "params.r: expected an integer from 4 to 64, got 8.0"),
        ({"r": True, "t": "x"}, "params.r: expected an integer from 4 to 64, got True"),
        ({"r": 8, "t": "z"}, "params.t: expected one of 'x', 'y', got 'z'"),
        ({"r": 8}, "params.t: expected a value, got none"),
        ({"r": 8, "t": "x", "q": 1}, "params.q: unknown parameter: expected one of r, t"),
    ],
)
def test_values_off_the_space_are_refused_by_name(value: dict[str, object], text: str) -> None:
    space = SearchSpace({"r": Integer(4, 64, step=4), "t": Choice(("x", "y"))})
    with pytest.raises(InputError) as caught:
        space.check(value)
    assert str(caught.value) == text


def test_true_and_one_are_different_choices() -> None:
    own = Choice((True, 1, 1.0))
    assert [own.to_unit(value) for value in (True, 1, 1.0)] == pytest.approx([1 / 6, 3 / 6, 5 / 6])


@pytest.mark.parametrize("value", [math.nan, math.inf, "1", None, True])
def test_what_is_no_number_is_no_value_of_a_number(value: object) -> None:
    assert Float(0, 1).problem(value) == f"expected a number from 0 to 1, got {value!r}"


def test_all_problems_of_a_space_are_named_together() -> None:
    with pytest.raises(InputError) as caught:
        parse_space(
            {
                "a": "interval(5, 1)",
                "b": "tag(log, interval(0, 1))",
                "c": None,
                "d": {"type": "integer", "low": 1.5, "high": 3},
                "fine": "interval(0, 1)",
            }
        )
    assert caught.value.problems == [
        ("space.a", "low must not be above high, got low 5 and high 1"),
        ("space.b", "a log scale needs low > 0, got low 0"),
        ("space.c", "expected a parameter, a sweep expression or a plain value, got None"),
        ("space.d", "low: expected an integer, got 1.5"),
    ]


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: Float(1, 1), "low and high are both 1"),
        (lambda: Float(0, math.inf), "high: expected a finite number, got inf"),
        (lambda: Float(0, 1, step=0), "step must be above 0, got 0"),
        (lambda: Choice(()), "at least one value"),
        (lambda: Choice(("a", "a")), "'a' is there more than once"),
        (lambda: Choice(([],)), "expected strings, numbers or truth values"),  # type: ignore[arg-type]
        (lambda: SearchSpace({}), "at least one parameter"),
        (lambda: Constant(math.nan), "got nan"),
    ],
)
def test_a_parameter_that_means_nothing_is_refused(build: object, text: str) -> None:
    with pytest.raises(InputError, match=text):
        build()  # type: ignore[operator]


@given(integers(), UNITS, UNITS)
def test_coordinates_keep_the_order_of_values(parameter: Integer, one: float, two: float) -> None:
    assume(one < two)
    assert parameter.from_unit(one) <= parameter.from_unit(two)


def test_branch_gives_dotted_names() -> None:
    """What Hydra makes of a dotted key on the command line is a parameter of that dotted name."""
    space = parse_space({"rank": "range(2, 8)", "trainer": {"args": {"warmup_steps": "interval(0, 0.1)"}}})
    assert list(space.parameters) == ["rank", "trainer.args.warmup_steps"]
    assert parse_space(space.describe()) == space
