"""The package as it is installed elsewhere: nothing of it is missing, and it needs no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("hpo", "jobs", "slurm", "conf")


@pytest.mark.slow
def test_wheel_holds_every_file_and_runs_a_study_away_from_the_checkout(tmp_path: Path) -> None:
    copy, unpacked = tmp_path / "copy", tmp_path / "unpacked"  # a build leaves folders beside its sources
    listed = subprocess.check_output(["git", "ls-files", *PACKAGES], cwd=REPOSITORY, text=True).split()
    for name in [*listed, "pyproject.toml", "README.md", "LICENSE"]:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((REPOSITORY / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", tmp_path, copy], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    held = [path.relative_to(unpacked) for path in unpacked.rglob("*") if path.is_file()]
    assert sorted(str(path) for path in held if path.parts[0] in PACKAGES) == sorted(listed)

    there: dict[str, Any] = {
        "cwd": tmp_path,
        "env": {**os.environ, "PYTHONPATH": str(unpacked)},
        "text": True,
    }
    where = subprocess.check_output([sys.executable, "-c", "import hpo; print(hpo.__file__)"], **there)
    assert Path(where.strip()).is_relative_to(unpacked)
    study = [
        "cluster=local",
        "trainer=synthetic",
        "trainer.seconds=0.1",
        "budget.trials=2",
        "study.root=studies",
    ]
    command = [sys.executable, "-m", "hpo", "tune", *study, "report.automatic=false"]
    printed = subprocess.check_output(command, **there, timeout=240)
    assert "2 trials completed" in printed
