"""Conditions, derived parameters and constraints of a space, by hand."""

import itertools
import json
import pickle
import re
import shlex
from pathlib import Path

import pytest
import yaml

from hpo.controller.compose import compose_config
from hpo.errors import InputError
from hpo.records import Params, ParamValue
from hpo.space.extremes import extreme_values
from hpo.space.space import Choice, Constant, Derived, Float, Integer, SearchSpace, parse_space

SPACE = parse_space(
    {
        "rank": "range(1, 4)",
        "ratio": "tag(auxiliary, choice(1, 2))",
        "alpha": "derive(ratio * rank)",
        "optimizer": "choice(adamw, sgd)",
        "momentum": "interval(0, 1)",
        "nesterov": "choice(true, false)",
        "conditions": {"momentum": "optimizer == 'sgd'", "nesterov": "momentum > 0.5"},
        "constraints": ["rank + alpha <= 8", "optimizer != 'sgd' or rank < 4"],
    }
)
FINITE = parse_space(
    {
        "rank": "range(1, 4)",
        "ratio": "tag(auxiliary, choice(1, 2))",
        "alpha": "derive(ratio * rank)",
        "optimizer": "choice(adamw, sgd)",
        "nesterov": "choice(true, false)",
        "conditions": {"nesterov": "optimizer == 'sgd'"},
        "constraints": ["rank + alpha <= 8"],
    }
)
PLAIN: dict[str, ParamValue] = {"rank": 2, "ratio": 2, "alpha": 4, "optimizer": "adamw"}


def test_derived_values_and_inactive_parameters_at_a_point() -> None:
    """Coordinates: momentum, nesterov, optimizer, rank, ratio. Values stand in the order of the space."""
    assert list(SPACE.dimensions) == ["momentum", "nesterov", "optimizer", "rank", "ratio"]
    assert SPACE.from_unit((0.9, 0.1, 0.1, 0.3, 0.9)) == PLAIN
    assert list(SPACE.from_unit((0.9, 0.1, 0.1, 0.3, 0.9))) == list(PLAIN)
    sgd = {"rank": 2, "ratio": 2, "alpha": 4, "optimizer": "sgd"}
    assert SPACE.from_unit((0.4, 0.1, 0.9, 0.3, 0.9)) == sgd | {"momentum": 0.4}
    assert SPACE.from_unit((0.9, 0.1, 0.9, 0.3, 0.9)) == sgd | {"momentum": 0.9, "nesterov": True}


def test_equal_configurations_have_equal_points() -> None:
    """The coordinate of an inactive parameter is the middle: 0.5, or that of the upper of two choices."""
    expected = (0.5, 0.75, 0.25, 3 / 8, 0.75)
    assert SPACE.to_unit(PLAIN) == expected
    for momentum, nesterov in itertools.product((0.0, 0.6, 1.0), repeat=2):
        assert SPACE.round((momentum, nesterov, 0.1, 0.3, 0.9)) == expected
        assert SPACE.key((momentum, nesterov, 0.1, 0.3, 0.9)) == SPACE.key(expected)


@pytest.mark.parametrize(
    ("rank", "ratio", "optimizer", "expected"),
    [(2, 2, "adamw", True), (3, 2, "adamw", False), (4, 1, "adamw", True), (4, 1, "sgd", False)],
)
def test_constraints_hold_or_not(rank: int, ratio: int, optimizer: str, expected: bool) -> None:
    params: Params = {"rank": rank, "ratio": ratio, "alpha": rank * ratio, "optimizer": optimizer}
    point = SPACE.to_unit(params)
    assert SPACE.allows(point) is expected
    assert SPACE.allowed([point, point]) == [expected, expected]
    assert SPACE.contains(SPACE.from_unit(point)) is expected


