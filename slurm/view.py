"""What an executor tells of tasks and of its site, and what can be asked of it for one array.

The shapes are those of the controller's port, which this package does not import; a test holds them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NotRequired, TypedDict

Task = tuple[str, int]  # (job id of the array, index)


class TaskState(StrEnum):
    """Where a task is."""

    HELD = "held"
    PENDING = "pending"
    RUNNING = "running"
    COMPLETING = "completing"
    OVER = "over"


class TaskEnding(StrEnum):
    """How a task, or one execution of it, ended, as far as a scheduler can tell."""

    COMPLETED = "completed"
    FAILED = "failed"
    PREEMPTED = "preempted"
    NODE_FAILURE = "node_failure"
    TIMED_OUT = "timed_out"
    HOST_OUT_OF_MEMORY = "host_out_of_memory"
    CANCELLED = "cancelled"


class TaskView(TypedDict):
    """One task, as the scheduler tells it."""

    state: str
    detail: str
    node: str
    name: str
    ending: str
    blocked: NotRequired[str]
    hint: NotRequired[str]


class Ending(TypedDict):
    """One execution of a task, as the site's accounting tells it."""

    ending: str
    node: str
    seconds: float
    gpus: int
    exit: str


class ArrayOptions(TypedDict, total=False):
    """What one array wants otherwise than the settings say."""

    time_limit_min: int
    exclude: Sequence[str]
    at_once: int
    helper: bool


class SiteLimits(TypedDict):
    """What the site allows, and what an array gets that asks for nothing otherwise."""

    array_size: int
    nodes: int
    minutes: int
    default_minutes: int
    warning_s: int


class Room(TypedDict):
    """How many tasks of this user there is room for."""

    at_once: int | None  # that run at the same time; None: not known
    waiting: int  # how many more should wait, so that none of these places is empty for long
    submitted: int | None  # running and waiting together at most; None: no such limit, or none is known
    why: str  # what sets the number, for people


class ExecutorTraits(TypedDict):
    """What differs between executors and a controller goes by."""

    runs_as: str
    poll_s: float
    backs_off: bool
    gone_s: float
    keeps_max_parallel: bool
    follows: bool


def view(
    state: TaskState,
    detail: str,
    node: str = "",
    name: str = "",
    ending: TaskEnding | None = None,
    passing: tuple[str, str] = ("", ""),
) -> TaskView:
    """Describe one task with built-in types only; `passing` is (blocked, hint) of one that waits."""
    told: TaskView = {
        "state": state.value,
        "detail": detail,
        "node": node,
        "name": name,
        "ending": ending.value if ending else "",
    }
    if passing[0]:
        told["blocked"], told["hint"] = passing
    return told
