"""The studies under random faults are what their tables say."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from benchmarks.reliability import program
from benchmarks.reliability.faults import FAULTS
from benchmarks.reliability.plan import draw_plan


@pytest.mark.parametrize("name", FAULTS)
def test_a_plan_gives_each_fault_what_it_asks_for(name: str) -> None:
    """Cluster, options and trainer."""
    fault, plan = FAULTS[name], draw_plan(7, [name])
    assert [injection.fault for injection in plan.injections] == [name]
    assert fault.grace_s in (None, plan.cluster.grace_s)
    assert fault.user_signal in (None, plan.cluster.user_signal)
    assert plan.cluster.accounting or not fault.accounting
    assert set(fault.options) <= set(plan.options)
    assert plan.program is fault.program


def test_a_program_that_was_ended_in_between_reports_what_an_undisturbed_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of its steps are saved; each of the others is done once."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    steps = program.steps_of(3)
    (tmp_path / "saved.json").write_text(json.dumps([steps // 2, 0.25 + 0.001 * (steps // 2)]))
    metrics, progress = tmp_path / "metrics.json", tmp_path / "progress.jsonl"
    program.main("0.5", "3", str(tmp_path), str(progress), str(metrics))
    assert json.loads(metrics.read_text())["loss"] == pytest.approx(program.program_loss(0.5, 3), rel=1e-9)
    assert len(progress.read_text().splitlines()) == steps - steps // 2
