"""Which executor fits the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slurm.auto import auto


@pytest.mark.parametrize(
    ("programs", "expected"),
    [
        ({}, "local"),
        ({"srun": 0, "sbatch": 0, "scontrol": 0}, "slurm"),
        ({"srun": 0, "sbatch": 0, "scontrol": 1}, "local"),
        ({"scontrol": 0, "sbatch": 0}, "local"),
    ],
    ids=["no Slurm", "a controller answers", "none answers", "no srun"],
)
def test_slurm_is_taken_only_where_a_controller_answers(
    programs: dict[str, int],
    expected: str,
    settings: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client without a controller, or the other way round, is not enough."""
    for name, exit_code in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {exit_code}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert auto(**settings).name == expected
