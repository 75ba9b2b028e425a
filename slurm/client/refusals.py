"""What Slurm's clients say when they fail: whether it is for now or for ever, and what to do about it."""

from __future__ import annotations

import re

from slurm.client.command import Outcome

# The scheduler did not answer, or has no room now. Measured on 22.05: sbatch waits and tries again by itself
# when the site's MaxJobCount is reached ("temporarily unable"), not when a QOS or an association is full.
_BUSY = (
    "timed out",
    "unable to contact slurm controller",
    "unable to contact the controller",
    "temporarily unable",
    "sleeping and retrying",
    "try again",
    "connection refused",
    "transport endpoint is not connected",
    "zero bytes were transmitted",
    "message receive failure",
    "in standby mode",
    "unexpected message received",  # what scontrol says of a controller that is away
)

# On a line of its own sbatch names the limit: QOSMaxSubmitJobPerUserLimit, AssocMaxSubmitJobLimit,
# AssocGrpSubmitJobsLimit; other limits, such as QOSMaxWallDurationPerJobLimit, are there to stay.
_LIMIT = re.compile(r"\b(?:QOS|Assoc)\w*Limit\b")
_POLICY = "job violates accounting/qos policy (job submit limit"

_HINTS = (
    ("invalid partition", "set cluster.partition to one of those that `sinfo -s` lists"),
    ("invalid account", "set cluster.account; `sacctmgr show associations user=$USER` lists yours"),
    ("invalid qos", "set cluster.qos; `sacctmgr show associations user=$USER` lists yours"),
    ("generic resource", "set cluster.gres to what `sinfo -o '%P %G'` lists, such as gpu:v100:1"),
    ("node configuration is not available", "no node has so much: cluster.gres, .cpus, .mem_gb, .constraint"),
    ("feature", "set cluster.constraint to what `sinfo -o '%P %f'` lists"),
    ("reservation", "set cluster.extra.reservation to one that `scontrol show reservation` lists"),
    ("license", "set cluster.extra.licenses to what `scontrol show licenses` lists"),
    ("memory", "lower cluster.mem_gb, or ask otherwise: cluster.mem_per_cpu_gb, .mem_per_gpu_gb, or null"),
    ("job submit limit", "a limit of the QOS or association is reached: wait, or lower batch.size"),
    ("time limit", "lower cluster.time_limit; `sinfo -o '%P %l'` lists the limits"),
    ("job array", "lower batch.size below MaxArraySize of `scontrol show config`"),
    ("temporarily unable", "the scheduler holds as many jobs as it can: wait"),
    ("limit", "a limit of the QOS or association is reached: wait, or lower batch.size"),
    (
        "contact slurm controller",
        "the controller does not answer now: `scontrol ping`; run the same command later",
    ),
    ("timed out", "the controller was too busy to answer; the array may exist all the same"),
    ("no such file or directory: 'sbatch'", "no Slurm here: use cluster=local, or run this on a login node"),
)

# What sbatch says of a request that no waiting mends; anything else is tried again.
_PERMANENT = (
    *("invalid partition", "invalid account", "invalid qos", "invalid user", "access/permission denied"),
    *("generic resource", "node configuration is not available", "invalid feature", "invalid node name"),
    *("invalid license", "reservation is invalid", "requested time limit", "invalid job array"),
    *("memory specification", "--time specification", "unrecognized option", "invalid argument"),
    *(
        "more processors requested",
        "not permitted to use this",
        "invalid generic",
        "node count specification",
    ),
)


def is_permanent(outcome: Outcome) -> bool:
    """Whether a client failed for a reason that stays as long as the request does."""
    said = outcome.stderr.lower()
    named = _LIMIT.search(outcome.stderr) or any(words in said for words in _PERMANENT)
    return bool(named) and not is_busy(outcome)


def is_busy(outcome: Outcome) -> bool:
    """Whether a client failed because the scheduler could not take the request now."""
    if outcome.timed_out:
        return True
    named = _LIMIT.findall(outcome.stderr)
    if named:
        return any("submit" in limit.lower() for limit in named)
    said = outcome.stderr.lower()
    return _POLICY in said or any(words in said for words in _BUSY)


def submission_hint(stderr: str) -> str:
    """What to do about an sbatch that failed with this message."""
    lowered = stderr.lower()
    for words, hint in _HINTS:
        if words in lowered:
            return hint
    return "run `python -m hpo plan` to see the script, and sbatch --test-only to try it"
