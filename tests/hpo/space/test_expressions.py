"""Expressions: what they compute, what is refused, and that none of them runs for long."""

import copy
import math
import pickle

import pytest

from hpo.errors import InputError
from hpo.records import Params
from hpo.space.expressions import Expression

VALUES: Params = {"rank": 8, "ratio": 2.5, "optimizer": "sgd", "flag": True, "trainer.args.warmup_steps": 0.1}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rank * 2 + 1", 17),
        ("rank * ratio", 20.0),
        ("round(rank * ratio)", 20),
        ("round(ratio / 3, 2)", 0.83),
        ("int(ratio)", 2),
        ("rank / 2", 4.0),
        ("rank // 3", 2),
        ("rank % 3", 2),
        ("-rank ** 2", -64),
        ("2 ** rank", 256),
        ("log2(rank) + sqrt(rank + 1)", 6.0),
        ("min(rank, ratio, 3) + max(1, abs(-2))", 4.5),
        ("trainer.args.warmup_steps * 10", 1.0),
        ("optimizer", "sgd"),
        ("rank > 4", True),
        ("1 <= rank <= 8 < 9", True),
        ("1 <= rank <= 7 < 9", False),
        ("optimizer == 'sgd'", True),
        ('optimizer != "sgd"', False),
        ("optimizer in ('sgd', 'adamw')", True),
        ("rank not in [4, 8]", False),
        ("flag and not rank < 4", True),
        ("flag == true and not false", True),
        ("rank > 100 or optimizer == 'sgd'", True),
        ("optimizer == 1", False),
        (" rank ", 8),
    ],
)
def test_value(text: str, expected: object) -> None:
    """The value, and its type: whole-number arithmetic gives integers."""
    value = Expression(text).value(VALUES)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    "text", ["0.1 + 0.2 <= 0.3", "0.3 >= 0.1 + 0.2", "0.1 + 0.2 == 0.3", "0.3 in (0.1 + 0.2,)"]
)
def test_real_numbers_are_compared_up_to_rounding(text: str) -> None:
    assert Expression(text).value({}) is True


@pytest.mark.parametrize(
    "text", ["0.1 + 0.2 > 0.3", "0.3 < 0.1 + 0.2", "0.1 + 0.2 != 0.3", "1e-5 == 1.001e-5"]
)
def test_rounding_makes_no_difference(text: str) -> None:
    assert Expression(text).value({}) is False


@pytest.mark.parametrize(
    "text", ["rank / 0", "rank % (rank - 8)", "0 ** -1", "sqrt(-1)", "log2(0)", "(-8) ** 0.5"]
)
def test_what_cannot_be_computed_is_an_arithmetic_error_and_does_not_hold(text: str) -> None:
    expression = Expression(text)
    assert expression.partial
    with pytest.raises(ArithmeticError):
        expression.value(VALUES)
    assert not expression.holds(VALUES, inactive=True)


@pytest.mark.parametrize(
    "text",
    ["9 ** 9 ** 9", "2 ** 2000", "1e300 * 1e300", "1e300 * 1e300 - 1e300 * 1e300", "round(1e308 * 10)"],
)
def test_numbers_beyond_all_measure_are_refused_at_once(text: str) -> None:
    with pytest.raises(ArithmeticError):
        Expression(text).value({})


@pytest.mark.parametrize("text", ["rank / 2", "rank % 4", "2 ** rank", "rank * ratio", "round(rank)"])
def test_arithmetic_that_always_works_is_not_partial(text: str) -> None:
    assert not Expression(text).partial


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rank <",
        "rank = 3",
        "().__class__",
        "__import__('os')",
        "rank.bit_length()",
        "[1 for _ in (1, 2)]",
        "lambda: 1",
        "rank if flag else 1",
        "f'{rank}'",
        "b'x'",
        "None",
        "1j",
        "1e999",
        "rank is flag",
        "optimizer in rank",
        "rank | 1",
        "'x'.upper()",
        "min(rank)",
        "round(rank, ndigits=2)",
        "(" * 100 + "1" + ")" * 100 + "+",
        "-" * 500 + "1",
        "rank +" * 300 + "1",
    ],
)
def test_what_is_no_expression_is_refused_by_key(text: str) -> None:
    with pytest.raises(InputError) as caught:
        Expression(text, "space.constraints[0]")
    [(key, message)] = caught.value.problems
    assert key == "space.constraints[0]"
    assert "; expected numbers, 'quoted strings', names of parameters" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimizer + 1", "k: expected a number, got 'sgd' in 'optimizer + 1' with optimizer='sgd'"),
        ("optimizer * 1000", "k: expected a number, got 'sgd'"),
        ("optimizer > 3", "k: expected a number, got 'sgd'"),
        ("int('7')", "k: expected a number, got '7'"),
        ("optimizer and flag", "k: expected a truth value, got 'sgd'"),
        ("round(rank, -999999999)", "k: round: expected at most 15 digits"),
    ],
)
def test_a_string_is_not_taken_for_a_number(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Expression(text, "k").value(VALUES)
    assert str(caught.value).startswith(message)


def test_a_string_is_not_taken_for_a_truth_value() -> None:
    """Of 'none', say, nobody could tell what is meant."""
    with pytest.raises(InputError, match="expected a truth value, got 'sgd' from 'optimizer'"):
        Expression("optimizer").holds(VALUES, inactive=False)


def test_names_are_those_of_parameters() -> None:
    names = Expression("trainer.args.warmup_steps > rank and true and min(rank, 2) > 1").names
    assert names == {"trainer.args.warmup_steps", "rank"}


@pytest.mark.parametrize("answer", [True, False])
def test_an_inactive_parameter_gives_the_stated_answer(answer: bool) -> None:
    assert Expression("momentum > 0.5").holds(VALUES, inactive=answer) is answer
    assert Expression("not momentum > 0.5").holds(VALUES, inactive=answer) is answer


def test_an_inactive_parameter_that_does_not_matter_is_not_missed() -> None:
    assert Expression("rank == 8 or momentum > 0.5").holds(VALUES, inactive=False)
    assert not Expression("rank > 8 and momentum > 0.5").holds(VALUES, inactive=True)


def test_a_copy_computes_the_same() -> None:
    """Spaces are sent to other processes."""
    own = Expression("rank * ratio", "space.x")
    for again in (copy.deepcopy(own), pickle.loads(pickle.dumps(own))):
        assert again == own
        assert math.isclose(float(again.value(VALUES)), 20)
