"""The losses of steps, read once the card has them: to wait for each would leave the card idle after it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, cast

import torch


class LateLosses:
    """Losses in the order of their steps. On a CPU each is there at once; on a card, usually a step later."""

    def __init__(self) -> None:
        self._steps: deque[tuple[torch.Tensor, Any]] = deque()  # and the event that it is there; None: it is

    def put(self, loss: torch.Tensor) -> None:
        """Begin to fetch the loss of the next step.

        Args:
            loss: of one element; not to be changed afterwards.
        """
        if loss.device.type != "cuda":
            self._steps.append((loss, None))
            return
        with torch.cuda.device(loss.device):
            kept = torch.empty((), dtype=loss.dtype, pin_memory=True)
            kept.copy_(loss, non_blocking=True)
            there = cast(Any, torch.cuda.Event)()
            there.record()
        self._steps.append((kept, there))

    def read(self, left: int) -> Iterator[float]:
        """The losses that are there.

        Args:
            left: how many of the newest need not be waited for.
        """
        while self._steps:
            loss, there = self._steps[0]
            if there is not None and not there.query():
                if len(self._steps) <= left:
                    return
                there.synchronize()
            self._steps.popleft()
            yield float(loss)
