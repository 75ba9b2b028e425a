"""From the events of a journal to the study that they tell of. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from hpo.records import Cause, RecordError, read_metric
from hpo.study.state import (
    AttemptEnd,
    Batch,
    Event,
    LeftToGain,
    MissingTask,
    ProposalRequest,
    Rung,
    Study,
    Trial,
    TrialState,
)

# Interruptions that are nobody's fault: only a trial that does not get on between them uses up its budget.
COUNTED_WHERE_STUCK = frozenset({Cause.PREEMPTED, Cause.NODE_FAILURE, Cause.TIMED_OUT, Cause.LOST})


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+\[\]-]*")


def replay(events: Iterable[Mapping[str, Any]]) -> Study:
    """The study that a journal tells of.

    Raises:
        RecordError: an event that no version up to this one knows, or that contradicts those before it.
    """
    study = Study()
    for number, event in enumerate(events, start=1):
        try:
            apply(study, event)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            what = f"journal record {number} ({event.get('event')!r})"
            raise RecordError(f"{what} does not fit those before it: {error}") from error
    return study


def apply(study: Study, event: Mapping[str, Any]) -> None:
    """Bring the study up to date with one more event.

    Raises:
        ValueError: an event that is none, or one whose names would be a way out of the study folder; also
            KeyError, TypeError and AttributeError.
    """
    if datetime.fromisoformat(event["at"]).tzinfo is None:
        raise ValueError(f"at: expected a time with its zone, got {event['at']!r}")
    _HANDLERS[Event(event["event"])](study, event)
    if event["event"] != Event.NOTIFIED:  # telling of the end is no part of the study's time
        study.last_at = event["at"]


def _named(given: object) -> str:
    """A name of ours or the scheduler's, which becomes part of a path, or an argument of a program."""
    if not isinstance(given, str) or not _NAME.fullmatch(given):
        raise ValueError(f"expected a name of letters, digits and ._:@+[]-, got {given!r:.80}")
    return given


def _created(study: Study, event: Mapping[str, Any]) -> None:
    study.uid, study.name, study.created_at = _named(event["uid"]), _named(event["study"]), event["at"]
    study.earlier = dict(event.get("earlier") or {})
    _configure(study, event)


def _started(study: Study, event: Mapping[str, Any]) -> None:
    _lifted(study, event)
    study.next_step = None
    if study.untold == "stopped":
        study.untold = ""  # somebody has taken it up: that it had stopped is no news any more
    study.started, study.failed_requests = True, 0
    for batch in study.batches.values():
        batch.tries = batch.refusals = 0
    study.baseline = dict(event.get("baseline") or {})


def _changed(study: Study, event: Mapping[str, Any]) -> None:
    _configure(study, event)
    study.finished = ""


def _configure(study: Study, event: Mapping[str, Any]) -> None:
    study.objectives, study.settings = dict(event["objectives"]), dict(event["settings"])
    study.identity = dict(event["identity"])


def _planned(study: Study, event: Mapping[str, Any]) -> None:
    for proposal in event["proposals"]:
        trial = Trial(
            id=_named(proposal["trial"]),
            number=int(proposal["number"]),
            params=dict(proposal["params"]),
            origin=proposal["origin"],
            batch=_named(event["batch"]),
            planned_at=event["at"],
        )
        study.trials[trial.id] = trial
    for name in event["retries"]:
        study.trials[name].state = TrialState.OPEN
        study.trials[name].batch = event["batch"]
    trials = [*(proposal["trial"] for proposal in event["proposals"]), *event["retries"]]
    study.batches[event["batch"]] = Batch(_named(event["batch"]), trials, planned_at=event["at"])
    if outlook := event.get("outlook"):
        numbers = float(outlook["gain"]), float(outlook["noise"])
        study.outlooks.append(LeftToGain(int(outlook["results"]), *numbers))
    if event.get("request"):
        study.request, study.failed_requests = None, 0
    study.finished = ""


def _split(study: Study, event: Mapping[str, Any]) -> None:
    """What the scheduler did not take in one piece becomes two batches."""
    batch = study.batches[event["batch"]]
    other = Batch(_named(event["into"]), batch.trials[event["keep"] :], planned_at=event["at"])
    batch.trials = batch.trials[: event["keep"]]
    batch.refusals, batch.failed_at = 0, 0.0
    study.batches[other.id] = other
    for name in other.trials:
        study.trials[name].batch = other.id


