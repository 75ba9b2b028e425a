"""What this machine has to share among elements: CPUs and GPUs."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile

from slurm.client.command import run

# an index, or the id of a GPU or of a part of one
_DEVICE = re.compile(r"\d+|(GPU|MIG)-\S+")


def visible_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def visible_gpus(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """GPUs that may be used, in CUDA's own words: those of CUDA_VISIBLE_DEVICES, else all that there are.

    As for CUDA, the list ends before the first entry that names no device, such as -1 or NoDevFiles.
    """
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        parts = (part.strip() for part in named.split(","))
        return tuple(takewhile(_DEVICE.fullmatch, parts))
    outcome = run(["nvidia-smi", "-L"], timeout_s=10)
    count = sum(line.startswith("GPU ") for line in outcome.stdout.splitlines()) if outcome.ok else 0
    return tuple(str(number) for number in range(count))


def slots(max_parallel: int | None, cpus: int, cpu_count: int, gpu_count: int, gpus: int = 1) -> int:
    """How many elements run at once.

    Args:
        max_parallel: what the user wants; None leaves it to the machine.
        cpus: CPUs of each element.
        cpu_count: CPUs that there are.
        gpu_count: GPUs that there are; where there are any, each element has its own to itself.
        gpus: GPUs of each element.
    """
    if max_parallel is not None:
        return max_parallel
    fitting = max(1, cpu_count // cpus)
    return min(fitting, max(1, gpu_count // gpus)) if gpu_count else fitting


def least_used(gpus: Sequence[str], used: Iterable[str], wanted: int = 1) -> str:
    """The GPUs with the fewest elements on them, the first of several, as CUDA_VISIBLE_DEVICES takes them.

    Args:
        gpus: those that there are.
        used: those of each element that runs, in the same form.
        wanted: how many.

    Returns:
        Their names with commas between; empty where there is none.
    """
    count = Counter(name for names in used for name in names.split(","))
    return ",".join(sorted(gpus, key=lambda gpu: count[gpu])[:wanted])
