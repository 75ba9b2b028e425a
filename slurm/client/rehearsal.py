"""The calls that a controller makes, made once beforehand, about a job that cannot be: lines of `doctor`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from slurm.client import sacct
from slurm.client.command import run
from slurm.errors import SchedulerError

Line = tuple[str, str, str]  # (ok | warn | fail, what, hint)

NOBODY = "67108863"  # above the highest id that Slurm gives (MAX_JOB_ID)
ADVICE = "the controller makes the same call; try it by hand, and ask the site's support why it fails"


def queue_line(silence: str | None) -> Line:
    """What a look at the queue has brought.

    Args:
        silence: the scheduler's words where it gave no answer, else None.
    """
    if silence is None:
        return "ok", "squeue: shows the tasks of this user", ""
    return "fail", f"squeue: {silence}", ADVICE


def accounting_lines() -> Iterator[Line]:
    """Ask the accounting as a controller does; that a site has none is said elsewhere."""
    outcome = run(sacct.query([(NOBODY, 0)]))
    if outcome.ok:
        yield "ok", "sacct: answers", ""
    elif "accounting storage is disabled" not in outcome.stderr.lower():
        hint = "why a task ended is then known from squeue and our own files only"
        yield "warn", f"sacct: {outcome.describe()}", hint


def request_lines(requests: Sequence[Callable[[], None]]) -> Iterator[Line]:
    """Try requests that change the queue; that their job does not exist is no complaint."""
    complaints = [complaint for request in requests if (complaint := _complaint(request))]
    yield from (("fail", complaint, ADVICE) for complaint in complaints)
    if not complaints:
        yield "ok", "scontrol and scancel: take requests", ""


def _complaint(request: Callable[[], None]) -> str:
    try:
        request()
    except SchedulerError as error:
        return str(error).partition("\n\nhint: ")[0]
    return ""
