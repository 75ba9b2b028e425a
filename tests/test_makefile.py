"""What the Makefile finds out about the machine before it installs anything."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PROBE = "probe: ; @if $(SITE_HAS_GPUS); then echo cuda; else echo cpu; fi"


def _probe(tmp_path: Path, answer: str, **variables: str) -> str:
    sinfo = tmp_path / "sinfo"
    sinfo.write_text(f"#!/bin/sh\necho '{answer}'\n")
    sinfo.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_CONF": "", **variables}
    command = ["make", "--silent", f"--eval={PROBE}", "probe", f"SLURM_DIR={tmp_path}/cluster"]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(("answer", "build"), [("gpu:v100:4", "cuda"), ("(null)", "cpu")])
def test_login_node_takes_the_build_of_its_compute_nodes(answer: str, build: str, tmp_path: Path) -> None:
    """A login node has no GPU of its own: what Slurm's nodes have decides."""
    assert _probe(tmp_path, answer) == build


def test_pretended_gpus_of_the_one_machine_cluster_do_not_count(tmp_path: Path) -> None:
    """`make slurm-up` must not lead to gigabytes of CUDA on a laptop."""
    own = f"{tmp_path}/cluster/etc/slurm.conf"
    assert _probe(tmp_path, "gpu:v100:2", SLURM_CONF=own) == "cpu"


def test_setup_without_a_usable_python_says_so(tmp_path: Path) -> None:
    """Exit code of make, and a line that says what to name."""
    command = ["make", "setup", "PYTHON=", f"VENV={tmp_path}/venv"]
    refused = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "Python 3.11 to 3.13" in refused.stderr
    assert not (tmp_path / "venv").exists()
