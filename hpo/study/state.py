"""The state of a study, as `hpo.study.replay` rebuilds it from the journal. Standard library only."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Any

from hpo.records import Cause, Metric, ParamValue


class TrialState(StrEnum):
    """The life of a trial.

    ```
    OPEN (planned, submitted or running) ---> COMPLETED / STOPPED (at a rung, by the controller)
      ^   |---> INTERRUPTED ---> OPEN, the next attempt, from the checkpoint
      |   '---> FAILED (the cause says whether the surrogate learns from it) / CANCELLED
      '-------- FAILED, CANCELLED or STOPPED, by `retry`
    ```
    Whether an open trial waits or runs is the scheduler's to say, and is not journalled.
    """

    OPEN = "open"
    INTERRUPTED = "interrupted"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STOPPED = "stopped"


_OPEN, _INTERRUPTED = TrialState.OPEN, TrialState.INTERRUPTED
ENDED = frozenset({TrialState.COMPLETED, TrialState.FAILED, TrialState.CANCELLED, TrialState.STOPPED})


class Event(StrEnum):
    """What the journal records; each has a handler in `hpo.study.replay`."""

    STUDY_CREATED = "study_created"
    CONTROLLER_STARTED = "controller_started"
    SETTINGS_CHANGED = "settings_changed"
    BATCH_PLANNED = "batch_planned"
    BATCH_SPLIT = "batch_split"
    BATCH_SUBMITTED = "batch_submitted"
    SUBMISSION_FAILED = "submission_failed"
    PROPOSAL_REQUESTED = "proposal_requested"
    PROPOSAL_FAILED = "proposal_failed"
    TASK_MISSING = "task_missing"
    TASK_SEEN = "task_seen"
    ATTEMPT_REQUEUED = "attempt_requeued"
    ATTEMPT_ENDED = "attempt_ended"
    TRIAL_COMPLETED = "trial_completed"
    TRIAL_FAILED = "trial_failed"
    TRIAL_CANCELLED = "trial_cancelled"
    TRIAL_REOPENED = "trial_reopened"
    ADAPTERS_DELETED = "adapters_deleted"
    RUNG_REACHED = "rung_reached"
    TRIAL_STOPPED = "trial_stopped"
    TRIAL_THAWED = "trial_thawed"
    NODE_EXCLUDED = "node_excluded"
    FOLLOWED = "followed"
    ACCOUNTED = "accounted"
    STUDY_STOPPED = "study_stopped"
    STUDY_REOPENED = "study_reopened"
    STUDY_FINISHED = "study_finished"
    NOTIFIED = "notified"


@dataclass(frozen=True)
class MissingTask:
    """A task that the scheduler no longer shows as live, while nothing in the trial's folder says why."""

    since: float  # seconds since the epoch, by the controller's clock
    ending: str  # the scheduler's word for it, as in `hpo.ports.TaskView`; "" if it had none
    detail: str
    node: str
    pulse: str = ""  # of its attempts, see `hpo.study.causes`; "" before one has begun


@dataclass(frozen=True)
class AttemptEnd:
    """One attempt that is over: what became of it, and what it cost."""

    trial: str
    attempt: int | None  # None: its task ended before an attempt began
    batch: str
    cause: Cause | None  # None: it completed the trial
    message: str
    node: str
    restart: int  # Slurm's restart count of its task
    seconds: float
    gpus: int
    useful_seconds: float  # of which the trial's result, or the next attempt, made use
    at: str
    blocked: bool = False  # its task ended before our code began, as every one of the study before it

    @property
    def gist(self) -> str:
        """The message without numbers and node: of two trials the same error differs in steps and ids."""
        node = rf"\b{re.escape(self.node)}\b|\d+" if self.node else r"\d+"
        return re.sub(node, "#", self.message)

    def useful(self, seconds: float) -> float:
        """Those of its seconds, as whoever asks measures them, of which a result made use."""
        return seconds if self.cause is None else min(self.useful_seconds, seconds)

    def like(self, other: AttemptEnd) -> bool:
        """Whether both ended for what looks like the same reason."""
        return self.gist == other.gist or (self.blocked and other.blocked)


@dataclass(frozen=True)
class Rung:
    """What a trial measured on its way."""

    rung: float  # share of the full length that was asked for
    share: float  # that was done
    metrics: dict[str, Metric]  # what grows with the steps is extrapolated


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
    metrics: dict[str, Metric] = field(default_factory=dict)  # of the full length
    rungs: list[Rung] = field(default_factory=list)  # in the order in which they were reached
    stopping: bool = False  # it is to end at its last rung, or did
    thawed: int = 0  # how often it has gone on after that
    cause: Cause | None = None
    message: str = ""
    ended_attempts: dict[int, Cause] = field(default_factory=dict)
    retries: dict[Cause, int] = field(default_factory=dict)  # since the last progress, where that counts
    stalled: int = 0  # attempts that ran into the time limit without getting on
    missing: MissingTask | None = None
    ended_at: str = ""
    adapter_deleted: bool = False  # with its checkpoints; see `hpo.study.kept_adapters`
    outside: bool = False  # cancelled by somebody else than `cancel`, so that it does not count as spent

    @property
    def rung_note(self) -> str:
        """That it was stopped at a rung, or went on from there; "" of any other."""
        if self.state is TrialState.STOPPED and self.rungs:
            return f"ended at rung {self.rungs[-1].rung:.3g} of its length"
        return "thawed: it went on after it had been stopped at a rung" if self.thawed else ""


