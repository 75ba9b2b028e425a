"""The job that follows an array."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from slurm.client.follow import follow_text
from slurm.errors import SubmissionError
from slurm.resources import resources
from slurm.settings import ClusterSettings
from slurm.slurm_executor import SlurmExecutor


def script(settings: dict[str, Any], **changes: Any) -> str:
    """The script of a follower."""
    wanted: dict[str, Any] = {
        "name": "fr-study-step",
        "folder": "/shared/my study",
        "command": ["python", "-m", "hpo", "step", "space.x='range(1, 2)'"],
        "after": ["12", "7"],
        "delay_s": 0.0,
        "working_folder": "/users/me",
        "setup": [],
    }
    asked = resources(ClusterSettings(**{**settings, "partition": "gpu"}), {"helper": True})
    return follow_text(asked, **{**wanted, **changes})


def options(text: str) -> list[str]:
    """The #SBATCH lines, read as a shell would."""
    return [shlex.split(line)[1] for line in text.splitlines() if line.startswith("#SBATCH ")]


def test_it_waits_for_the_arrays_and_for_jobs_of_its_own_name(settings: dict[str, Any]) -> None:
    """Both, which the comma says; it asks for no GPU."""
    assert options(script(settings)) == [
        "--job-name=fr-study-step",
        "--partition=gpu",
        "--cpus-per-task=2",
        "--mem=8192M",
        "--time=60",
        "--dependency=singleton,afterany:12:7",
        "--requeue",
        "--open-mode=append",
        "--output=/shared/my study/%x-%j.log",
        "--chdir=/users/me",
        "--export=ALL",
    ]


def test_a_delay_rounds_up_and_no_array_is_no_dependency(settings: dict[str, Any]) -> None:
    """But those of the same name never run side by side."""
    found = options(script(settings, after=[], delay_s=29.2))
    assert "--dependency=singleton" in found
    assert "--begin=now+30" in found


def test_the_command_is_kept_word_for_word_after_the_setup(settings: dict[str, Any]) -> None:
    """Quotes and blanks included."""
    lines = script(settings, setup=["module load python"]).splitlines()
    assert lines[-2] == "module load python"
    assert shlex.split(lines[-1])[1:] == ["python", "-m", "hpo", "step", "space.x='range(1, 2)'"]


def test_a_folder_with_a_percent_sign_is_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    """Slurm would take it for a placeholder."""
    executor = SlurmExecutor(**settings)
    with pytest.raises(SubmissionError, match="without '%'"):
        executor.follow(name="n", folder=f"{tmp_path}/50%", command=["true"], after=[])
