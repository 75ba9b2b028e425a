"""Reading squeue's answer."""

from __future__ import annotations

import pytest

from slurm.squeue import live_names, live_tasks, task_state
from slurm.view import TaskState

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


def test_live_tasks_are_those_that_can_still_run() -> None:
    """Ended elements and jobs that are no arrays are left out."""
    states = {task: seen["state"] for task, seen in live_tasks(ANSWER).items()}
    assert states == {
        ("14", 0): "running",
        ("14", 1): "pending",
        ("14", 2): "completing",
        ("15", 0): "held",
        ("18", 0): "pending",
    }


def test_a_task_carries_the_schedulers_own_words_and_its_node() -> None:
    """State and reason as squeue has them, for people to read."""
    assert live_tasks(ANSWER)["14", 1] == {
        "state": "pending",
        "detail": "PENDING JobArrayTaskLimit",
        "node": "",
    }
    assert live_tasks(ANSWER)["14", 0]["node"] == "gpu1"


def test_names_are_matched_by_prefix_among_live_arrays() -> None:
    """An array whose every element is over is not found, nor one of another name."""
    assert live_names(ANSWER, "bo-study") == {"14": "bo-study-1", "15": "bo-study-2"}
    assert live_names(ANSWER, "odd|") == {"18": "odd|name"}


def test_no_answer_is_no_task() -> None:
    """An empty queue is empty."""
    assert live_tasks("") == {}
    assert live_names("", "") == {}


@pytest.mark.parametrize(
    ("word", "reason", "state"),
    [
        ("PENDING", "JobHeldUser", TaskState.HELD),
        ("PENDING", "JobHeldAdmin", TaskState.HELD),
        ("PENDING", "job requeued in held state", TaskState.HELD),
        ("PENDING", "BeginTime", TaskState.PENDING),
        ("REQUEUE_HOLD", "None", TaskState.HELD),
        ("SUSPENDED", "None", TaskState.RUNNING),
        ("PREEMPTED", "None", None),
        ("NODE_FAIL", "None", None),
        ("TIMEOUT", "TimeLimit", None),
    ],
)
def test_states_of_squeue_map_to_ours(word: str, reason: str, state: TaskState | None) -> None:
    """Held needs both words; an end is None."""
    assert task_state(word, reason) is state
