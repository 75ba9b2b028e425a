"""The controller as a job: the file that sbatch gets."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import slurm
from slurm.devcluster import client
from slurm.devcluster_files import Layout

SCRIPT = Path(slurm.__file__).with_name("controller.sbatch")


def pretend_python(folder: Path) -> None:
    """A virtual environment whose Python writes down what it is asked to run."""
    program = folder / ".venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/bash\nprintf "%s\\n" "$PWD" "$@" > {folder}/asked.tmp\nmv asked.tmp asked\n')
    program.chmod(0o755)


def test_the_script_is_sound_bash() -> None:
    """bash reads it to its end."""
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)


def test_overrides_reach_the_controller_word_for_word(tmp_path: Path) -> None:
    """Blanks and brackets included, with the environment beside the folder of submission."""
    pretend_python(tmp_path)
    overrides = ["cluster=slurm", "space.lora_rank='range(4, 256, step=4)'"]
    environment = {**os.environ, "SLURM_SUBMIT_DIR": str(tmp_path)}
    subprocess.run(["bash", str(SCRIPT), *overrides], check=True, cwd="/", env=environment)
    assert (tmp_path / "asked").read_text().split("\n")[:-1] == [
        str(tmp_path),
        "-m",
        "hpo",
        "tune",
        *overrides,
    ]


@pytest.mark.slurm
def test_sbatch_takes_it_one_at_a_time(
    cluster: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    """A second controller waits for the first; then each runs."""
    pretend_python(tmp_path)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert client(cluster, "sbatch", "--hold", str(SCRIPT), "study.name=x").ok
    waiting = client(cluster, "squeue", "-h", "-o", "%j %E").stdout.splitlines()
    assert len(waiting) == 2
    assert all(line.startswith("frontrunner-controller singleton") for line in waiting)
    client(cluster, "scontrol", "release", "JobName=frontrunner-controller")
    wait_until((tmp_path / "asked").exists)
    assert (tmp_path / "asked").read_text().split("\n")[1:-1] == ["-m", "hpo", "tune", "study.name=x"]
