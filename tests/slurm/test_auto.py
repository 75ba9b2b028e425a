"""Which executor fits the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slurm.auto import auto

NO_CLUSTER = "echo 'scontrol: fatal: Could not establish a configuration source' >&2; exit 1"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that is on the path."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def _install(folder: Path, programs: dict[str, str]) -> None:
    for name, line in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("installed", "expected", "silent"),
    [
        ({}, "local", False),
        ({"srun": "", "sbatch": "", "scontrol": "exit 0"}, "slurm", False),
        (
            {"srun": "", "sbatch": "", "scontrol": "echo 'Slurmctld(primary) at c1 is DOWN'; exit 1"},
            "slurm",
            True,
        ),
        ({"srun": "", "sbatch": "", "scontrol": NO_CLUSTER}, "local", False),
        ({"scontrol": "exit 0", "sbatch": ""}, "local", False),
    ],
    ids=["no Slurm", "a controller answers", "none answers", "no cluster", "no srun"],
)
def test_slurm_is_taken_where_it_is_installed(
    installed: dict[str, str], expected: str, silent: bool, settings: dict[str, Any], programs: Path
) -> None:
    """Also while its controller is away, which it then says; clients without a cluster are none."""
    _install(programs, installed)
    executor = auto(**settings)
    assert executor.name == expected
    assert ("is DOWN" in executor.silence()) == silent


@pytest.mark.parametrize("begun", ["slurm", "local"])
def test_a_study_stays_where_it_was_begun(begun: str, settings: dict[str, Any], programs: Path) -> None:
    """Whatever is seen of Slurm today, as where cron knows no path to it."""
    assert auto(executor=begun, **settings).name == begun
    _install(programs, {"srun": "", "sbatch": "", "scontrol": "exit 0"})
    assert auto(executor=begun, **settings).name == begun
