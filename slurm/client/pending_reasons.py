"""Why Slurm lets a task wait: which reasons pass by themselves, which with somebody's help, and which never.

The reasons are those of `squeue` of Slurm 19.05 to 24.05. Limits per job or per node cannot pass, as no other
job's end makes room for what one alone asks; limits per user, account or group pass once other jobs are over.
"""

from __future__ import annotations

import re

PASSES, HELP, NEVER = "", "help", "never"

_NODES_AWAY = (
    "the nodes it needs are down, drained or reserved: `sinfo -R` says why; others: cluster.partition"
)
_LIMIT = "above what one job may have: `sacctmgr show qos`, `sacctmgr show associations user=$USER`"
_SPENT = "the group's share of computing time is spent: another cluster.account, or ask its administrators"
_TO_MEND = "only an administrator can mend it: `scontrol show job` says more"

# The first that matches the beginning of a reason counts; what matches none passes by itself.
_RULES: tuple[tuple[str, str, str], ...] = (
    ("BadConstraints", NEVER, "no node has that much: cluster.gres, .cpus, .mem_gb, .constraint, .extra"),
    ("PartitionTimeLimit", NEVER, "lower cluster.time_limit; `sinfo -o '%P %l'` lists the limits"),
    ("PartitionNodeLimit", NEVER, "the partition takes no job of one node: another cluster.partition"),
    (
        "PartitionConfig",
        NEVER,
        "the partition takes no such jobs: cluster.partition, .cpus, .mem_gb, .account",
    ),
    ("AccountNotAllowed", NEVER, "the partition or QOS does not take cluster.account"),
    ("QOSNotAllowed", NEVER, "the partition or account does not take cluster.qos"),
    ("InvalidAccount", NEVER, "set cluster.account; `sacctmgr show associations user=$USER` lists yours"),
    ("InvalidQOS", NEVER, "set cluster.qos; `sacctmgr show associations user=$USER` lists yours"),
    ("DependencyNeverSatisfied", NEVER, "what it depends on has failed: cluster.extra"),
    ("MaxMemPerLimit", NEVER, "lower cluster.mem_gb"),
    (r"(Assoc|QOS)Max\w*Per(Job|Node)", NEVER, _LIMIT),
    (r"QOSMin", NEVER, "less than the QOS asks for: cluster.gres, .cpus, or another cluster.qos"),
    (r"(Association|QOS)TimeLimit", HELP, _SPENT),
    (r"(Assoc|QOS)Grp(?!\w*Run)\w*(Minutes|Wall)", HELP, _SPENT),
    ("QOSUsageThreshold", HELP, _SPENT),
    ("ReqNodeNotAvail", HELP, _NODES_AWAY),
    ("Nodes required for job are", HELP, _NODES_AWAY),
    (r"(Node|FrontEnd)Down", HELP, _NODES_AWAY),
    (r"Partition(Down|Inactive)", HELP, "the partition takes no jobs now: `sinfo -s`; cluster.partition"),
    ("ReservationDeleted", HELP, "its reservation is gone: cluster.extra.reservation"),
    ("JobHeldAdmin", HELP, "an administrator holds it: ask why"),
    ("JobHoldMaxRequeue", HELP, "requeued too often: `scontrol release`, or ask an administrator"),
    (r"SystemFailure|Block\w+|BurstBufferOperation|PowerNotAvail", HELP, _TO_MEND),
)


def passing(reason: str) -> tuple[str, str]:
    """(whether a task that waits for this reason will start, what to do about it).

    Args:
        reason: as squeue shows it, such as `ReqNodeNotAvail, UnavailableNodes:gpu1`.
    """
    for pattern, way, hint in _RULES:
        if re.match(pattern, reason):
            return way, hint
    return PASSES, ""