def _submitted(study: Study, event: Mapping[str, Any]) -> None:
    study.batches[event["batch"]].job_id = _named(event["job_id"])


def _submission_failed(study: Study, event: Mapping[str, Any]) -> None:
    batch = study.batches[event["batch"]]
    batch.failed_at = event.get("since", 0.0)
    if event.get("busy"):
        batch.refusals += 1
    else:
        batch.tries += 1


def _requested(study: Study, event: Mapping[str, Any]) -> None:
    study.request = ProposalRequest(
        _named(event["request"]), _named(event["job_id"]), event["room"], event["since"]
    )
    study.requests += 1
    study.helpers.add(event["job_id"])


def _request_failed(study: Study, event: Mapping[str, Any]) -> None:
    study.request = None
    study.failed_requests += not event.get("empty")


def _missing(study: Study, event: Mapping[str, Any]) -> None:
    study.trials[event["trial"]].missing = MissingTask(
        event["since"], event["ending"], event["detail"], event["node"], event.get("pulse", "")
    )


def _seen(study: Study, event: Mapping[str, Any]) -> None:
    study.trials[event["trial"]].missing = None


def _end(study: Study, event: Mapping[str, Any], cause: Cause | None) -> AttemptEnd:
    seconds = event.get("seconds", 0.0)
    end = AttemptEnd(
        trial=event["trial"],
        attempt=event.get("attempt"),
        batch=event.get("batch", study.trials[event["trial"]].batch),
        cause=cause,
        message=event.get("message", ""),
        node=event.get("node", ""),
        restart=event.get("restart", 0),
        seconds=seconds,
        gpus=event.get("gpus", 0),
        useful_seconds=event.get("useful_seconds", seconds if cause is None else 0.0),
        at=event["at"],
        blocked=event.get("blocked", False),
    )
    study.ends.append(end)
    return end


def _requeued(study: Study, event: Mapping[str, Any]) -> None:
    """The scheduler runs the task again by itself: the trial stays open."""
    cause = Cause(event["cause"])
    _end(study, event, cause)
    trial = study.trials[event["trial"]]
    trial.ended_attempts[event["attempt"]] = cause
    if cause is Cause.TIMED_OUT:
        trial.stalled = 0 if event["progressed"] else trial.stalled + 1


def _attempt_ended(study: Study, event: Mapping[str, Any]) -> None:
    trial, cause = study.trials[event["trial"]], Cause(event["cause"])
    end = _end(study, event, cause)
    if event["attempt"] is not None:  # None: its task vanished before an attempt began
        trial.ended_attempts[event["attempt"]] = cause
    progressed = event.get("progressed", False)
    if cause in COUNTED_WHERE_STUCK and progressed:
        trial.retries[cause], trial.stalled = 0, 0
    elif not end.blocked:  # that is the site's doing: the trial has all its attempts once it is mended
        trial.retries[cause] = trial.retries.get(cause, 0) + 1
        trial.stalled += cause is Cause.TIMED_OUT
    trial.state, trial.cause, trial.message = TrialState.INTERRUPTED, cause, event["message"]
    trial.missing = None
    study.scancelled += cause is Cause.CANCELLED
    if cause is Cause.ERROR or end.blocked:
        same = not study.errors or study.errors[-1].like(end)
        study.errors = [*(study.errors if same else []), end]


def _completed(study: Study, event: Mapping[str, Any]) -> None:
    trial = study.trials[event["trial"]]
    trial.state, trial.ended_at, trial.cause, trial.message = TrialState.COMPLETED, event["at"], None, ""
    trial.metrics = {name: read_metric(name, metric, "journal") for name, metric in event["metrics"].items()}
    trial.missing = None
    _end(study, event, None)
    study.errors, study.scancelled = [], 0


def _failed(study: Study, event: Mapping[str, Any]) -> None:
    trial = study.trials[event["trial"]]
    trial.state, trial.ended_at = TrialState.FAILED, event["at"]
    trial.cause, trial.message, trial.missing = Cause(event["cause"]), event["message"], None


