"""The tasks of an executor that are not over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Polled(Protocol):
    """Whatever can be polled."""

    def poll(self) -> Mapping[tuple[str, int], Any] | None: ...


def live(executor: Polled) -> dict[tuple[str, int], str]:
    """The state of every task that is not over."""
    seen = executor.poll()
    assert seen is not None
    return {task: told["state"] for task, told in seen.items() if told["state"] != "over"}
