"""Elements that were cancelled while they waited, of which squeue tells nothing."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from slurm.client.cancelled_while_waiting import REMEMBERED_S, CancelledWhileWaiting
from slurm.client.squeue import read_arrays, read_tasks
from slurm.view import Task, TaskView

# three looks at an array of four, of which two may run: 7_3 is cancelled after the first one
FIRST = """\
7|0|RUNNING|None|gpu1|study
7|1|RUNNING|None|gpu1|study
7|2|PENDING|JobArrayTaskLimit||study
7|3|PENDING|JobArrayTaskLimit||study
"""
WITHOUT = FIRST.rpartition("7|3")[0]
ALL_THAT_WAITED = """\
7|0|RUNNING|None|gpu1|study
7|1|RUNNING|None|gpu1|study
7|N/A|CANCELLED|JobArrayTaskLimit||study
"""


def look(cancelled: CancelledWhileWaiting, text: str, now: float) -> Mapping[Task, TaskView]:
    return cancelled.with_cancelled(read_tasks(text), read_arrays(text), now)


def over(seen: Mapping[Task, TaskView]) -> list[Task]:
    return [task for task, told in seen.items() if told["ending"] == "cancelled"]


def test_an_element_that_waited_and_is_gone_was_cancelled() -> None:
    """While its array is shown; it is told of for ten minutes, with its array's name."""
    cancelled = CancelledWhileWaiting(lambda: 300.0)
    assert over(look(cancelled, FIRST, 100)) == []
    seen = look(cancelled, WITHOUT, 110)
    assert over(seen) == [("7", 3)]
    assert seen["7", 3]["state"] == "over"
    assert seen["7", 3]["name"] == "study"
    assert over(look(cancelled, WITHOUT, 109 + REMEMBERED_S)) == [("7", 3)]
    assert over(look(cancelled, WITHOUT, 110 + REMEMBERED_S)) == []


def test_all_that_waited_may_have_been_cancelled() -> None:
    """Then one line without an index is left of them."""
    cancelled = CancelledWhileWaiting(lambda: 300.0)
    look(cancelled, FIRST, 100)
    assert sorted(over(look(cancelled, ALL_THAT_WAITED, 110))) == [("7", 2), ("7", 3)]


def test_what_is_shown_again_was_not_cancelled() -> None:
    """A live line outranks what we concluded."""
    cancelled = CancelledWhileWaiting(lambda: 300.0)
    look(cancelled, FIRST, 100)
    look(cancelled, WITHOUT, 110)
    assert over(look(cancelled, FIRST, 120)) == []
    assert over(look(cancelled, FIRST, 130)) == []


@pytest.mark.parametrize(
    ("second", "at", "job_age_s"),
    [
        ("", 110, 300.0),  # the whole array is unknown: the scheduler may have lost its memory
        (WITHOUT, 110, 10.0),  # it may have run and been forgotten since the look before
        (WITHOUT, 110, 0.0),  # the site does not say for how long it remembers
    ],
)
def test_what_may_have_run_is_not_taken_for_cancelled(second: str, at: float, job_age_s: float) -> None:
    """Then it is missing, and judged by what it left behind."""
    cancelled = CancelledWhileWaiting(lambda: job_age_s)
    look(cancelled, FIRST, 100)
    assert over(look(cancelled, second, at)) == []


def test_the_site_is_asked_only_when_a_waiting_task_has_gone() -> None:
    """A running element that ends has a line of its own; no look costs another query."""

    def never() -> float:
        raise AssertionError("asked for nothing")

    cancelled = CancelledWhileWaiting(never)
    look(cancelled, FIRST, 100)
    look(cancelled, FIRST.replace("7|0|RUNNING", "7|0|COMPLETED"), 110)
    look(cancelled, "", 120)