@dataclass(frozen=True)
class LeftToGain:
    """What was left to gain when a batch was proposed, as shares of the front's hypervolume.

    Args:
        results: that were known.
        gain: expected of the best new trial.
        noise: deviation of the hypervolume itself.
    """

    results: int
    gain: float
    noise: float


@dataclass
class Batch:
    """Trials submitted together as one array; an index of the array is a place in `trials`."""

    id: str
    trials: list[str]
    job_id: str | None = None
    planned_at: str = ""
    tries: int = 0  # submissions that failed for good reason
    refusals: int = 0  # submissions that the scheduler could not take at that time
    failed_at: float = 0.0  # seconds since the epoch; of the last failed submission


@dataclass
class ProposalRequest:
    """Proposals that a job of its own is to make."""

    id: str
    job_id: str
    room: int
    since: float  # seconds since the epoch


@dataclass
class Study:
    """Everything that the journal says."""

    uid: str = ""
    name: str = ""
    created_at: str = ""
    started: bool = False  # by a controller, ever
    objectives: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    identity: dict[str, Any] = field(default_factory=dict)
    baseline: dict[str, float] = field(default_factory=dict)  # metrics of the untuned model
    trials: dict[str, Trial] = field(default_factory=dict)
    batches: dict[str, Batch] = field(default_factory=dict)
    ends: list[AttemptEnd] = field(default_factory=list)  # every attempt that is over, in order
    reached: dict[float, list[Rung]] = field(default_factory=dict)  # rung -> of all trials, in order
    errors: list[AttemptEnd] = field(default_factory=list)  # the last ones in a row with the same message
    scancelled: int = 0  # tasks that were cancelled from outside, since the last result
    excluded: dict[str, str] = field(default_factory=dict)  # node -> why no array goes there any more
    request: ProposalRequest | None = None
    requests: int = 0
    failed_requests: int = 0  # in a row
    helpers: set[str] = field(default_factory=set)  # job ids of arrays that are no trials
    followed: dict[str, str] = field(default_factory=dict)  # batch -> job of the `step` scheduled after it
    next_step: tuple[str, str] | None = None  # the job scheduled last, and when
    executions: dict[str, list[list[Any]]] = field(default_factory=dict)  # see `hpo.study.gpu_hours`
    earlier: dict[str, Any] = field(
        default_factory=dict
    )  # results of other studies, see hpo.study.warm_start
    finished: str = ""  # why, once it is
    stopped: str = ""
    untold: str = ""  # an end that notify.command was not told of: finished, or stopped
    last_at: str = ""
    outlooks: list[LeftToGain] = field(default_factory=list)  # where `budget.settle` asks for them
    # Those that had not ended when somebody asked last, of so many trials: a pass of the loop asks often.
    _in_flight: list[Trial] = field(default_factory=list, init=False, repr=False, compare=False)
    _looked_at: int = field(default=0, init=False, repr=False, compare=False)

    def in_state(self, *states: TrialState) -> list[Trial]:
        """The trials in any of these states, by number."""
        trials = self.in_flight if ENDED.isdisjoint(states) else self.trials.values()
        return [trial for trial in trials if trial.state in states]

    def reopen(self, trial: Trial) -> None:
        """Let a trial that has ended go on."""
        trial.state = TrialState.INTERRUPTED
        self._looked_at, self._in_flight = 0, []

    @property
    def parameters(self) -> list[str]:
        """The name of every parameter that a trial has."""
        return list(dict.fromkeys(name for trial in self.trials.values() for name in trial.params))

    @property
    def metrics(self) -> list[str]:
        """The name of every metric that a trial has."""
        return list(dict.fromkeys(name for trial in self.trials.values() for name in trial.metrics))

    @property
    def spent(self) -> int:
        """The trials that count against `budget.trials`."""
        return sum(not trial.outside for trial in self.trials.values())

    @property
    def ending(self) -> str:
        """What became of a study that is over, in words."""
        if self.in_state(TrialState.COMPLETED):
            return "is complete"
        return "ended without a result: no trial has completed"

    @property
    def in_flight(self) -> list[Trial]:
        """The trials that have not ended, by number."""
        known = self._in_flight
        if self._looked_at < len(self.trials):
            known = [*known, *islice(self.trials.values(), self._looked_at, None)]
            self._looked_at = len(self.trials)
        self._in_flight = [trial for trial in known if trial.state is _OPEN or trial.state is _INTERRUPTED]
        return self._in_flight

    @property
    def next_number(self) -> int:
        """The number of the next trial to be proposed."""
        return len(self.trials)

    @property
    def next_batch(self) -> str:
        """The id of the next batch; ids compare as they are numbered."""
        return f"{len(self.batches):04d}"

    @property
    def open_batches(self) -> list[Batch]:
        """The batches of which a trial has not ended, by number."""
        own = {trial.batch for trial in self.in_flight}
        return [batch for batch in self.batches.values() if batch.id in own]


def trial_id(number: int) -> str:
    """The id of the trial with this number."""
    return f"{number:04d}"
