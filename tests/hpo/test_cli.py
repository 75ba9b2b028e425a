"""How the command line tells what ended a command."""

from __future__ import annotations

import pytest

from hpo import cli
from hpo.commands.arguments import COMMANDS
from slurm.errors import SchedulerError


@pytest.mark.parametrize(("hint", "told"), [("ask your administrator", 1), ("", 0)])
def test_hint_of_an_executor_is_told_once(
    hint: str, told: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its message holds the hint already."""

    def refused(*_: object) -> int:
        raise SchedulerError("squeue: no answer", hint)

    monkeypatch.setitem(COMMANDS, "status", refused)
    assert cli.main(["status", "demo"]) == 1
    shown = capsys.readouterr().err
    assert shown.count("hint:") == told
    assert shown.startswith("error: squeue: no answer\n")