def _cancelled(study: Study, event: Mapping[str, Any]) -> None:
    trial = study.trials[event["trial"]]
    trial.state, trial.ended_at, trial.cause = TrialState.CANCELLED, event["at"], Cause.CANCELLED
    trial.message, trial.missing = event.get("message", ""), None
    trial.outside = event.get("outside", False)


def _reopened(study: Study, event: Mapping[str, Any]) -> None:
    trial = study.trials[event["trial"]]
    study.reopen(trial)
    trial.retries, trial.ended_at = {}, ""
    trial.cause, trial.message = None, ""  # what ended it once is no reason to end it again
    trial.outside = False
    study.finished = ""


def _adapters_deleted(study: Study, event: Mapping[str, Any]) -> None:
    for name in event["trials"]:
        study.trials[name].adapter_deleted = True


def _rung_reached(study: Study, event: Mapping[str, Any]) -> None:
    trial = study.trials[event["trial"]]
    metrics = {name: read_metric(name, metric, "journal") for name, metric in event["metrics"].items()}
    rung = Rung(float(event["rung"]), float(event["share"]), metrics)
    trial.rungs.append(rung)
    study.reached.setdefault(rung.rung, []).append(rung)
    trial.stopping = trial.stopping or bool(event["stop"])


def _trial_stopped(study: Study, event: Mapping[str, Any]) -> None:
    trial = study.trials[event["trial"]]
    trial.state, trial.ended_at, trial.cause, trial.message = TrialState.STOPPED, event["at"], None, ""
    trial.missing = None
    trial.ended_attempts[event["attempt"]] = Cause.STOPPED
    _end(study, event, Cause.STOPPED)
    study.errors, study.scancelled = [], 0


def _thawed(study: Study, event: Mapping[str, Any]) -> None:
    _reopened(study, event)
    trial = study.trials[event["trial"]]
    trial.stopping = False
    trial.thawed += 1


def _excluded(study: Study, event: Mapping[str, Any]) -> None:
    study.excluded[event["node"]] = event["message"]
    study.errors = []  # they were the node's: from here on they count anew


def _followed(study: Study, event: Mapping[str, Any]) -> None:
    study.followed.update(dict.fromkeys(event["batches"], event["job_id"]))
    study.next_step = event["job_id"], event["at"]


def _accounted(study: Study, event: Mapping[str, Any]) -> None:
    study.executions.update(event["executions"])


def _stopped(study: Study, event: Mapping[str, Any]) -> None:
    study.stopped, study.untold = event["message"], "stopped"


def _lifted(study: Study, event: Mapping[str, Any]) -> None:
    study.stopped, study.errors, study.excluded, study.scancelled = "", [], {}, 0


def _finished(study: Study, event: Mapping[str, Any]) -> None:
    study.finished, study.untold = event["reason"], "finished"


def _notified(study: Study, event: Mapping[str, Any]) -> None:
    study.untold = ""


_HANDLERS = {
    Event.STUDY_CREATED: _created,
    Event.CONTROLLER_STARTED: _started,
    Event.SETTINGS_CHANGED: _changed,
    Event.BATCH_PLANNED: _planned,
    Event.BATCH_SPLIT: _split,
    Event.BATCH_SUBMITTED: _submitted,
    Event.SUBMISSION_FAILED: _submission_failed,
    Event.PROPOSAL_REQUESTED: _requested,
    Event.PROPOSAL_FAILED: _request_failed,
    Event.TASK_MISSING: _missing,
    Event.TASK_SEEN: _seen,
    Event.ATTEMPT_REQUEUED: _requeued,
    Event.ATTEMPT_ENDED: _attempt_ended,
    Event.TRIAL_COMPLETED: _completed,
    Event.TRIAL_FAILED: _failed,
    Event.TRIAL_CANCELLED: _cancelled,
    Event.TRIAL_REOPENED: _reopened,
    Event.ADAPTERS_DELETED: _adapters_deleted,
    Event.RUNG_REACHED: _rung_reached,
    Event.TRIAL_STOPPED: _trial_stopped,
    Event.TRIAL_THAWED: _thawed,
    Event.NODE_EXCLUDED: _excluded,
    Event.FOLLOWED: _followed,
    Event.ACCOUNTED: _accounted,
    Event.STUDY_STOPPED: _stopped,
    Event.STUDY_REOPENED: _lifted,
    Event.STUDY_FINISHED: _finished,
    Event.NOTIFIED: _notified,
}
