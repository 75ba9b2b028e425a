"""What filters leave out, and how caps and the split go with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from selected_examples import load_examples

from jobs.data.filters import Filters, normal, repetition, word_share
from jobs.data.pieces import Example
from jobs.errors import DataError
from jobs.kinds.qlora import Qlora
from jobs.recipes.data import FilterRecipe
from jobs.recipes.recipe import parse


@pytest.mark.parametrize(
    ("rules", "example", "reason"),
    [
        ({"drop": ["(?i)as an ai"]}, ("Q", "As an AI, no"), "matches '(?i)as an ai'"),
        ({"drop": ["(?i)as an ai"]}, ("Q", "yes"), None),
        ({"keep": ["^Q", r"\d"]}, ("Q", "four"), r"does not match '\\d'"),
        ({"keep": ["^Q", r"\d"]}, ("Q", "4"), None),
        ({"empty_response": True}, ("Q", " ...\n"), "empty response"),
        ({"empty_response": True}, ("Q", "и"), None),
        ({"min_word_characters": 0.5}, ("Q", "a?!"), "less than 0.5 of the response are letters or digits"),
        ({"min_word_characters": 0.5}, ("Q", "a !"), None),
    ],
)
def test_text_rules(rules: dict[str, Any], example: tuple[str, str], reason: str | None) -> None:
    """Each rule by itself, on one example that it drops and one that it does not."""
    assert Filters(FilterRecipe(**rules)).text(Example(*example)) == reason


@pytest.mark.parametrize(
    ("rules", "prompt", "response", "reason"),
    [
        ({"min_tokens": 5}, 2, [1, 2], "shorter than 5 tokens"),
        ({"min_tokens": 4}, 2, [1, 2], None),
        ({"max_tokens": 3}, 2, [1, 2], "longer than 3 tokens"),
        ({"max_tokens": 4}, 2, [1, 2], None),
        ({"min_response_tokens": 3}, 9, [1, 2], "response shorter than 3 tokens"),
        ({"max_repetition": 0.5}, 1, [7] * 8, "more than 0.5 of the response repeats itself"),
        ({"max_repetition": 0.5}, 1, list(range(8)), None),
    ],
)
def test_token_rules(rules: dict[str, Any], prompt: int, response: list[int], reason: str | None) -> None:
    """Lengths count prompt and response; repetition is the response's."""
    assert Filters(FilterRecipe(**rules)).tokens(prompt, response) == reason


@pytest.mark.parametrize(("by", "dropped"), [("none", 0), ("example", 1), ("prompt", 2)])
def test_duplicates(by: str, dropped: int) -> None:
    """Capitals and white space make no difference; `prompt` looks at the prompt alone."""
    filters = Filters(FilterRecipe(duplicates=by))  # type: ignore[arg-type]
    told = [filters.text(Example(*pair)) for pair in [("Go", "a b"), (" go", "A\nb"), ("GO", "c")]]
    assert sum(reason is not None for reason in told) == dropped


def test_normal_form() -> None:
    """Full-width letters and the German sharp s fold as Unicode says."""
    assert normal("  ＡＢ\tStraße ") == "ab strasse"


def test_shares_by_hand() -> None:
    """Runs of 4 in abababab: abab, baba, abab, baba, abab: 3 of 5 came before. 2 of 4 are words."""
    assert repetition([1, 2] * 4) == pytest.approx(0.6)
    assert repetition([1, 2, 3]) == 0
    assert word_share("a 1?!") == 0.5
    assert word_share(" ") == 0


def write(path: Path, pairs: list[tuple[str, str]]) -> str:
    """A JSONL file of prompts and completions."""
    path.write_text("".join(json.dumps({"prompt": p, "completion": c}) + "\n" for p, c in pairs))
    return str(path)


def test_caps_are_filled_with_what_filters_leave(
    recipe: dict[str, Any], tokenizer: Any, tmp_path: Path
) -> None:
    """Of 200 rows half are dropped; 20 and 5 were asked for and are there, and the account adds up."""
    path = write(tmp_path / "a.jsonl", [(f"{n}:", "no" if n % 2 else "yes") for n in range(200)])
    recipe["data"] |= {"path": path, "train_examples": 20, "validation_examples": 5}
    recipe["data"]["filters"] = {"drop": ["no"]}
    examples = load_examples(parse(recipe).data, tokenizer)
    own = examples.account.sources["data"]
    assert (len(examples.train), len(examples.validation)) == (own.train, own.validation) == (20, 5)
    assert own.rows == 200 == own.train + own.validation + own.beyond + examples.dropped
    assert list(examples.account.lines()) == [f"dropped {examples.dropped}: matches 'no'"]


def test_duplicates_never_sit_on_both_sides(recipe: dict[str, Any], tokenizer: Any, tmp_path: Path) -> None:
    """Fifty texts, each in two writings: 50 stay, and no text is both learned and judged by."""
    pairs = [(f"q{n}:", "ok") for n in range(50)] + [(f"Q{n}: ", "ok") for n in range(50)]
    recipe["data"] |= {"path": write(tmp_path / "a.jsonl", pairs), "filters": {"duplicates": "example"}}
    examples = load_examples(parse(recipe).data, tokenizer)
    sides = [
        {normal(tokenizer.decode(one.ids).replace(" ", "")) for one in side}
        for side in (examples.train, examples.validation)
    ]
    assert len(examples.train) + len(examples.validation) == 50
    assert not sides[0] & sides[1]


def test_nothing_left_says_why(recipe: dict[str, Any], tokenizer: Any) -> None:
    """The reasons are in the message."""
    recipe["data"]["filters"] = {"min_tokens": 100}
    with pytest.raises(DataError, match=r"40 examples dropped.*shorter than 100 tokens"):
        load_examples(parse(recipe).data, tokenizer)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("drop", ["(a"], "expected a regular expression"),
        ("duplicates", "all", "expected 'none'"),
        ("max_repetition", 2, "less than or equal to 1"),
        ("max_token", 3, "unknown key"),
    ],
)
def test_wrong_filters_are_told(recipe: dict[str, Any], key: str, value: object, words: str) -> None:
    """By key path, before anything is read."""
    recipe["data"]["filters"] = {key: value}
    ((path, problem),) = [p for p in Qlora().problems(recipe) if p[0].startswith("data.filters")]
    assert path.startswith(f"data.filters.{key}")
    assert words in problem
