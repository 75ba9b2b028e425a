"""Configurations given in part, filled up to whole ones."""

from __future__ import annotations

import pytest

from hpo.errors import InputError
from hpo.space.partial import completed_params
from hpo.space.space import parse_space

PLAIN = parse_space({"lora_rank": "range(2, 32, step=2)", "rate": "tag(log, interval(1e-5, 1e-2))"})
RULED = parse_space(
    {
        "lora_rank": "range(2, 32, step=2)",
        "alpha_ratio": "tag(auxiliary, interval(0.5, 4))",
        "lora_alpha": "derive(round(alpha_ratio * lora_rank))",
        "optimizer": "choice(adamw, sgd)",
        "momentum": "interval(0, 1)",
        "conditions": {"momentum": "optimizer == 'sgd'"},
        "constraints": ["lora_rank + lora_alpha <= 64"],
    }
)


def test_a_whole_configuration_stays_as_it_is() -> None:
    """Value by value, and in its own order."""
    given = {"rate": 1e-3, "lora_rank": 8}
    assert completed_params(PLAIN, given, 0, 0) == given


def test_what_is_missing_depends_on_seed_and_number_alone() -> None:
    """The same again; elsewhere for another number; and the given value is kept to the last bit."""
    rates = [completed_params(PLAIN, {"rate": 0.1 * 0.03}, 0, number) for number in (0, 1, 2, 3)]
    assert rates == [completed_params(PLAIN, {"rate": 0.1 * 0.03}, 0, number) for number in (0, 1, 2, 3)]
    assert {params["rate"] for params in rates} == {0.1 * 0.03}
    assert len({params["lora_rank"] for params in rates}) == 4


@pytest.mark.parametrize("number", range(12))
@pytest.mark.parametrize(
    "given",
    [{}, {"lora_rank": 32}, {"momentum": 0.5}, {"optimizer": "adamw", "lora_rank": 30}, {"alpha_ratio": 4}],
)
def test_rules_of_the_space_are_met(given: dict[str, float], number: int) -> None:
    """Also where the values that are given leave little room, or imply another's."""
    params = completed_params(RULED, given, 0, number)
    assert RULED.problems(params) == []
    assert {name: params[name] for name in given} == given


@pytest.mark.parametrize(
    ("given", "key", "words"),
    [
        ({"rank": 8}, "rank", "unknown parameter"),
        ({"lora_rank": 3}, "lora_rank", "got 3"),
        ({"lora_rank": {}}, "lora_rank", "got {}"),
        ({"lora_rank": 32, "alpha_ratio": 4}, "", "found no configuration"),
        ({"optimizer": "adamw", "momentum": 0.5}, "", "found no configuration"),
        (
            {"lora_rank": 8, "alpha_ratio": 2, "lora_alpha": 5, "optimizer": "adamw"},
            "lora_alpha",
            "expected 16",
        ),
    ],
)
def test_values_that_no_configuration_has(given: dict[str, float], key: str, words: str) -> None:
    """What is wrong with one of them, or that they do not go together."""
    with pytest.raises(InputError) as caught:
        completed_params(RULED, given, 0, 0)
    ((found, text),) = caught.value.problems
    assert found == key
    assert words in text
