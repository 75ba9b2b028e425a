"""The state of a study: a pure replay of its journal. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hpo.records import Cause, Metric, ParamValue, RecordError


class TrialState(StrEnum):
    """The life of a trial.

    ```
    OPEN (planned, submitted or running) ---> COMPLETED
      ^   |---> INTERRUPTED ---> OPEN, the next attempt, from the checkpoint
      |   '---> FAILED (the cause says whether the surrogate learns from it) / CANCELLED
      '-------- FAILED or CANCELLED, by `retry`
    ```
    Whether an open trial waits or runs is the scheduler's to say, and is not journalled.
    """

    OPEN = "open"
    INTERRUPTED = "interrupted"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({TrialState.COMPLETED, TrialState.FAILED, TrialState.CANCELLED})


class Event(StrEnum):
    """What the journal records; each has a handler of the same name below."""

    STUDY_CREATED = "study_created"
    CONTROLLER_STARTED = "controller_started"
    SETTINGS_CHANGED = "settings_changed"
    BATCH_PLANNED = "batch_planned"
    BATCH_SUBMITTED = "batch_submitted"
    SUBMISSION_FAILED = "submission_failed"
    ATTEMPT_ENDED = "attempt_ended"
    TRIAL_COMPLETED = "trial_completed"
    TRIAL_FAILED = "trial_failed"
    TRIAL_CANCELLED = "trial_cancelled"
    TRIAL_REOPENED = "trial_reopened"
    STUDY_STOPPED = "study_stopped"
    STUDY_FINISHED = "study_finished"


@dataclass
class Trial:
    """One configuration and what became of it."""

    id: str
    number: int
    params: dict[str, ParamValue]
    origin: str
    batch: str
    planned_at: str
    state: TrialState = TrialState.OPEN
    metrics: dict[str, Metric] = field(default_factory=dict)
    cause: Cause | None = None
    message: str = ""
    ended_attempts: dict[int, Cause] = field(default_factory=dict)
    retries: dict[Cause, int] = field(default_factory=dict)
    ended_at: str = ""


@dataclass
class Batch:
    """Trials submitted together as one array; an index of the array is a place in `trials`."""

    id: str
    trials: list[str]
    job_id: str | None = None
    planned_at: str = ""


@dataclass
class Study:
    """Everything that the journal says."""

    uid: str = ""
    name: str = ""
    created_at: str = ""
    objectives: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    identity: dict[str, Any] = field(default_factory=dict)
    baseline: dict[str, float] = field(default_factory=dict)  # metrics of the untuned model
    trials: dict[str, Trial] = field(default_factory=dict)
    batches: dict[str, Batch] = field(default_factory=dict)
    errors_in_row: list[str] = field(default_factory=list)
    earlier: dict[str, Any] = field(default_factory=dict)  # results of other studies, see hpo.earlier
    finished: str = ""  # why, once it is
    stopped: str = ""
    last_at: str = ""

    def in_state(self, *states: TrialState) -> list[Trial]:
        """The trials in any of these states, by number."""
        return [trial for trial in self.trials.values() if trial.state in states]

    @property
    def in_flight(self) -> list[Trial]:
        """The trials that have not ended."""
        return [trial for trial in self.trials.values() if trial.state not in ENDED]

    @property
    def next_number(self) -> int:
        """The number of the next trial to be proposed."""
        return len(self.trials)

    @property
    def next_batch(self) -> str:
        """The id of the next batch; ids compare as they are numbered."""
        return f"{len(self.batches):04d}"


def trial_id(number: int) -> str:
    """The id of the trial with this number."""
    return f"{number:04d}"


def replay(events: Iterable[Mapping[str, Any]]) -> Study:
    """The study that a journal tells of.

    Raises:
        RecordError: an event that no version up to this one knows, or that contradicts those before it.
    """
    study = Study()
    for number, event in enumerate(events, start=1):
        try:
            apply(study, event)
        except (KeyError, ValueError) as error:
            what = f"journal record {number} ({event.get('event')!r})"
            raise RecordError(f"{what} does not fit those before it: {error}") from error
    return study


def apply(study: Study, event: Mapping[str, Any]) -> None:
    """Bring the study up to date with one more event."""
    _HANDLERS[Event(event["event"])](study, event)
    study.last_at = event["at"]


def _created(study: Study, event: Mapping[str, Any]) -> None:
    study.uid, study.name, study.created_at = event["uid"], event["study"], event["at"]
    study.earlier = dict(event.get("earlier") or {})
    _configure(study, event)


def _started(study: Study, event: Mapping[str, Any]) -> None:
    study.stopped, study.errors_in_row = "", []
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
            id=proposal["trial"],
            number=proposal["number"],
            params=dict(proposal["params"]),
            origin=proposal["origin"],
            batch=event["batch"],
            planned_at=event["at"],
        )
        study.trials[trial.id] = trial
    for name in event["retries"]:
        study.trials[name].state = TrialState.OPEN
        study.trials[name].batch = event["batch"]
    trials = [*(proposal["trial"] for proposal in event["proposals"]), *event["retries"]]
    study.batches[event["batch"]] = Batch(event["batch"], trials, planned_at=event["at"])
    study.finished = ""


def _submitted(study: Study, event: Mapping[str, Any]) -> None:
    study.batches[event["batch"]].job_id = event["job_id"]


def _nothing(study: Study, event: Mapping[str, Any]) -> None:
    """An event for people, which changes no state."""


def _attempt_ended(study: Study, event: Mapping[str, Any]) -> None:
    trial, cause = study.trials[event["trial"]], Cause(event["cause"])
    if event["attempt"] is not None:  # None: its task vanished before an attempt began
        trial.ended_attempts[event["attempt"]] = cause
    trial.retries[cause] = trial.retries.get(cause, 0) + 1
    trial.state, trial.cause, trial.message = TrialState.INTERRUPTED, cause, event["message"]
    if cause is Cause.ERROR:
        same = study.errors_in_row[-1:] in ([], [event["message"]])
        study.errors_in_row = [*(study.errors_in_row if same else []), event["message"]]


def _completed(study: Study, event: Mapping[str, Any]) -> None:
    trial = study.trials[event["trial"]]
    trial.state, trial.ended_at, trial.cause, trial.message = TrialState.COMPLETED, event["at"], None, ""
    trial.metrics = {name: Metric(**metric) for name, metric in event["metrics"].items()}
    study.errors_in_row = []


def _failed(study: Study, event: Mapping[str, Any]) -> None:
    trial = study.trials[event["trial"]]
    trial.state, trial.ended_at = TrialState.FAILED, event["at"]
    trial.cause, trial.message = Cause(event["cause"]), event["message"]


def _cancelled(study: Study, event: Mapping[str, Any]) -> None:
    trial = study.trials[event["trial"]]
    trial.state, trial.ended_at, trial.cause = TrialState.CANCELLED, event["at"], Cause.CANCELLED


def _reopened(study: Study, event: Mapping[str, Any]) -> None:
    trial = study.trials[event["trial"]]
    trial.state, trial.retries, trial.ended_at = TrialState.INTERRUPTED, {}, ""
    trial.cause, trial.message = None, ""  # what ended it once is no reason to end it again
    study.finished = ""


def _stopped(study: Study, event: Mapping[str, Any]) -> None:
    study.stopped = event["message"]


def _finished(study: Study, event: Mapping[str, Any]) -> None:
    study.finished = event["reason"]


_HANDLERS = {
    Event.STUDY_CREATED: _created,
    Event.CONTROLLER_STARTED: _started,
    Event.SETTINGS_CHANGED: _changed,
    Event.BATCH_PLANNED: _planned,
    Event.BATCH_SUBMITTED: _submitted,
    Event.SUBMISSION_FAILED: _nothing,
    Event.ATTEMPT_ENDED: _attempt_ended,
    Event.TRIAL_COMPLETED: _completed,
    Event.TRIAL_FAILED: _failed,
    Event.TRIAL_CANCELLED: _cancelled,
    Event.TRIAL_REOPENED: _reopened,
    Event.STUDY_STOPPED: _stopped,
    Event.STUDY_FINISHED: _finished,
}
