"""Tables with a site's own lines around them."""

from __future__ import annotations

from slurm.client.command import Outcome
from slurm.client.squeue import newest_named, read_arrays, read_tasks
from slurm.client.table import read

HEADING = "frontrunner|ARRAY_JOB_ID|ARRAY_TASK_ID|STATE|REASON|NODELIST|NAME\n"
ROW = "frontrunner|14|0|RUNNING|None|gpu1|bo|study\n"
NOISE = "Welcome to | our | own | cluster | 2 | 3\n15|0|RUNNING|None|gpu1|not ours\n\n"


def answer(stdout: str) -> Outcome:
    """Of a squeue that ended well."""
    return read(Outcome(("squeue",), 0, stdout, ""), "ARRAY_JOB_ID")


def test_lines_around_the_table_are_passed_over() -> None:
    """Before, after, and before a line without an end of its own."""
    outcome = answer(f"{NOISE}loading... {HEADING}{ROW}{NOISE}")
    assert outcome.ok
    assert outcome.stdout == "14|0|RUNNING|None|gpu1|bo|study\n"
    assert set(read_tasks(outcome.stdout)) == {("14", 0)}
    assert read_arrays(outcome.stdout) == {"14"}


def test_a_heading_alone_is_an_empty_queue() -> None:
    """An answer, unlike what a wrapper prints that never asked."""
    assert answer(NOISE + HEADING).ok
    assert answer(NOISE + HEADING).stdout == ""
    refused = answer("squeue is off here, use our portal\n")
    assert not refused.ok
    assert "no table" in refused.describe()
    assert "use our portal" in refused.describe()


def test_a_wrapper_that_leaves_the_heading_out_loses_no_row() -> None:
    """As one that adds -h."""
    assert answer(ROW).stdout == "14|0|RUNNING|None|gpu1|bo|study\n"


def test_the_newest_job_of_a_name_is_looked_up() -> None:
    """By number, and by the whole name."""
    rows = "9|0|PENDING|x||a\n10|N/A|RUNNING|None|n1|a\n11|0|PENDING|x||ab\n"
    assert newest_named(rows, "a") == "10"
    assert newest_named(rows, "b") is None
