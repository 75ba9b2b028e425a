"""Objectives and their directions."""

import json
import math

import pytest

from hpo.errors import InputError
from hpo.objectives import Direction, Objective, describe_objectives, parse_objectives


def test_objectives_are_read_in_every_form_and_keep_their_order() -> None:
    told = {
        "loss": "min",
        "accuracy": {"direction": "max", "threshold": 0.5},
        "time": Objective(Direction.MIN),
    }
    parsed = parse_objectives(told)
    assert list(parsed) == ["loss", "accuracy", "time"]
    assert parsed["accuracy"] == Objective(Direction.MAX, 0.5)
    assert parse_objectives(json.loads(json.dumps(describe_objectives(parsed)))) == parsed


def test_minimised_turns_the_sign_of_what_is_maximised() -> None:
    assert Objective(Direction.MAX).minimised(2.0) == -2.0
    assert Objective(Direction.MIN).minimised(2.0) == 2.0


def test_all_problems_of_the_objectives_are_named_together() -> None:
    with pytest.raises(InputError) as caught:
        parse_objectives(
            {"a": "down", "b": {"direction": "max", "threshold": math.nan}, "c": 3, "d": {"way": "min"}}
        )
    assert [path for path, _ in caught.value.problems] == [
        "objectives.a.direction",
        "objectives.b.threshold",
        "objectives.c",
        "objectives.d",
    ]
    assert caught.value.problems[0][1] == "expected min or max, got 'down'"


def test_a_study_needs_an_objective() -> None:
    with pytest.raises(InputError, match="at least one objective"):
        parse_objectives({})
