"""Causes of ends: what attempts say of themselves, what their ends mean, and what becomes of the trial."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from hpo.paths import TrialPaths
from hpo.records import AttemptRecord, Cause, Json, Lease, RecordError
from hpo.study.state import Trial

# The trial's own doing: another attempt would end in the same way, and the surrogate learns to stay away.
INFEASIBLE = frozenset({Cause.GPU_OUT_OF_MEMORY, Cause.DIVERGED})


class Action(StrEnum):
    """What to do with the trial."""

    RETRY = "retry"
    FAIL = "fail"
    CANCEL = "cancel"


def decide(cause: Cause, ended: int, budgets: Mapping[str, int]) -> Action:
    """What to do after an attempt ended.

    Args:
        cause: why it ended.
        ended: attempts of this trial that ended for this cause, this one included.
        budgets: further attempts allowed, per cause.
    """
    if cause is Cause.CANCELLED:  # from outside; what `cancel` marked comes before this
        return Action.RETRY if ended <= budgets.get(cause.value, 0) else Action.CANCEL
    if cause in INFEASIBLE:
        return Action.FAIL
    return Action.RETRY if ended <= budgets[cause.value] else Action.FAIL


def learns(cause: Cause | None) -> bool:
    """Whether a failed trial tells the surrogate that its place is infeasible."""
    return cause in INFEASIBLE


# The scheduler's words for ends that are causes of ours.
CAUSES = {
    "preempted": Cause.PREEMPTED,
    "node_failure": Cause.NODE_FAILURE,
    "timed_out": Cause.TIMED_OUT,
    "host_out_of_memory": Cause.HOST_OUT_OF_MEMORY,
    "cancelled": Cause.CANCELLED,
}


@dataclass(frozen=True)
class AttemptCost:
    """What one attempt cost, as the journal records it."""

    attempt: int | None
    node: str = ""
    restart: int = 0
    seconds: float = 0.0
    gpus: int = 0
    useful_seconds: float = 0.0
    progressed: bool = False

    def to_event(self) -> dict[str, Json]:
        """The fields of an event."""
        return dict(self.__dict__)


def unsettled(files: TrialPaths, trial: Trial) -> list[int]:
    """The attempts that have begun and are not in the journal as ended, in order."""
    begun = {int(path.stem) for path in files.attempts.glob("*.json") if path.stem.isdecimal()}
    with suppress(FileNotFoundError, RecordError):
        begun.add(Lease.read(files.lease).attempt)
    return sorted(begun - trial.ended_attempts.keys())


def record_of(files: TrialPaths, attempt: int) -> AttemptRecord | None:
    """What an attempt says of itself; None where its file is missing or damaged."""
    with suppress(FileNotFoundError, RecordError):
        return AttemptRecord.read(files.attempt(attempt))
    return None


def pulse(files: TrialPaths) -> str:
    """Something that differs from what it was while an attempt is at work; "" before one has begun.

    Attempts tell their age every few seconds, and of their steps; nothing here goes by clocks of nodes.
    """
    with suppress(FileNotFoundError, RecordError):
        attempt = Lease.read(files.lease).attempt
        record = record_of(files, attempt)
        steps = files.progress.stat().st_size if files.progress.exists() else 0
        return f"{attempt}:{record.seconds if record else 0.0:g}:{steps}"
    return ""


def attempt_cost(files: TrialPaths, attempt: int | None, cause: Cause | None, node: str = "") -> AttemptCost:
    """What an attempt cost.

    Args:
        attempt: its number; None where none had begun.
        cause: of its end; None: it completed the trial.
        node: where its task was, as the scheduler says; the attempt's own word counts if this is empty.
    """
    record = None if attempt is None else record_of(files, attempt)
    if record is None:
        return AttemptCost(attempt, node)
    # A result counts whole, and so does a failure that teaches the search; else what was saved for the next.
    whole = cause in (None, Cause.STOPPED) or cause in INFEASIBLE
    kept = record.seconds if whole else min(record.saved_seconds, record.seconds)
    return AttemptCost(
        attempt=attempt,
        node=node or record.host,
        restart=record.restart,
        seconds=record.seconds,
        gpus=record.gpus,
        useful_seconds=0.0 if cause in (Cause.ERROR, Cause.CANCELLED) else kept,
        progressed=record.saved_step > record.from_step,
    )


def requeue_cause(record: AttemptRecord | None, warned_s: float | None) -> Cause:
    """Why the scheduler put a task back into the queue, as far as its attempt can tell.

    Args:
        record: what the attempt said last.
        warned_s: age at which the scheduler warns of the time limit; None where that is not known.
    """
    if record is None or not record.signals:
        return Cause.NODE_FAILURE  # it was killed without a warning
    if warned_s is not None and record.seconds >= warned_s and "USR2" in record.signals:
        return Cause.TIMED_OUT
    return Cause.PREEMPTED


def end_cause(ending: str, record: AttemptRecord | None) -> Cause:
    """Why a task is over that left no result and no failure.

    Args:
        ending: the scheduler's or the accounting's word, as in `hpo.ports.TaskView`; "" if there is none.
        record: what its attempt said last; None if none began.
    """
    if ending in CAUSES:
        return CAUSES[ending]
    if not ending and record is not None and record.signals:
        return Cause.PREEMPTED
    return Cause.LOST