def test_a_finite_space_is_counted() -> None:
    """rank + ratio rank <= 8 leaves 4 + 2 pairs; adamw once, sgd with and without nesterov: 18."""
    assert FINITE.size == 18
    points = list(FINITE.configurations())
    assert len(set(points)) == 18
    assert all(FINITE.allows(point) and FINITE.round(point) == point for point in points)
    assert SPACE.size is None


@pytest.mark.slow
def test_a_space_too_large_to_count_has_the_bound_of_its_product() -> None:
    space = parse_space({"a": "range(1, 3000)", "b": "range(1, 3000)", "constraints": ["a + b < 6000"]})
    assert space.size == 3000 * 3000


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"alpha": 5}, "params.alpha: expected 4 = ratio * rank, got 5"),
        ({"alpha": 4.0}, "params.alpha: expected 4 = ratio * rank, got 4.0"),
        ({"alpha": None}, "params.alpha: expected a string, a number or a truth value, got None"),
        (
            {"momentum": 0.3},
            "params.momentum: expected no value, because \"optimizer == 'sgd'\" is not true, got 0.3",
        ),
        ({"optimizer": "sgd"}, "params.momentum: expected a value, got none"),
        (
            {"rank": 3, "alpha": 6},
            "params: the constraint 'rank + alpha <= 8' is not met, got alpha=6, rank=3",
        ),
        ({"rank": 9, "alpha": 18}, "params.rank: expected an integer from 1 to 4, got 9"),
    ],
)
def test_configurations_off_the_rules_are_refused(change: dict[str, object], text: str) -> None:
    with pytest.raises(InputError) as caught:
        SPACE.check(PLAIN | change)
    assert str(caught.value) == text


def test_a_missing_derived_value_is_named_with_what_it_should_be() -> None:
    with pytest.raises(InputError, match=r"params\.alpha: expected 4 = ratio \* rank, got none"):
        SPACE.check({name: value for name, value in PLAIN.items() if name != "alpha"})


def test_a_real_derived_value_may_lack_its_last_digits() -> None:
    space = parse_space({"a": "interval(0, 1)", "b": "derive(a / 3)"})
    assert space.contains({"a": 0.5, "b": 0.1666666666667})
    assert not space.contains({"a": 0.5, "b": 0.16667})
    assert parse_space({"a": "interval(1, 3)", "b": "derive(a * 0.5)"}).contains({"a": 2, "b": 1})


def test_a_value_derived_from_an_inactive_parameter_is_inactive() -> None:
    space = parse_space(
        {
            "a": "choice(x, y)",
            "b": "range(1, 2)",
            "c": "derive(2 * b)",
            "d": 7,
            "conditions": {"b": "a == 'x'", "d": "c > 2"},
            "constraints": ["c > 2"],
        }
    )
    assert list(map(space.from_unit, space.configurations())) == [
        {"a": "x", "b": 2, "c": 4, "d": 7},
        {"a": "y"},
    ]
    with pytest.raises(InputError, match="expected no value, because b has none, got 4"):
        space.check({"a": "y", "c": 4})


def test_a_derived_value_that_cannot_be_computed_is_not_allowed() -> None:
    space = parse_space({"a": "range(0, 2)", "b": "derive(6 / a)"})
    assert not space.plain
    assert [space.from_unit(point) for point in space.configurations()] == [
        {"a": 1, "b": 6.0},
        {"a": 2, "b": 3.0},
    ]
    assert not space.allows(space.to_unit({"a": 0}))
    with pytest.raises(InputError, match=r"params\.b: '6 / a' cannot be computed: division by zero"):
        space.check({"a": 0, "b": 1.0})


def test_a_plain_space_has_neither_conditions_nor_constraints() -> None:
    assert not SPACE.plain
    space = parse_space({"rank": "range(1, 4)", "alpha": "derive(2 * rank)"})
    assert space.plain
    assert space.allows((0.1,))
    assert space.from_unit((0.1,)) == {"rank": 1, "alpha": 2}
    assert space.size == 4


