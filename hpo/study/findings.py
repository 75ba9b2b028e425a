"""What a look at the trials in flight can bring, and how the journal records it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from hpo.records import Cause, StoppedResult, TrialResult
from hpo.study.causes import AttemptCost
from hpo.study.journal import Journal
from hpo.study.state import Event, MissingTask


@dataclass(frozen=True)
class Completed:
    """The trial has a result."""

    trial: str
    batch: str
    result: TrialResult
    cost: AttemptCost


@dataclass(frozen=True)
class Stopped:
    """The trial has ended at a rung, as it was asked to."""

    trial: str
    batch: str
    result: StoppedResult
    cost: AttemptCost


@dataclass(frozen=True)
class Ended:
    """An attempt ended without a result; `cost.attempt` is None where none had begun."""

    trial: str
    batch: str
    cause: Cause
    message: str
    cost: AttemptCost
    requeued: bool = False  # the scheduler runs the task again by itself
    blocked: bool = False  # its task ran and ended before our code began, as every one of the study so far


@dataclass(frozen=True)
class Cancelled:
    """The trial was cancelled and is no longer live."""

    trial: str
    message: str


@dataclass(frozen=True)
class NotSeen:
    """The trial's task is not live any more, and its folder does not say why."""

    trial: str
    missing: MissingTask


@dataclass(frozen=True)
class SeenAgain:
    """A task that had been missing is live."""

    trial: str


Finding = Completed | Stopped | Ended | Cancelled | NotSeen | SeenAgain


def record(journal: Journal, finding: Finding) -> None:
    """Record one finding."""
    match finding:
        case Completed():
            _record_result(journal, finding)
        case Stopped(trial, batch, result, cost):
            at = {"rung": result.rung, "step": result.step}
            journal.record(Event.TRIAL_STOPPED, trial=trial, batch=batch, **at, **cost.to_event())
        case Ended():
            event = Event.ATTEMPT_REQUEUED if finding.requeued else Event.ATTEMPT_ENDED
            journal.record(
                event,
                trial=finding.trial,
                batch=finding.batch,
                cause=finding.cause.value,
                message=finding.message,
                **({"blocked": True} if finding.blocked else {}),
                **finding.cost.to_event(),
            )
        case Cancelled(trial, message):
            journal.record(Event.TRIAL_CANCELLED, trial=trial, message=message)
        case NotSeen(trial, missing):
            journal.record(Event.TASK_MISSING, trial=trial, **asdict(missing))
        case SeenAgain(trial):
            journal.record(Event.TASK_SEEN, trial=trial)


def _record_result(journal: Journal, finding: Completed) -> None:
    trial, metrics = finding.trial, finding.result.metrics
    missing = [name for name in journal.study.objectives if name not in metrics]
    if missing:
        message = f"metrics.json: expected the objectives {', '.join(missing)}, got {', '.join(metrics)}"
        journal.record(Event.TRIAL_FAILED, trial=trial, cause=Cause.ERROR.value, message=message)
        return
    journal.record(
        Event.TRIAL_COMPLETED,
        trial=trial,
        batch=finding.batch,
        metrics={name: asdict(metric) for name, metric in metrics.items()},
        **finding.cost.to_event(),
    )
