"""Checkpoints of a trial of several processes: written by rank 0, with the random states of all."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from jobs.attempt.checkpoints import Checkpoints
from jobs.training.process_group import Ranks


class SharedCheckpoints:
    """What `Checkpoints` is for a trial of one process; all ranks call the same methods in the same order.

    Args:
        own: rank 0's; None on the others.
    """

    def __init__(self, own: Checkpoints | None, ranks: Ranks) -> None:
        self._own = own
        self._ranks = ranks
        self._settled: list[bytes] | None = None

    def newest(self) -> Path | None:
        """See `Checkpoints.newest`."""
        return self._ranks.told(self._own.newest() if self._own else None)

    def resume(self) -> Path | None:
        """See `Checkpoints.resume`."""
        return self._ranks.told(self._own.resume() if self._own else None)

    def save(self, step: int, write: Callable[[Path], None]) -> Path | None:
        """See `Checkpoints.save`.

        Args:
            write: writes what rank 0 has to keep.
        """
        states = self._states()

        def write_all(folder: Path) -> None:
            write(folder)
            for rank, state in enumerate(states[1:], start=1):
                (folder / state_name(rank)).write_bytes(state)

        return self._own.save(step, write_all) if self._own else None

    def settle(self) -> None:
        """Keep the random states as they are, for checkpoints after the other ranks have ended."""
        self._settled = self._states()

    def _states(self) -> list[bytes]:
        return self._ranks.gathered(random_state()) if self._settled is None else self._settled


def state_name(rank: int) -> str:
    """The file of a checkpoint that holds the random state of a rank other than 0.

    Args:
        rank: 1 or more.
    """
    return f"rng_state_{rank}.pth"


def random_state() -> bytes:
    """The state of every random number generator of this process."""
    kind, keys, *rest = cast(Any, np.random.get_state())  # noqa: NPY002 # what libraries may draw from
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": (kind, keys.tolist(), *rest),
        "cpu": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    content = io.BytesIO()
    torch.save(state, content)
    return content.getvalue()


def restore_random_state(file: Path) -> None:
    """Go on with the random numbers where a rank stood; where it was not there, with those of its seed."""
    if file.exists():
        _restore(torch.load(file, weights_only=True))


@contextmanager
def same_random_numbers() -> Iterator[None]:
    """Whatever a block draws or seeds, this process draws afterwards what it would have drawn without it."""
    state = random_state()
    try:
        yield
    finally:
        _restore(torch.load(io.BytesIO(state), weights_only=True))


def _restore(state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    np.random.set_state(cast(Any, state["numpy"]))  # noqa: NPY002 # see above
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
