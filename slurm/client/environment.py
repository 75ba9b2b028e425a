"""The environment of Slurm's clients, without what a site, a shell or an enclosing job has set for them.

Such variables overrule the script of an array (SBATCH_PARTITION), hide tasks from squeue (SQUEUE_PARTITION)
or ask another cluster (SLURM_CLUSTERS); those of an enclosing job contradict an array's own options
(SLURM_MEM_PER_CPU). What the configuration says is what counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

Line = tuple[str, str, str]  # (ok | warn | fail, what, hint)

_OF_JOBS = ("SLURM_", "SLURMD_", "SRUN_", "PMI_", "PMIX_")  # Slurm itself sets such in every job
_OF_CLIENTS = ("SBATCH_", "SALLOC_", "SQUEUE_", "SACCT_", "SACCTMGR_", "SCONTROL_", "SCANCEL_", "SINFO_")

# Which cluster is meant, how to prove who asks, and where modules and wrappers say that Slurm is installed.
_KEPT = frozenset(
    {
        *("SLURM_CONF", "SLURM_JWT", "SLURM_SACK_SOCKET"),
        *("SLURM_ROOT", "SLURM_HOME", "SLURM_DIR", "SLURM_PATH", "SLURM_PREFIX", "SLURM_BIN"),
    }
)

# What sbatch reads, and the key that says the same here.
_KEYS = {
    "SBATCH_PARTITION": "partition",
    "SBATCH_ACCOUNT": "account",
    "SBATCH_QOS": "qos",
    "SBATCH_TIMELIMIT": "time_limit",
    "SBATCH_CONSTRAINT": "constraint",
    "SBATCH_GRES": "gres",
    "SBATCH_CPUS_PER_TASK": "cpus",
}
_EXPORTS = ("SBATCH_EXPORT", "SLURM_EXPORT_ENV", "SBATCH_GET_USER_ENV")
_CLUSTERS = ("SLURM_CLUSTERS", "SBATCH_CLUSTERS")


def client_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment in which clients run, and which sbatch hands on to the tasks."""
    return {name: value for name, value in environment.items() if not _steers(name)}


def not_followed(environment: Mapping[str, str] = os.environ) -> Iterator[Line]:
    """One line for each variable that somebody set for Slurm's clients and that is not followed."""
    prefixes = _OF_CLIENTS if "SLURM_JOB_ID" in environment else (*_OF_CLIENTS, "SLURM_")
    for name, value in sorted(environment.items()):
        if _steers(name) and name.startswith(prefixes):
            yield "warn", f"environment: {name}={value} is not followed", _instead(name, value)


def _steers(name: str) -> bool:
    return name.startswith((*_OF_JOBS, *_OF_CLIENTS)) and name not in _KEPT


def _instead(name: str, value: str) -> str:
    if name in _KEYS:
        return f"the configuration counts: cluster.{_KEYS[name]}={value} says the same"
    if name in _EXPORTS:
        return "tasks get the environment of this command, whatever the site's default is"
    if name in _CLUSTERS:
        return "clients ask the cluster of this machine, or that of SLURM_CONF"
    if name.startswith("SBATCH_"):
        return "the configuration counts: options of sbatch that have no key go into cluster.extra"
    return "Slurm's clients run without it; nothing to do"
