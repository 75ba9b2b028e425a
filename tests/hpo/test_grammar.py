"""Hydra's sweep grammar as parameters."""

import pytest

from hpo.errors import InputError
from hpo.grammar import parse_parameter
from hpo.space import Choice, Constant, Float, Integer, Parameter


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("interval(0, 1)", Float(0, 1)),
        ("tag(log, interval(1e-5, 1e-3))", Float(1e-5, 1e-3, log=True)),
        ("range(4, 256, step=4)", Integer(4, 256, step=4)),
        ("range(1, 8)", Integer(1, 8)),
        ("tag(log, range(1, 64))", Integer(1, 64, log=True)),
        ("range(0.1, 0.5, step=0.1)", Float(0.1, 0.5, step=0.1)),
        ("int(interval(4, 256))", Integer(4, 256)),
        ("tag(log, int(interval(4, 256)))", Integer(4, 256, log=True)),
        ("int(tag(log, interval(4, 256)))", Integer(4, 256, log=True)),
        ("tag(int, log, interval(1, 8))", Integer(1, 8, log=True)),
        ("choice(qv, attention, all)", Choice(("qv", "attention", "all"))),
        ("qv, attention", Choice(("qv", "attention"))),
        ("tag(ordered, choice(small, large))", Choice(("small", "large"), ordered=True)),
        ("choice(1, 2.5, true, 'x y')", Choice((1, 2.5, True, "x y"))),
        ("str(choice(1, 2))", Choice(("1", "2"))),
        ("3", Constant(3)),
        ("1e-3", Constant(1e-3)),
        ("true", Constant(True)),
        ("cosine", Constant("cosine")),
    ],
)
def test_the_grammar_means_what_hydra_users_expect(text: str, expected: Parameter) -> None:
    assert parse_parameter(text) == expected


def test_the_upper_end_of_a_range_is_included() -> None:
    own = parse_parameter("range(4, 256, step=4)")
    assert own.level((own.levels or 0) - 1) == 256


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("interval(1", "got 'interval(1'"),
        ("", "got ''"),
        ("[1, 2]", "or one plain value"),
        ("null", "or one plain value"),
        ("choice([q, v], [q])", r"expected plain values to choose from, got \['q', 'v'\]"),
        ("choice()", "empty choice"),
        ("tag(cubic, interval(0, 1))", "unknown tag cubic"),
        ("tag(log, choice(a, b))", "unknown tag log"),
        ("int(range(10, 1))", "low must not be above high, got low 10 and high 1"),
        ("range(0.5, 3, step=0.5, foo=1)", "expected interval"),
        ("tag(int, interval(0.5, 2))", "expected an integer, got 0.5"),
    ],
)
def test_what_means_no_parameter_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message.replace("(", r"\(") if "(" in message else message):
        parse_parameter(text)
