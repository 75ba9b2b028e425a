"""The nodes of a Slurm partition: how many elements of an array they hold, and whether they are away."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from slurm.client.command import run
from slurm.settings import ClusterSettings

_FORMAT = "%P|%t|%N|%c|%m|%G|%f"
# Words of %t of nodes that take no jobs until somebody lets them.
_AWAY = ("down", "drain", "drng", "fail", "maint", "inval", "unk")
_GRES = re.compile(r"(?P<kind>[^:]+(?::[^:\d][^:]*)?)(?::(?P<count>\d+))?")


@dataclass(frozen=True)
class Node:
    """What a node has, whoever uses it now."""

    name: str
    away: bool
    cpus: int
    memory_mb: int
    gres: str
    features: frozenset[str]

    def holds(self, settings: ClusterSettings) -> int:
        """How many elements of an array fit on it at once."""
        if not _has_features(self.features, settings.constraint):
            return 0
        rooms = [self.cpus // settings.cpus]
        if settings.memory_gb:
            rooms.append(int(self.memory_mb / (settings.memory_gb * 1024)))
        for wanted in settings.gres.split(",") if settings.gres else ():
            kind, count = _read_gres(wanted)
            rooms.append(self._count(kind) // max(1, count))
        return min(rooms)

    def _count(self, kind: str) -> int:
        offers = [_read_gres(part) for part in re.sub(r"\([^)]*\)", "", self.gres).split(",")]
        return sum(count for name, count in offers if f"{name}:".startswith(f"{kind}:"))


def ask_nodes(partition: str | None) -> list[Node]:
    """The nodes of these partitions; none where the site does not answer.

    Args:
        partition: one name, or several with commas; None for the site's default.
    """
    outcome = run(["sinfo", "-h", "-N", "-o", _FORMAT])
    return read_nodes(outcome.stdout, partition) if outcome.ok else []


def read_nodes(text: str, partition: str | None) -> list[Node]:
    """Read the answer to `sinfo -h -N -o`; the default partition's name ends with a star."""
    nodes: dict[str, Node] = {}
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) == 7 and _is_of(fields[0], partition):
            nodes[fields[2]] = _node(*fields[1:])
    return list(nodes.values())


def _is_of(name: str, partition: str | None) -> bool:
    return name.endswith("*") if partition is None else name.rstrip("*") in partition.split(",")


def _node(state: str, name: str, cpus: str, memory: str, gres: str, features: str) -> Node:
    away = state.startswith(_AWAY)
    return Node(name, away, _whole(cpus), _whole(memory), gres, frozenset(features.split(",")))


def _whole(text: str) -> int:
    found = re.match(r"\d+", text)
    return int(found[0]) if found else 0


def _read_gres(text: str) -> tuple[str, int]:
    """(name and kind, count) of `gpu:v100:2`; one where there is no number."""
    found = _GRES.fullmatch(text)
    return (found["kind"], int(found["count"] or 1)) if found else (text, 0)


def _has_features(features: frozenset[str], constraint: str | None) -> bool:
    """Whether a node may be meant by `v100`, `v100|a100` or `v100&ib`; of anything longer it may."""
    if constraint is None or not re.fullmatch(r"[\w.-]+(?:(?:\|[\w.-]+)*|(?:&[\w.-]+)*)", constraint):
        return True
    names: Sequence[str] = re.split(r"[|&]", constraint)
    return all(name in features for name in names) if "&" in constraint else bool(features & set(names))
