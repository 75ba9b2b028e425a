"""What a Slurm site allows: the size of an array, the nodes and the longest time limit of a partition."""

from __future__ import annotations

import re
from dataclasses import dataclass

from slurm.client import table
from slurm.client.command import run

# Slurm's own default of MaxArraySize, for a site that does not answer.
DEFAULT_ARRAY_SIZE = 1001

_CLOCK = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)")


@dataclass(frozen=True)
class PartitionSize:
    """Of the partitions that an array may run in."""

    nodes: int
    minutes: int  # the longest time limit; 0: none


def ask_array_size() -> int | None:
    """How many elements an array may have; None where the site does not answer.

    The highest index is MaxArraySize - 1, so that indices from 0 make just as many elements.
    """
    size = parse_configuration(run(["scontrol", "show", "config"]).stdout).get("MaxArraySize", "")
    return int(size) if size.isdigit() else None


def ask_job_age_s() -> float:
    """For how long squeue shows a job that is over, in seconds; 0 where the site does not answer."""
    age = parse_configuration(run(["scontrol", "show", "config"]).stdout).get("MinJobAge", "")
    found = re.match(r"\d+", age)  # `300 sec`
    return float(found[0]) if found else 0.0


def ask_partition(partition: str | None) -> PartitionSize | None:
    """Nodes and time limit of these partitions; None where the site does not answer.

    Args:
        partition: one name, or several with commas; None for the site's default.
    """
    outcome = table.ask(["sinfo", "-N"], "%P|%l|%N", heading="PARTITION")
    return read_partition(outcome.stdout, partition) if outcome.ok else None


def read_partition(text: str, partition: str | None) -> PartitionSize | None:
    """Read sinfo's rows of `%P|%l|%N`; the default partition's name ends with a star."""
    rows = [line.split("|") for line in text.splitlines() if line.count("|") == 2]
    if partition is None:
        mine = [row for row in rows if row[0].endswith("*")]
    else:
        mine = [row for row in rows if row[0].rstrip("*") in partition.split(",")]
    if not mine:
        return None
    limits = [minutes(row[1]) for row in mine]
    # an array of several partitions runs in any that its limit fits
    return PartitionSize(len({row[2] for row in mine}), 0 if 0 in limits else max(limits))


def minutes(limit: str) -> int:
    """A time limit as sinfo and sacctmgr write it (`1-02:00:00`, `30:00`), in whole minutes; 0: none."""
    found = _CLOCK.fullmatch(limit.strip())
    if found is None:
        return 0
    days, hours, mins, seconds = (int(part or 0) for part in found.groups())
    return (days * 24 + hours) * 60 + mins + (1 if seconds else 0)


def parse_configuration(text: str) -> dict[str, str]:
    """Read `scontrol show config`: name -> value."""
    found = (re.fullmatch(r"(\w+)\s*=\s?(.*)", line.rstrip()) for line in text.splitlines())
    return {match[1]: match[2] for match in found if match}
