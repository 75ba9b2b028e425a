"""Where the time of a step goes, from a profile of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

PARTS = ("dequantisation", "matrix products", "adapters", "attention", "loss", "optimiser", "other", "host")
# The first that fits, by what is in the name of an operation.
NAMES = {
    "optimiser": ("adam", "foreach", "_fused_", "unscale", "optimizer"),
    "dequantisation": ("dequantize", "bitsandbytes"),
    "attention": ("attention", "flash", "fmha"),
    "loss": ("log_softmax", "softmax", "nll", "gather", "scatter", "_pieces", "cross_entropy"),
}
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::linear", "aten::matmul")
Operation = tuple[str, Sequence[Sequence[int]], float]  # name, shapes of its inputs, seconds of its own


def part_of(name: str, shapes: Sequence[Sequence[int]], rank: int) -> str:
    """The part of a step that an operation belongs to.

    Args:
        shapes: of its inputs; a product that has the adapter's rank among its sizes is the adapter's.
    """
    low = name.lower()
    for part, words in NAMES.items():
        if any(word in low for word in words):
            return part
    if name in PRODUCTS:
        return "adapters" if any(rank in shape for shape in shapes) else "matrix products"
    return "other"


def shares(operations: Iterable[Operation], wall_s: float, rank: int) -> dict[str, float]:
    """Shares of the whole time, which add up to 1; of the host is what no operation takes."""
    seconds = dict.fromkeys(PARTS, 0.0)
    for name, shapes, own in operations:
        seconds[part_of(name, shapes, rank)] += own
    busy = sum(seconds.values())
    whole = max(wall_s, busy)
    seconds["host"] = whole - busy
    return {part: round(own / whole, 3) for part, own in seconds.items()} if whole else seconds


def profiled(work: Callable[[], object], rank: int, *, cuda: bool) -> dict[str, float]:
    """Shares of what some work takes; a profile makes the host's share look larger than it is."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    began = time.monotonic()
    with profile(activities=activities, record_shapes=True) as seen:
        work()
    wall_s = time.monotonic() - began
    rows: Any = seen.key_averages(group_by_input_shape=True)
    own = "self_device_time_total" if cuda else "self_cpu_time_total"
    return shares(
        [
            (row.key, [shape for shape in row.input_shapes if shape], getattr(row, own) / 1e6)
            for row in rows
            if row.device_type == DeviceType.CPU  # which have the time of the kernels that they started
        ],
        wall_s,
        rank,
    )
