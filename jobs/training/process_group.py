"""What the processes of one trial do together: sum gradients, agree, and hand things to rank 0.

Each process holds the whole model on a card of its own and reads its share of every batch. Only the adapter's
gradients are summed, once an optimiser step: plain sums instead of a wrapped model, so that gradient
checkpointing and 4-bit layers work as on one card. The Trainer and its libraries see one process.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import Store, TCPStore  # torch.distributed has them, but does not say so

T = TypeVar("T")

# Longer than rank 0 waits for a kill after a requeue, or for a full disk; whoever dies is noticed at once.
STUCK_S = 1800.0
HERE = "127.0.0.1"  # all processes of a trial are those of one task
BUCKET = 2**23  # gradients summed at once


class OutOfMemoryElsewhere(torch.OutOfMemoryError):
    """The card of another rank was too small for the micro-batch."""


class Ranks:
    """This process's place among those of the trial; alone, all of it costs nothing.

    Args:
        rank: of this process; 0 is the trial itself.
        sums: the group that sums gradients; None: the one that does all the rest.
    """

    def __init__(self, rank: int = 0, count: int = 1, sums: dist.ProcessGroup | None = None) -> None:
        self.rank = rank
        self.count = count
        self._sums = sums

    def meet(self, *values: float) -> list[float]:
        """The sum of each value over the ranks; every rank comes here in the same order.

        Args:
            values: at most three.

        Raises:
            OutOfMemoryElsewhere: another rank has announced that.
        """
        if self.count == 1:
            return list(values)
        short, *sums = self._summed([0.0, *values])
        if short:
            raise OutOfMemoryElsewhere("CUDA out of memory on another card of this trial")
        return sums[: len(values)]

    def announce_out_of_memory(self) -> None:
        """Let the others, who come to their next meeting or wait there, stop as this rank has to."""
        if self.count > 1:
            self._summed([1.0])

    def part(self) -> None:
        """Be alone from now on: what the ranks do together is done."""
        self.rank, self.count = 0, 1

    def _summed(self, values: Sequence[float]) -> list[float]:
        sums = torch.zeros(4, dtype=torch.float64)  # one size, whichever meeting it is
        sums[: len(values)] = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(sums)
        return cast(list[float], sums.tolist())

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter], *values: float) -> list[float]:
        """Give every rank the sums of all ranks' gradients, to the same bits.

        Returns:
            The sums of the values; see `meet`.
        """
        if self.count == 1:
            return list(values)
        buckets = list(_buckets(parameters))
        flat = [torch.cat([grad.reshape(-1) for grad in bucket]) for bucket in buckets]  # may lack memory
        sums = self.meet(*values)
        for bucket, total in zip(buckets, flat, strict=True):
            dist.all_reduce(total, group=self._sums)
            pieces = torch.split(total, [grad.numel() for grad in bucket])
            for grad, piece in zip(bucket, pieces, strict=True):
                grad.copy_(piece.view_as(grad))
        return sums

    def told(self, value: T) -> T:
        """What rank 0 says.

        Args:
            value: rank 0's; that of others does not matter.
        """
        if self.count == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def gathered(self, value: T) -> list[T]:
        """What every rank says, in their order; on ranks other than 0 only their own."""
        if self.count == 1:
            return [value]
        found: list[T | None] | None = [None] * self.count if self.rank == 0 else None
        dist.gather_object(value, found, dst=0)
        return [value] if found is None else cast(list[T], found)


def _buckets(parameters: Iterable[torch.nn.Parameter]) -> Iterator[list[torch.Tensor]]:
    bucket: list[torch.Tensor] = []
    for parameter in parameters:
        if not parameter.requires_grad:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        bucket.append(parameter.grad)
        if sum(grad.numel() for grad in bucket) >= BUCKET:
            yield bucket
            bucket = []
    if bucket:
        yield bucket


def open_store() -> TCPStore:
    """Where the ranks find each other: a free port of this machine, chosen by the system."""
    return TCPStore(HERE, 0, is_master=True, wait_for_workers=False)


def find_store(port: int) -> TCPStore:
    """The store of rank 0."""
    return TCPStore(HERE, port, is_master=False, timeout=timedelta(seconds=STUCK_S))


def join(store: Store, rank: int, count: int, device: torch.device) -> Ranks:
    """Become one of the ranks; returns once all are there."""
    for library in ("GLOO", "NCCL"):  # the name of a host need not lead to it, least of all on a cluster
        os.environ.setdefault(f"{library}_SOCKET_IFNAME", "lo")
    patience = timedelta(seconds=STUCK_S)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=patience)
    sums = None
    if device.type == "cuda" and dist.is_nccl_available():
        sums = dist.new_group(backend="nccl", timeout=patience)
    return Ranks(rank, count, sums)


def leave() -> None:
    """Be alone again; harmless when repeated."""
    if dist.is_initialized():
        dist.destroy_process_group()
