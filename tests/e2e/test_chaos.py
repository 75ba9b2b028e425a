"""The short form of `make chaos`: small studies through the faults that matter most, on true Slurm."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conditions import PATIENCE_S

from benchmarks.reliability.inject import describe, is_clean, run_plan
from benchmarks.reliability.plan import draw_plan

pytestmark = pytest.mark.slurm

TRIALS = 10


@pytest.mark.long(40)
@pytest.mark.parametrize(
    "faults",
    [
        ["controller.kill_record", "task.kill", "task.requeue"],
        ["controller.torn", "preempt.program", "site.variables"],
        ["controller.two", "node.copy", "files.journal"],
        ["metrics.truncated", "squeue.fail", "task.scancel_pending"],
        ["disk.full", "slurmctld.stop", "site.banners"],
    ],
    ids=" ".join,
)
def test_study_outlasts(faults: list[str], require_slurm: None, tmp_path: Path) -> None:
    """Every trial has one result, counted once; nothing is left in the queue; the study ends by itself."""
    record = run_plan(draw_plan(0, faults, trials=TRIALS), tmp_path / "run", limit_s=PATIENCE_S)
    assert is_clean(record), f"{describe(record)}\n{record['faults']}"
    unmountable = os.geteuid() != 0 and "disk.full"
    missed = [own for own in record["faults"] if not own["injected"] and own["fault"] != unmountable]
    assert missed == []