def test_the_recipe_gets_what_is_not_auxiliary() -> None:
    assert SPACE.in_recipe(PLAIN) == {"rank": 2, "alpha": 4, "optimizer": "adamw"}


def test_the_description_survives_json_and_a_copy_of_the_space_is_whole() -> None:
    again = parse_space(json.loads(json.dumps(SPACE.describe())))
    assert again == SPACE
    assert again.identity() == SPACE.identity()
    assert pickle.loads(pickle.dumps(SPACE)) == SPACE
    without = SearchSpace(SPACE.parameters, SPACE.conditions)
    assert without != SPACE
    assert without.identity() != SPACE.identity()


def test_the_description_of_a_space_without_rules_is_that_of_earlier_versions() -> None:
    """Studies go on only where it is."""
    space = SearchSpace({"r": Integer(1, 4), "f": Float(0, 1), "c": Choice(("a", 2)), "k": Constant(3)})
    assert space.describe() == {
        "r": {"type": "integer", "low": 1, "high": 4, "step": 1, "log": False},
        "f": {"type": "float", "low": 0.0, "high": 1.0, "log": False, "step": None},
        "c": {"type": "choice", "values": ["a", 2], "ordered": False},
        "k": {"type": "constant", "value": 3},
    }


def test_dataclasses_and_texts_make_the_same_space() -> None:
    built = SearchSpace(
        {
            "rank": Integer(1, 4),
            "ratio": Choice((1, 2), auxiliary=True),
            "alpha": Derived("ratio * rank"),
            "optimizer": Choice(("adamw", "sgd")),
            "nesterov": Choice((True, False)),
        },
        conditions={"nesterov": "optimizer == 'sgd'"},
        constraints=["rank + alpha <= 8"],
    )
    assert built == FINITE


