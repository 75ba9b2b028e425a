"""Reading squeue's answer."""

from __future__ import annotations

import pytest

from slurm.client.squeue import read_arrays, read_tasks, task_ending, task_state
from slurm.view import TaskEnding, TaskState

ANSWER = """\
14|0|RUNNING|None|gpu1|bo-study-1
14|1|PENDING|JobArrayTaskLimit||bo-study-1
14|2|COMPLETING|None|gpu2|bo-study-1
14|3|COMPLETED|None|gpu2|bo-study-1
15|0|PENDING|JobHeldUser||bo-study-2
16|N/A|RUNNING|None|gpu3|interactive
17|0|CANCELLED by 0|None||bo-study-3
18|0|PENDING|BeginTime||odd|name
"""


def test_every_element_has_its_state_and_jobs_that_are_no_arrays_are_left_out() -> None:
    """Those that are over too."""
    states = {task: seen["state"] for task, seen in read_tasks(ANSWER).items()}
    assert states == {
        ("14", 0): "running",
        ("14", 1): "pending",
        ("14", 2): "completing",
        ("14", 3): "over",
        ("15", 0): "held",
        ("17", 0): "over",
        ("18", 0): "pending",
    }


def test_arrays_are_known_by_any_of_their_lines() -> None:
    """Also by one without an index, which is all that is left when every waiting element was cancelled."""
    assert read_arrays(ANSWER) == {"14", "15", "16", "17", "18"}
    assert read_arrays("") == set()


def test_a_task_carries_the_schedulers_own_words_its_node_and_its_arrays_name() -> None:
    """State and reason as squeue has them, for people to read."""
    assert read_tasks(ANSWER)["14", 0] == {
        "state": "running",
        "detail": "RUNNING None",
        "node": "gpu1",
        "name": "bo-study-1",
        "ending": "",
    }
    assert read_tasks(ANSWER)["18", 0]["name"] == "odd|name"


def test_a_task_that_is_over_says_how_it_ended() -> None:
    """In the controller's words."""
    endings = {task: seen["ending"] for task, seen in read_tasks(ANSWER).items() if seen["ending"]}
    assert endings == {("14", 3): "completed", ("17", 0): "cancelled"}


@pytest.mark.parametrize("first", ["PENDING|BeginTime|", "NODE_FAIL|None|gpu1"])
def test_a_requeued_element_is_live_whatever_the_order_of_its_lines(first: str) -> None:
    """An earlier execution that is over does not hide the one that waits."""
    lines = ["71|0|PENDING|BeginTime||n", "71|0|NODE_FAIL|None|gpu1|n"]
    ordered = lines if first.startswith("PENDING") else lines[::-1]
    assert read_tasks("\n".join(ordered))["71", 0]["state"] == "pending"


def test_no_answer_is_no_task() -> None:
    """An empty queue is empty."""
    assert read_tasks("") == {}


@pytest.mark.parametrize(
    ("word", "reason", "state"),
    [
        ("PENDING", "JobHeldUser", TaskState.HELD),
        ("PENDING", "JobHeldAdmin", TaskState.HELD),
        ("PENDING", "job requeued in held state", TaskState.HELD),
        ("PENDING", "BeginTime", TaskState.PENDING),
        ("REQUEUE_HOLD", "None", TaskState.HELD),
        ("SUSPENDED", "None", TaskState.RUNNING),
        ("PREEMPTED", "None", TaskState.OVER),
        ("NODE_FAIL", "None", TaskState.OVER),
        ("TIMEOUT", "TimeLimit", TaskState.OVER),
    ],
)
def test_states_of_squeue_map_to_ours(word: str, reason: str, state: TaskState) -> None:
    """Held needs both words."""
    assert task_state(word, reason) is state


@pytest.mark.parametrize(
    ("word", "ending"),
    [
        ("COMPLETED", TaskEnding.COMPLETED),
        ("CANCELLED by 0", TaskEnding.CANCELLED),
        ("TIMEOUT", TaskEnding.TIMED_OUT),
        ("OUT_OF_MEMORY", TaskEnding.HOST_OUT_OF_MEMORY),
        ("NODE_FAIL", TaskEnding.NODE_FAILURE),
        ("PREEMPTED", TaskEnding.PREEMPTED),
        *((word, TaskEnding.FAILED) for word in ("FAILED", "LAUNCH_FAILED", "BOOT_FAIL", "DEADLINE")),
    ],
)
def test_ends_of_squeue_map_to_ours(word: str, ending: TaskEnding) -> None:
    """What no other word fits has failed."""
    assert task_ending(word) is ending
