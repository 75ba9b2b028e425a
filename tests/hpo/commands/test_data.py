"""The command `data`: it hands on what the trial kind says."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from hpo import cli
from hpo.commands.arguments import COMMANDS
from hpo.commands.data import dimmed, preview
from hpo.records import Cause


def test_masked_parts_are_dim_on_a_terminal() -> None:
    """Without their brackets, and the rest as it is."""
    text = dimmed("⟦Q: [bold]⟧A⟦⟧.")
    assert text.plain == "Q: [bold]A."
    assert [(span.start, span.end, span.style) for span in text.spans] == [(0, 9, "dim")]


def test_kind_without_data_says_so(tmp_path: Path) -> None:
    """Synthetic trials read none."""
    out = StringIO()
    overrides = ["trainer=synthetic", f"study.root={tmp_path}", f"cache={tmp_path}"]
    assert preview(overrides, None, Console(file=out, width=160)) == 0
    assert out.getvalue() == "synthetic trials read no data: nothing to show\n"


def test_errors_of_a_trial_kind_are_messages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`hpo` does not know their class, but that they tell a cause."""

    class KindError(Exception):
        cause = Cause.ERROR

    def fail(*_: object) -> int:
        raise KindError("no rows left\n\nhint: give more")

    monkeypatch.setitem(COMMANDS, "data", fail)
    assert cli.main(["data"]) == 1
    assert capsys.readouterr().err == "error: no rows left\n\nhint: give more\n"
