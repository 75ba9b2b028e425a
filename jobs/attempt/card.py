"""The card that an attempt runs on: its memory, the peak of it that was used, and the energy it draws."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import torch

from jobs.attempt.console import say
from jobs.attempt.environment import peak_host_memory_gib
from jobs.errors import OutOfMemory

T = TypeVar("T")
ReadWh = Callable[[], float | None]
MWS_PER_WH = 3.6e6  # NVML counts in millijoules


@dataclass
class Card:
    """A CUDA device, or the CPU."""

    device: torch.device
    name: str = "cpu"
    bytes: int | None = None  # of its memory; None for the CPU
    counter: ReadWh | None = None  # of energy; None where there is none
    more: tuple[torch.device, ...] = ()  # of the same kind, which the layers are split over as well
    _read_wh: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._read_wh = self.counter() if self.counter else None

    @classmethod
    def of(cls, device: torch.device, cards: int = 1) -> Card:
        """The card as this process finds it.

        Args:
            cards: that the layers are split over; the device is the first of them.
        """
        if device.type != "cuda":
            return cls(device)
        more = tuple(torch.device("cuda", number) for number in range(1, cards))
        all_of_them = [torch.cuda.get_device_properties(each) for each in (device, *more)]
        least = min(each.total_memory for each in all_of_them)
        counter = together([energy_counter(str(each.uuid)) for each in all_of_them])
        return cls(device, all_of_them[0].name, least, counter, more)

    @property
    def described(self) -> str:
        """Name and memory, for people."""
        return self.name if self.bytes is None else f"{self.name} with {self.bytes / 2**30:.1f} GiB"

    def restart_peak(self) -> None:
        """Forget the peak so far, and give back what is not in use."""
        release_unused()
        if self.bytes is not None:
            for device in (self.device, *self.more):
                torch.cuda.reset_peak_memory_stats(device)

    def peak_bytes(self) -> float:
        """The most that one card held since `restart_peak`; for the CPU what the process ever held."""
        if self.bytes is None:
            return peak_host_memory_gib() * 2**30
        return max(torch.cuda.max_memory_reserved(device) for device in (self.device, *self.more))

    def drawn_wh(self) -> float | None:
        """Watt-hours that the card has drawn since this was last called, or since the attempt began.

        Returns:
            None where there is no counter, or it does not answer.
        """
        before, self._read_wh = self._read_wh, self.counter() if self.counter else None
        return None if before is None or self._read_wh is None else self._read_wh - before


def together(counters: Sequence[ReadWh | None]) -> ReadWh | None:
    """Reads the energy of several cards as one number.

    Returns:
        None where one of them has none.
    """
    known = [counter for counter in counters if counter is not None]
    if len(known) < len(counters):
        return None

    def read() -> float | None:
        drawn = [own for counter in known if (own := counter()) is not None]
        return sum(drawn) if len(drawn) == len(known) else None

    return read


def energy_counter(uuid: str) -> ReadWh | None:
    """Reads the energy that a card has drawn since its driver was loaded, in watt-hours.

    Args:
        uuid: of the card, as CUDA tells it.

    Returns:
        None where nvidia-ml-py or NVML is missing, or the card has no counter: before Volta, parts of one.
    """
    try:
        import pynvml
    except ImportError:
        return None

    def read() -> float | None:
        with suppress(pynvml.NVMLError):
            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / MWS_PER_WH
        return None

    with suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        named = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
        handle = pynvml.nvmlDeviceGetHandleByUUID(named)
        return read
    return None


def halving(compute: Callable[[int], T], size: int, what: str) -> tuple[T, int]:
    """Compute something with as many sequences a forward pass as fit the card.

    Args:
        compute: called with the number of sequences; whatever it did before memory ran out is repeated.
        size: sequences to begin with.

    Returns:
        The result, and the number that fitted.

    Raises:
        OutOfMemory: not even one fits.
    """
    while True:
        try:
            return compute(size), size
        except torch.OutOfMemoryError as error:
            if size == 1:
                raise OutOfMemory(
                    f"GPU memory: got too little for {what} with one sequence a forward pass: {error}",
                    "less data.max_length, or a larger card",
                ) from error
        # Only here, where the error is gone, nothing holds the tensors of the failed pass any more.
        size //= 2
        release_unused()
        say(f"out of memory: {what} goes on with {size} sequences a forward pass")


def release_unused() -> None:
    """Give memory that nothing uses any more back to the card."""
    gc.collect()
    if torch.cuda.is_available():
        cast(Any, torch.cuda.empty_cache)()
