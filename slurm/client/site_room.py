"""How many elements this user can run at once: what the nodes hold, and the caps of account and QOS."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from slurm.client.command import run
from slurm.client.site_caps import Caps, ask_caps
from slurm.client.site_limits import parse_configuration
from slurm.client.site_nodes import Node, ask_nodes
from slurm.settings import ClusterSettings
from slurm.view import Room

_JOBS = ("MaxJobs", "MaxJobsPU", "GrpJobs")
_SUBMITTED = ("MaxSubmitJobs", "MaxSubmitJobsPU", "GrpSubmitJobs")
_TOGETHER = ("MaxTRESPU", "GrpTRES")
_UNITS_GB = {"": 1 / 1024, "K": 1 / 1024**2, "M": 1 / 1024, "G": 1.0, "T": 1024.0}


def ask_room(settings: ClusterSettings) -> Room:
    """Ask the site, by sinfo and, where caps are enforced, by sacctmgr."""
    configuration = parse_configuration(run(["scontrol", "show", "config"]).stdout)
    return room(ask_nodes(settings.partition), ask_caps(configuration, settings), settings)


def room(nodes: Sequence[Node], caps: Sequence[Caps], settings: ClusterSettings) -> Room:
    """The least of what the nodes hold, what the caps leave and what the user wants.

    Args:
        nodes: of the partition; those that are away count only where all are.
        caps: of the account and the QOS.
        settings: what each element asks for.
    """
    bounds = [*_by_nodes(nodes, settings), *_by_caps(caps, settings)]
    if settings.max_parallel:
        bounds.append((settings.max_parallel, "cluster.max_parallel"))
    at_once, why = min(bounds, default=(None, "the site does not say how many run at once"))
    submitted = min(
        (int(cap[name]) for _, cap in caps for name in _SUBMITTED if cap.get(name, "").isdigit()),
        default=None,
    )
    waiting = math.ceil((at_once or 0) / 4)  # so that no card waits for the next proposal
    return {"at_once": at_once, "waiting": waiting, "submitted": submitted, "why": why}


def _by_nodes(nodes: Sequence[Node], settings: ClusterSettings) -> Iterator[tuple[int, str]]:
    usable = [node for node in nodes if not node.away] or nodes
    holding = [held for node in usable if (held := node.holds(settings))]
    if holding:
        where = f"partition {settings.partition}" if settings.partition else "the default partition"
        yield sum(holding), f"what {len(holding)} nodes of {where} hold"


def _by_caps(caps: Sequence[Caps], settings: ClusterSettings) -> Iterator[tuple[int, str]]:
    for whose, cap in caps:
        for name in _JOBS:
            if cap.get(name, "").isdigit():
                yield int(cap[name]), f"{name}={cap[name]} of {whose}"
        for name in _TOGETHER:
            for resource, most in _read_tres(cap.get(name, "")).items():
                each = _asked(resource, settings)
                if each:
                    yield int(most / each), f"{name} {resource} of {whose}"


def _read_tres(text: str) -> dict[str, float]:
    """`cpu=64,gres/gpu=8,mem=100G`; memory in GiB."""
    parts = (part.partition("=") for part in text.split(",") if "=" in part)
    return {name: amount for name, _, value in parts if (amount := _amount(name, value)) is not None}


def _amount(name: str, value: str) -> float | None:
    unit = value[-1:].upper() if value[-1:].isalpha() else ""
    digits = value[: len(value) - len(unit)]
    try:
        return float(digits) * (_UNITS_GB[unit] if name == "mem" else 1.0)
    except (ValueError, KeyError):
        return None


def _asked(resource: str, settings: ClusterSettings) -> float:
    """What one element takes of a resource that accounting counts; 0: none, or not known."""
    cards = settings.cards if settings.gres and "gpu" in settings.gres else 0
    kinds = [part.rpartition(":")[0] for part in (settings.gres or "").split(",")]
    amounts: Mapping[str, float] = {
        "cpu": settings.cpus,
        "gres/gpu": cards,
        "mem": settings.memory_gb or 0.0,
        **{f"gres/{kind}": cards for kind in kinds if kind.startswith("gpu")},
    }
    return amounts.get(resource, 0.0)