@pytest.mark.parametrize(
    ("space", "key", "text"),
    [
        ({"a": "derive(b + 1)"}, "space.a", "unknown name b in 'b + 1': expected a"),
        ({"a": "derive(a + 1)"}, "space.a", "depends on itself: a needs a"),
        ({"a": "derive(2 *)"}, "space.a", "got '2 *': invalid syntax"),
        ({"a": 1, "constraints": ["a + z < 3"]}, "space.constraints[0]", "unknown name z in 'a + z < 3'"),
        (
            {"a": 1, "conditions": {"a": "z > 3"}},
            "space.conditions.a",
            "unknown name z in 'z > 3': expected a",
        ),
        (
            {"a": 1, "conditions": {"z": "a > 3"}},
            "space.conditions.z",
            "unknown parameter: expected one of a",
        ),
        ({"a": 1, "conditions": ["a > 3"]}, "space.conditions", "expected a mapping of parameter"),
        (
            {"a": 1, "constraints": "a > 3"},
            "space.constraints",
            "expected a list of expressions, got 'a > 3'",
        ),
        ({"a": 1, "constraints": ["a > 3"]}, "space.constraints", "found no configuration that 'a > 3'"),
        ({"a": "choice(x, y)", "constraints": ["a > 3"]}, "space.constraints[0]", "expected a number, got "),
    ],
)
def test_rules_that_mean_nothing_are_refused(space: dict[str, object], key: str, text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_space(space)
    [(path, message)] = caught.value.problems
    assert path == key
    assert text in message


def test_all_expressions_that_cannot_be_used_are_named_together() -> None:
    with pytest.raises(InputError) as caught:
        parse_space({"a": "derive(z)", "b": 1, "conditions": {"b": "1 +"}, "constraints": ["y > 1", "b > 0"]})
    keys = [key for key, _ in caught.value.problems]
    assert keys == ["space.a", "space.conditions.b", "space.constraints[0]"]


def test_a_circle_of_conditions_is_refused() -> None:
    with pytest.raises(InputError, match=r"depends on itself: . needs . needs .$"):
        parse_space(
            {"a": "interval(0, 1)", "b": "interval(0, 1)", "conditions": {"a": "b > 0", "b": "a > 0"}}
        )


def test_a_reserved_name_is_no_parameter() -> None:
    with pytest.raises(InputError, match=r"space\.constraints: a reserved key"):
        SearchSpace({"constraints": Integer(1, 2)})


@pytest.mark.parametrize(
    "constraints",
    [
        ["0.5 <= a + b <= 0.502"],
        ["a + b >= 1.999"],
        ["a == 2 * b"],
        ["n == 2 * m", "o == 3 * m", "a < 0.001"],
        ["abs(a - b) < 0.0001 and m > 30"],
    ],
)
def test_narrow_regions_are_found_and_reached_from_everywhere(constraints: list[str]) -> None:
    names = {"a": "interval(0, 1)", "b": "interval(0, 1)"}
    space = parse_space(names | dict.fromkeys("mno", "range(1, 40)") | {"constraints": constraints})
    for number in range(20):
        point = [(number * step) % 1 for step in (0.1234, 0.377, 0.613, 0.719, 0.811)]
        found = space.near(point)
        assert space.allows(found)
        assert space.round(found) == found


def test_the_allowed_point_near_a_point_differs_from_it_no_more_than_it_must() -> None:
    """b == 2 a: of a = 20, b = 50, the later of the two names moves."""
    space = parse_space(
        {"a": "range(1, 40)", "b": "range(1, 80)", "x": "interval(0, 1)", "constraints": ["b == 2 * a"]}
    )
    point = (space.dimensions["a"].to_unit(20), space.dimensions["b"].to_unit(50), 0.123)
    assert space.from_unit(space.near(point)) == {"a": 20, "b": 40, "x": 0.123}
    assert space.near(space.near(point)) == space.near(point)


def test_a_grid_is_cut_to_what_is_allowed() -> None:
    axes = [[0.1, 0.9]] * 5
    found = [SPACE.from_unit(point) for point in SPACE.combinations(axes)]
    assert len(found) == len({str(params) for params in found})
    assert all(SPACE.contains(params) for params in found)
    # rank 1 or 4, ratio 1 or 2, 4 with 2 too large; sgd not with 4; momentum 0.1, or 0.9 with two nesterovs
    assert len(found) == 3 + 2 * 3


def test_extremes_are_those_of_what_is_allowed() -> None:
    """Without the constraint alpha would go up to 8; the auxiliary ratio is no key of the recipe."""
    found = {name: set(values) for name, values in extreme_values(FINITE).items()}
    assert found == {
        "rank": {1, 4},
        "alpha": {1, 4},
        "optimizer": {"adamw", "sgd"},
        "nesterov": {True, False},
    }


def test_extremes_of_a_plain_space_are_the_ends_of_its_ranges() -> None:
    space = parse_space(
        {"a": "interval(0, 0.5)", "b": "choice(x, y)", "c": 3, "d": "tag(auxiliary, range(1, 9))"}
    )
    assert extreme_values(space) == {"a": [0.0, 0.5], "b": ["x", "y"], "c": [3]}


def test_the_examples_of_the_documentation_are_spaces(repository: Path) -> None:
    """In YAML, on the command line and in Python."""
    text = (repository / "docs" / "configuration.md").read_text(encoding="utf-8")
    section = text.split("### Parameters that depend on each other")[1].split("\n## ")[0]
    blocks = dict(re.findall(r"```(yaml|bash|python)\n(.*?)```", section, re.DOTALL))
    words = shlex.split(blocks["bash"])
    config, problems = compose_config([word for word in words if word.startswith("space.")])
    assert problems == []
    found: dict[str, SearchSpace] = {}
    exec(blocks["python"], found)  # our own documentation
    for space in (parse_space(yaml.safe_load(blocks["yaml"])), parse_space(config["space"]), found["space"]):
        assert isinstance(space.parameters["lora_alpha"], Derived)
        assert len(space.conditions) == 1
        assert space.constraints[0].startswith("lora_rank + lora_alpha <= ")
