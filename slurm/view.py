"""What an executor tells of a live task."""

from __future__ import annotations

from enum import StrEnum
from typing import TypedDict

Task = tuple[str, int]  # (job id of the array, index)


class TaskState(StrEnum):
    """Where a live task is; a task that is over has no state here."""

    HELD = "held"
    PENDING = "pending"
    RUNNING = "running"
    COMPLETING = "completing"


class TaskView(TypedDict):
    """One live task; the shape that the controller's port asks for."""

    state: str
    detail: str
    node: str


def view(state: TaskState, detail: str, node: str = "") -> TaskView:
    """Describe one live task with built-in types only."""
    return {"state": state.value, "detail": detail, "node": node}
