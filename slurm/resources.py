"""What one array, or one job, asks for: the settings, with what it wants otherwise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from slurm.errors import SubmissionError
from slurm.extra_options import OptionValue
from slurm.settings import ClusterSettings, check_warning, limit_minutes
from slurm.view import ArrayOptions


@dataclass(frozen=True)
class Resources:
    """The resources of each element, and how many may run at the same time."""

    partition: str | None
    account: str | None
    qos: str | None
    gres: str | None
    constraint: str | None
    exclude: str | None
    cpus: int
    memory: Mapping[str, str]  # sbatch's options for it, one at most
    time_limit_min: int
    at_once: int | None
    extra: dict[str, OptionValue]


def _memory(**sizes: float | None) -> dict[str, str]:
    """sbatch's options, by its names with underscores; sizes in GiB."""
    return {name: f"{math.ceil(size * 1024)}M" for name, size in sizes.items() if size is not None}


def resources(settings: ClusterSettings, options: ArrayOptions | None = None) -> Resources:
    """What an array asks for.

    Raises:
        SubmissionError: an option cannot be met: the time limit leaves none before the warning.
    """
    options = options or {}
    return _helper(settings, options) if options.get("helper") else _trials(settings, options)


def _trials(settings: ClusterSettings, options: ArrayOptions) -> Resources:
    limit_min = options.get("time_limit_min", settings.default_minutes)
    try:
        check_warning(settings.signal_delay_s, limit_min)
    except ValueError as error:
        hint = "lower it, or give the array more time"
        raise SubmissionError(f"cluster.signal_delay_s: {error}", hint, permanent=True) from error
    extra = dict(settings.extra)
    # the user's own exclusions hold as well
    excluded = [str(part) for part in (extra.pop("exclude", None), *options.get("exclude", ())) if part]
    return Resources(
        partition=settings.partition,
        account=settings.account,
        qos=settings.qos,
        gres=settings.gres,
        constraint=settings.constraint,
        exclude=",".join(excluded) or None,
        cpus=settings.cpus,
        memory=_memory(
            mem=settings.mem_gb, mem_per_cpu=settings.mem_per_cpu_gb, mem_per_gpu=settings.mem_per_gpu_gb
        ),
        time_limit_min=limit_min,
        at_once=options.get("at_once", settings.max_parallel),
        extra=extra,
    )


def _helper(settings: ClusterSettings, options: ArrayOptions) -> Resources:
    # Neither a GPU nor a constraint, nor options such as a GPU node's name or --exclusive.
    helper = settings.helper
    return Resources(
        partition=helper.partition or settings.partition,
        account=helper.account or settings.account,
        qos=helper.qos or settings.qos,
        gres=None,
        constraint=None,
        exclude=",".join(options.get("exclude", ())) or None,
        cpus=helper.cpus,
        memory=_memory(mem=helper.mem_gb, mem_per_cpu=helper.mem_per_cpu_gb),
        time_limit_min=options.get("time_limit_min", limit_minutes(helper.time_limit)),
        at_once=options.get("at_once"),
        extra={},
    )
