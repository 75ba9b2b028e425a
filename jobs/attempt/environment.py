"""The process of a trial: offline, on its share of the cores, and what it was made with."""

from __future__ import annotations

import os
import resource
import socket
import time
from typing import Any

PACKAGES = ("frontrunner", "torch", "transformers", "peft", "bitsandbytes", "accelerate", "lm_eval")
NO_CARD = ("", "-1", "NoDevFiles")  # what CUDA_VISIBLE_DEVICES says where a task has none
# Model and data are in the cache: a look at the hub would cost seconds, or hang on nodes without network.
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
}
QUIET = {
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
}


def go_offline() -> None:
    """Keep Hugging Face libraries off the network, and bars and notes out of the log; before their import."""
    os.environ.update(OFFLINE)
    keep_quiet()


def keep_quiet() -> None:
    """Keep bars of libraries and the notes of bitsandbytes out of the log; before their import."""
    import logging  # here and below: a trial that needs none of this starts without

    os.environ.update(QUIET)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def cores() -> int | None:
    """The cores that this task was given, where somebody said so."""
    for name in ("SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS"):
        said = os.environ.get(name, "")
        if said.isdigit() and int(said) > 0:
            return int(said)
    return None


def cards() -> int:
    """How many GPUs this task holds, without asking any library."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return sum(1 for name in visible.split(",") if name.strip() not in NO_CARD)
    on_node = os.environ.get("SLURM_GPUS_ON_NODE", "")
    return int(on_node) if on_node.isdecimal() else 0


def seconds_since_start() -> float:
    """Seconds since the operating system started this process, imports and all."""
    with open("/proc/self/stat", encoding="ascii") as stream:  # noqa: PTH123 # a name in brackets may hold blanks
        ticks = int(stream.read().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def peak_host_memory_gib() -> float:
    """The most memory that this process held at once."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> dict[str, Any]:
    """Where this process is."""
    return {"host": socket.gethostname(), "cores": cores() or os.cpu_count()}
