"""What `data` shows: counts, reasons, lengths and marked examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpo.records import write_json
from jobs.data.tokens import Tokens
from jobs.prepare.preview import histogram, main, marked, printable, shortened


def test_histogram_counts_every_length() -> None:
    """Lengths 1 to 20 in ten bins of two, one of them twice as full."""
    lines = list(histogram([*range(1, 21), 3, 4]))
    assert [line.split()[-1] for line in lines[:-1]] == ["2", "4", *["2"] * 8]
    assert lines[1] == f"   3-4   {'█' * 40} 4"
    assert lines[0].count("█") == 20
    assert lines[-1] == "  median 10, 95% at most 19"


def test_histogram_of_one_length() -> None:
    """One bin."""
    assert next(histogram([7, 7])) == f"  7-7  {'█' * 40} 2"


def test_masked_part_is_marked_line_by_line() -> None:
    """The border is that of the labels: the first token of all never counts."""
    text = "ab\ncdef\ng"

    def decode(ids: Any) -> str:
        return "".join(text[place] for place in ids)

    ids = tuple(range(len(text)))
    assert list(marked(Tokens(ids, 5), decode)) == ["⟦ab⟧", "⟦cd⟧ef", "g"]
    assert list(marked(Tokens(ids, 3), decode)) == ["⟦ab⟧", "cdef", "g"]
    assert list(marked(Tokens(ids, 0), decode)) == ["⟦a⟧b", "cdef", "g"]


def test_texts_are_made_fit_to_show() -> None:
    """Nothing that a terminal would obey, and no novels."""
    assert printable("a\x1b[2Jb\tc\n") == "a\\x1b[2Jb\tc\n"
    assert shortened("x" * 1300) == "x" * 900 + " [... 100 characters ...] " + "x" * 300


def test_preview_of_a_mixture(
    recipe: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line per source, reasons with a sample, an epoch in tokens, an example of each source."""
    path = recipe["data"]["path"]
    recipe["data"] |= {
        "path": None,
        "sources": {"own": {"path": path, "weight": 2}, "generated": {"path": None, "cap": 5}},
        "filters": {"drop": ["^1"]},
    }
    write_json(tmp_path / "recipe.json", recipe)
    assert main(str(tmp_path / "recipe.json"), str(tmp_path / "cache")) == 0
    shown = capsys.readouterr().out.splitlines()
    (own,) = (line.split() for line in shown if line.startswith("own "))
    assert own[:5] == ["own", "2", "40", "0", "11"]  # 1: and 10: to 19:
    assert any(line.startswith("dropped 11: matches '^1', as in 'ok") for line in shown)
    epoch = 2 * int(own[-2]) + 5
    assert any(line.startswith(f"an epoch reads {epoch} examples") for line in shown)
    assert any(line.startswith("training example 1 of own: ") for line in shown)
    assert "padding: <pad> (1)" in shown
    assert f"end mark: </s> (2) learned by {epoch} of {epoch} examples" in shown
    assert any(line.startswith("training example 1 of generated: ") for line in shown)


def test_preview_says_what_is_wrong(
    recipe: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A message, not a traceback."""
    recipe["data"]["filters"] = {"min_tokens": 100}
    write_json(tmp_path / "recipe.json", recipe)
    assert main(str(tmp_path / "recipe.json"), str(tmp_path / "cache")) == 2
    assert "none left on one side" in capsys.readouterr().err
