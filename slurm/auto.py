"""Slurm where it is installed, else this machine; a study that has begun stays where it is."""

from __future__ import annotations

import shutil
from typing import Any

from slurm.client.command import run
from slurm.local_executor import LocalExecutor
from slurm.slurm_executor import SlurmExecutor

# What clients say that were installed without a cluster: neither slurm.conf nor a place to fetch one from.
_NO_CLUSTER = "could not establish a configuration source"


def installed() -> bool:
    """Whether this is a machine of a Slurm cluster, whose controller may be away for now."""
    if shutil.which("srun") is None or shutil.which("sbatch") is None:
        return False
    return _NO_CLUSTER not in run(["scontrol", "ping"]).stderr.lower()


def auto(executor: str | None = None, **settings: Any) -> SlurmExecutor | LocalExecutor:
    """The executor that fits the place where it is called.

    Args:
        executor: the name of the one with which the study was begun: its tasks may still be there.
        **settings: every key of `ClusterSettings`.
    """
    begun = {each.name: each for each in (SlurmExecutor, LocalExecutor)}.get(executor or "")
    fitting = begun or (SlurmExecutor if installed() else LocalExecutor)
    return fitting(**settings)
