"""This machine as a place for elements: what starts each of them, and the lines of `doctor`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from slurm.local import devices
from slurm.settings import ClusterSettings

_SCRIPT = """#!/bin/bash
# array {name}: what each element runs; submitit adds the arguments
export OMP_NUM_THREADS={cpus} MKL_NUM_THREADS={cpus} OPENBLAS_NUM_THREADS={cpus}
export CUDA_VISIBLE_DEVICES="${{FRONTRUNNER_GPU}}"
{setup}
exec {python} "$@"
"""


def start_script(settings: ClusterSettings, name: str) -> str:
    """What each element of an array runs; submitit adds the arguments."""
    return _SCRIPT.format(
        name=shlex.quote(name),
        cpus=settings.cpus,
        setup="\n".join(settings.setup),
        python=settings.masked_python,
    )


def check_machine(settings: ClusterSettings, slots: int, gpus: Sequence[str]) -> list[tuple[str, str, str]]:
    """(level, what, hint) per line.

    Args:
        slots: how many elements run at once.
        gpus: those that are visible.
    """
    lines = [("ok", f"local: {slots} at once, {settings.cpus} CPUs each", "")]
    if gpus:
        lines.append(("ok", f"local: GPUs {', '.join(gpus)}", ""))
    else:
        lines.append(("warn", "local: no GPU visible", "trials run on the CPU; nvidia-smi -L lists GPUs"))
    if settings.cpus > devices.visible_cpus():
        what = f"local: cluster.cpus is {settings.cpus}, of {devices.visible_cpus()} there are"
        lines.append(("warn", what, "lower cluster.cpus"))
    return lines
