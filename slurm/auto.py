"""Slurm where a controller answers, else this machine."""

from __future__ import annotations

import shutil
from typing import Any

from slurm.client.command import run
from slurm.local_executor import LocalExecutor
from slurm.slurm_executor import SlurmExecutor

PING_TIMEOUT_S = 5.0


def controller_answers() -> bool:
    """Whether Slurm's client is installed and a controller answers it within a few seconds."""
    if shutil.which("srun") is None or shutil.which("sbatch") is None:
        return False
    # `scontrol ping` exits with 0 as soon as one controller of several is up.
    return run(["scontrol", "ping"], timeout_s=PING_TIMEOUT_S).ok


def auto(**settings: Any) -> SlurmExecutor | LocalExecutor:
    """The executor that fits the place where it is called.

    Args:
        **settings: every key of `ClusterSettings`.
    """
    return SlurmExecutor(**settings) if controller_answers() else LocalExecutor(**settings)
