"""Usual values of parameters: read, checked, described, and no part of what may be tried."""

from __future__ import annotations

import pytest

from hpo.controller.compose import compose_config
from hpo.errors import InputError
from hpo.space.grammar import parse_parameter
from hpo.space.space import Choice, Float, Integer, Parameter, SearchSpace, parse_space


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("usual(0.2, interval(0, 1))", Float(0, 1, usual=0.2, belief="medium")),
        (
            "usual(2e-4, belief=high, tag(log, interval(1e-5, 1e-3)))",
            Float(1e-5, 1e-3, log=True, usual=2e-4, belief="high"),
        ),
        ("usual( 64 ,belief = low, range(4, 256, step=4) )", Integer(4, 256, step=4, usual=64, belief="low")),
        ("usual(all, choice(qv, all))", Choice(("qv", "all"), usual="all")),
        ("usual('a,b', belief=high, choice(qv, 'a,b'))", Choice(("qv", "a,b"), usual="a,b", belief="high")),
        ("usual(true, choice(true, false))", Choice((True, False), usual=True)),
        ("usual(2, tag(auxiliary, interval(0.5, 4)))", Float(0.5, 4, auxiliary=True, usual=2)),
    ],
)
def test_usual_values_are_read(text: str, expected: Parameter) -> None:
    """Around every form of a parameter that varies."""
    assert parse_parameter(text) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("usual(66, range(4, 256, step=4))", "usual: expected 4 plus a multiple of 4, got 66"),
        ("usual(2, interval(0, 1))", "usual: expected a number from 0 to 1, got 2"),
        ("usual(mlp, choice(qv, all))", "usual: expected one of 'qv', 'all', got 'mlp'"),
        ("usual(0.5, belief=sure, interval(0, 1))", "belief: expected one of low, medium, high, got 'sure'"),
        ("usual(0.5, usual(0.4, interval(0, 1)))", "expected one usual value"),
        ("usual(8, 8)", r"expected usual\(value, ...\) around a parameter that varies"),
        ("usual(8, derive(2 * rank))", r"expected usual\(value, ...\) around a parameter that varies"),
        ({"type": "float", "low": 0, "high": 1, "belief": "low"}, "belief low: expected `usual` beside it"),
    ],
)
def test_wrong_beliefs_are_refused(given: object, message: str) -> None:
    """With the key of the parameter."""
    with pytest.raises(InputError, match=f"space.x: {message}"):
        parse_space({"x": given, "rank": "range(1, 4)"})


def test_beliefs_survive_a_description_and_are_no_part_of_the_identity() -> None:
    """A study goes on when a belief has changed: it says where to look, not what may be tried."""
    space = parse_space({"x": "usual(0.2, belief=low, interval(0, 1))", "k": "usual(b, choice(a, b))"})
    plain = parse_space({"x": "interval(0, 1)", "k": "choice(a, b)"})
    assert parse_space(space.describe()) == space
    assert space.describe()["x"] == plain.describe()["x"] | {"usual": 0.2, "belief": "low"}
    assert space.describe(beliefs=False) == plain.describe()
    assert space.identity() == plain.identity()


def test_point_of_usual_values_has_middles_elsewhere() -> None:
    """1e-4 is the middle of a log scale from 1e-5 to 1e-3; b is the second of four cells; y has no belief."""
    own = {"x": "usual(1e-4, tag(log, interval(1e-5, 1e-3)))", "k": "usual(b, choice(a, b, c, d))"}
    assert parse_space({**own, "y": "interval(0, 1)"}).usual == pytest.approx((0.375, 0.5, 0.5))
    assert SearchSpace({"y": Float(0, 1)}).usual is None


def test_usual_values_need_no_quotes_on_the_command_line() -> None:
    """As little as sweeps do."""
    text = "usual(2e-4, belief=high, tag(log, interval(1e-5, 1e-3)))"
    config, problems = compose_config([f"space.learning_rate={text}"])
    assert problems == []
    assert config["space"]["learning_rate"] == text
