"""Small inputs, one of each kind that the field has: what becomes of them, as docs/data.md says."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tokenizer_families import family

from jobs.data.problems import data_notes, data_problems
from jobs.data.rows import load_source, place
from jobs.data.selection import Selection, select
from jobs.data.tokens import IGNORED, Tokens
from jobs.errors import DataError
from jobs.recipes.data import DataRecipe
from jobs.recipes.recipe import read_group

INPUTS = Path(__file__).resolve().parents[2] / "assets" / "inputs"
PAGE = Path(__file__).resolve().parents[3] / "docs" / "data.md"
PYTHON = r"None|True|False|[Nn]a[Nn]|[\[{]'"  # what `str` writes of what is no text
CASES: list[dict[str, Any]] = yaml.safe_load((INPUTS / "cases.yaml").read_text(encoding="utf-8"))


def recipe_of(case: dict[str, Any]) -> DataRecipe:
    """The data of a case, split so that both sides have a row."""
    plain: dict[str, Any] = {"max_length": 4096, "train_examples": None, "validation_examples": None}
    plain |= {"path": str(INPUTS / case["file"]), "validation_fraction": 0.5, "seed": 0}
    problems: list[tuple[str, str]] = []
    data = read_group(DataRecipe, "data", {"data": plain | case["data"]}, problems)
    assert data is not None, problems
    for seed in range(30):
        try:
            place([load_source(source, 0) for source in data.parts()], replace(data, seed=seed))
        except DataError as error:
            if "validation_fraction" not in str(error):
                break  # it is not to be read
        else:
            return replace(data, seed=seed)
    return data


def learned(tokens: Tokens, tokenizer: Any) -> str:
    """The text that counts."""
    ids = [token for token, label in zip(tokens.ids, tokens.labels, strict=True) if label != IGNORED]
    return str(tokenizer.decode(ids))


def selected(data: DataRecipe, tokenizer: Any) -> Selection:
    """What `prefetch` makes of the data."""
    return select(data, tokenizer, None)


@pytest.mark.parametrize("case", CASES, ids=[f"{number}-{case['file']}" for number, case in enumerate(CASES)])
def test_input(case: dict[str, Any]) -> None:
    """Refused by the command that is named, with file and row; or read, and exactly the answers learned."""
    data, tokenizer = recipe_of(case), family(case.get("model", "smollm"))
    told = "\n".join(text for _, text in data_problems(data))
    if "told" in case and case["command"] == "plan":
        assert re.search(case["told"], told)
        assert case["file"] in told or "split" in case["told"] or "data.bad_rows" in dict(data_problems(data))
        return
    assert told == ""
    if "told" in case:
        with pytest.raises(DataError, match=case["told"]) as refusal:
            selected(data, tokenizer)
        assert f"{case['file']}, row " in str(refusal.value)
        return
    found = selected(data, tokenizer)
    texts = [tokenizer.decode(one.tokens.ids) for one in (*found.train, *found.validation)]
    assert not any(re.search(PYTHON, text) for text in texts)
    assert case.get("seen", "") in "\n".join(texts)
    if "learned" in case:
        kept = [learned(one.tokens, tokenizer) for one in (*found.train, *found.validation)]
        assert sorted(kept) == sorted(case["learned"])
    if "notes" in case:
        notes = data_notes(data)
        assert len(notes) == len(case["notes"])
        assert all(re.search(wanted, note) for wanted, note in zip(case["notes"], notes, strict=True))


def test_page_lists_every_input() -> None:
    """The table of docs/data.md is that of the cases, in their order."""
    rows = [
        f"| `{case['file']}` | {case['what']} | {case['happens']} | `{case['command']}` |" for case in CASES
    ]
    page = PAGE.read_text(encoding="utf-8").splitlines()
    assert [
        line
        for line in page
        if line.startswith("| `") and line.endswith(("`plan` |", "`prefetch` |", "`data` |"))
    ] == rows


def test_there_are_enough_of_them_and_each_is_used() -> None:
    """No file lies there that no case reads."""
    used = {case["file"] for case in CASES}
    assert {path.name for path in INPUTS.iterdir()} - {"cases.yaml"} == used
    assert len(used) >= 40
