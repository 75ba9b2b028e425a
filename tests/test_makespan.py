"""What the makespan is held against, and what the tables of the reliability page show."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from benchmarks.reliability import makespan, politeness, scale, scenarios
from benchmarks.reliability.durations import gaps, perfect_makespan
from benchmarks.reliability.metered import Usage
from benchmarks.reliability.table import seed_ranges


@pytest.mark.parametrize(
    ("seconds", "machines", "expected"),
    [([3.0, 1.0, 1.0, 2.0], 2, 4.0), ([5.0], 8, 5.0), ([1.0, 1.0, 1.0, 4.0], 2, 5.0), ([], 2, 0.0)],
)
def test_perfect_list_scheduler(seconds: list[float], machines: int, expected: float) -> None:
    """Each in order on the machine that is free first, worked by hand."""
    assert perfect_makespan(seconds, machines) == expected


def test_gaps_are_the_idle_time_between_two_on_one_machine() -> None:
    """Two machines: one free at 2 and taken again at 2.5, the other free at 3 and taken at 4."""
    assert sorted(gaps([(0.0, 2.0), (0.0, 3.0), (2.5, 6.0), (4.0, 5.0)], machines=2)) == [0.5, 1.0]


def test_ours_stands_beside_what_was_quoted() -> None:
    """Counts of every study of a scenario, the middle of the ratios."""
    common: dict[str, Any] = {
        "idle": 0,
        "results": 24,
        "twice": 0,
        "wrong": 0,
        "scratch": 0,
        "left": 0,
        "open": 0,
        "exit": 0,
    }
    common |= {"finished": True, "cpu_s": 2.0, "peak_mib": 100.0, "first_trial_s": 3.0, "load": 1.0}
    calls = {"sbatch": 8, "squeue": 10, "sacct": 1}
    records = [
        {**common, "scenario": "undisturbed", "started": 24, "ratio": ratio, "calls": calls}
        for ratio in (1.2, 1.3, 1.1)
    ]
    records.append({**common, "scenario": "task", "started": 25, "ratio": 1.3, "calls": calls})
    text = scenarios.section(records)
    assert "| **1.20 (1.10 to 1.30)** | 1.95 | 7.2 |" in text
    assert "| kill -9 of one task | **25 / 24** |" in text
    assert "| **8 / 10 / 1** | 3 / 0 / 11 |" in text


@pytest.mark.parametrize("module", [scenarios, makespan, politeness, scale])
def test_no_records_make_no_section(module: object) -> None:
    """The page leaves out what was not measured."""
    assert module.section([]) == ""  # type: ignore[attr-defined]


def test_peak_memory_is_that_of_the_process_itself() -> None:
    """Of an interpreter that does nothing: far below what this process holds."""
    command = [sys.executable, "-IS", "-c", "input(input())"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("started\n")
        process.stdin.flush()
        assert process.stdout.read(7) == "started"
        usage = Usage()
        usage.watch(process.pid)
        process.communicate("\n")
    assert 1 < usage.peak_mib < 40


def test_seeds_are_told_as_ranges() -> None:
    assert seed_ranges([0, 1, 2, 3, 4, 7, 9, 10]) == "0 to 4, 7, 9 to 10"
