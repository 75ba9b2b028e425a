"""The loop of a study: collect, decide, propose, submit. One pass is `step`; all it needs is on disk."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from hpo.collect import Cancelled, Collector, Completed, Ended, Finding
from hpo.errors import StudyError
from hpo.journal import Journal
from hpo.lease import HeldLease
from hpo.paths import StudyPaths
from hpo.policy import Action, decide
from hpo.ports import Executor, Task, TaskView
from hpo.proposals import Proposer
from hpo.records import Cause
from hpo.study import ENDED, Batch, Event, Study, TrialState
from hpo.submission import submit_batch, write_specs

QUIET_S = 20.0  # after a failed submission: twice Slurm's message timeout, so a late array shows up by name


@dataclass(frozen=True)
class Limits:
    """What the controller goes by; from the configuration, with the executor's defaults filled in."""

    trials: int
    wall_hours: float | None
    batch_size: int
    refill: int
    identical_errors: int
    submit_tries: int
    gone_s: float
    retries: Mapping[str, int]


class Controller:
    """Drives one study; the caller holds its lease.

    Args:
        paths: the study's files.
        journal: its events.
        executor: where arrays run.
        proposer: makes the specs of new trials.
        limits: budget, batch sizes and retry budgets.
        lease: renewed on every pass.
        target: `module:function` that runs a trial.
        clock: seconds, monotonic; replaced in tests.
    """

    def __init__(
        self,
        paths: StudyPaths,
        journal: Journal,
        executor: Executor,
        proposer: Proposer,
        limits: Limits,
        lease: HeldLease,
        target: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.paths, self.journal, self.executor = paths, journal, executor
        self._proposer, self._limits, self.lease = proposer, limits, lease
        self._target, self._clock = target, clock
        self._collector = Collector(paths, limits.gone_s)
        self._failed_submissions: dict[str, tuple[int, float]] = {}  # batch -> (tries, not before)
        self.live: Mapping[Task, TaskView] | None = None

    @property
    def study(self) -> Study:
        """The study as the journal tells it now."""
        return self.journal.study

    @property
    def waiting(self) -> Mapping[str, int]:
        """Why trials wait, in the scheduler's own words, and how many for each reason."""
        reasons: Counter[str] = Counter()
        for trial in self.study.in_state(TrialState.OPEN):
            batch = self.study.batches[trial.batch]
            view = (self.live or {}).get((batch.job_id or "", batch.trials.index(trial.id)))
            if view and view["state"] == "pending":
                reasons[view["detail"]] += 1
        return reasons

    def adopt(self) -> None:
        """Tell the executor of the arrays that an earlier controller left in flight."""
        for batch in self._open_batches():
            self.executor.adopt(str(self.paths.batch(batch.id).submission))

    def step(self) -> bool:
        """One pass; idempotent. Returns whether the study has ended."""
        self.lease.renew()
        self.live = self.executor.poll()
        for finding in self._collector.findings(self.study, self.live, self._clock()):
            self._record(finding)
        self._settle_interrupted()
        self._stop_on_identical_errors()
        self._stop_on_request()
        self._submit_planned()
        if self._end_reached():
            return True
        self._plan()
        self._submit_planned()
        return self._end_reached()

    def _record(self, finding: Finding) -> None:
        match finding:
            case Completed(trial, result):
                self._record_result(trial, {name: asdict(metric) for name, metric in result.metrics.items()})
            case Ended():
                self.journal.record(
                    Event.ATTEMPT_ENDED,
                    trial=finding.trial,
                    batch=finding.batch,
                    attempt=finding.attempt,
                    cause=finding.cause.value,
                    message=finding.message,
                )
            case Cancelled(trial):
                self.journal.record(Event.TRIAL_CANCELLED, trial=trial)

    def _record_result(self, trial: str, metrics: Mapping[str, object]) -> None:
        missing = [name for name in self.study.objectives if name not in metrics]
        if missing:
            message = f"metrics.json: expected the objectives {', '.join(missing)}, got {', '.join(metrics)}"
            self.journal.record(Event.TRIAL_FAILED, trial=trial, cause=Cause.ERROR.value, message=message)
        else:
            self.journal.record(Event.TRIAL_COMPLETED, trial=trial, metrics=metrics)

    def _settle_interrupted(self) -> None:
        for trial in self.study.in_state(TrialState.INTERRUPTED):
            cause = trial.cause or Cause.LOST
            cancelled = self.paths.trial(trial.id).cancel.exists()
            ended = trial.retries.get(cause, 0)
            action = Action.CANCEL if cancelled else decide(cause, ended, self._limits.retries)
            if action is Action.CANCEL:
                self.journal.record(Event.TRIAL_CANCELLED, trial=trial.id)
            elif action is Action.FAIL:
                self.journal.record(
                    Event.TRIAL_FAILED, trial=trial.id, cause=cause.value, message=trial.message
                )

    def _stop_on_identical_errors(self) -> None:
        errors = self.study.errors_in_row
        if len(errors) < self._limits.identical_errors:
            return
        message = f"{len(errors)} attempts in a row ended with the same error: {errors[-1]}"
        self.journal.record(Event.STUDY_STOPPED, message=message)
        failed = max(
            (t for t in self.study.trials.values() if t.cause is Cause.ERROR), key=lambda t: t.number
        )
        raise StudyError(
            message,
            hint=f"the traceback is in {self.paths.trial(failed.id).folder}; after mending it, "
            f"`frontrunner retry {self.paths.folder}` gives the failed trials another attempt",
        )

    def _stop_on_request(self) -> None:
        """Leave, once what `cancel` has stopped is over."""
        if self.paths.stop.exists() and not self.study.in_flight:
            message = "cancelled by the user"
            self.journal.record(Event.STUDY_STOPPED, message=message)
            raise StudyError(f"study {self.paths.name}: {message}", hint="the same `tune` command goes on")

    def _end_reached(self) -> bool:
        study = self.study
        if study.in_flight:
            return False
        reason = self._budget_spent()
        if reason and not study.finished:
            self.journal.record(Event.STUDY_FINISHED, reason=reason)
        return bool(reason)

    def _budget_spent(self) -> str:
        study, limits = self.study, self._limits
        if len(study.trials) >= limits.trials:
            return f"budget.trials={limits.trials} is spent"
        if limits.wall_hours and _hours_since(study.created_at) >= limits.wall_hours:
            return f"budget.wall_hours={limits.wall_hours:g} is spent"
        return "the strategy has nothing left to propose" if self._proposer.exhausted else ""

    def _plan(self) -> None:
        """Plan one more batch: the interrupted trials, and new ones where there is room for them."""
        study = self.study
        retries = [trial.id for trial in study.in_state(TrialState.INTERRUPTED)]
        specs = self._proposer.propose(study, self._room())
        if not retries and not specs:
            return
        write_specs(self.paths, [proposed.spec for proposed in specs])
        self.journal.record(
            Event.BATCH_PLANNED,
            batch=study.next_batch,
            proposals=[proposed.to_event() for proposed in specs],
            retries=retries,
        )

    def _room(self) -> int:
        study, limits = self.study, self._limits
        in_flight = len(study.in_flight)
        if self.paths.stop.exists() or self._budget_spent() or in_flight > limits.batch_size - limits.refill:
            return 0
        return min(limits.batch_size - in_flight, limits.trials - len(study.trials))

    def _open_batches(self) -> list[Batch]:
        study = self.study
        return [
            batch
            for batch in study.batches.values()
            if any(
                study.trials[name].batch == batch.id and study.trials[name].state not in ENDED
                for name in batch.trials
            )
        ]

    def _submit_planned(self) -> None:
        for batch in self._open_batches():
            tries, not_before = self._failed_submissions.get(batch.id, (0, 0.0))
            if batch.job_id is None and self._clock() >= not_before:
                self._submit(batch, tries)

    def _submit(self, batch: Batch, tries: int) -> None:
        try:
            job_id = submit_batch(self.paths, self.study, batch, self.executor, self._target)
        except RuntimeError as error:  # the executors' family, which hpo does not know
            self.journal.record(Event.SUBMISSION_FAILED, batch=batch.id, message=str(error))
            if tries + 1 >= self._limits.submit_tries:
                raise StudyError(
                    f"batch {batch.id} could not be submitted {tries + 1} times: {error}",
                    hint="once the scheduler takes it, the same command goes on from here",
                ) from error
            wait_s = QUIET_S * 2**tries
            self._failed_submissions[batch.id] = (tries + 1, self._clock() + wait_s)
            return
        if job_id is not None:
            self.journal.record(Event.BATCH_SUBMITTED, batch=batch.id, job_id=job_id)


def _hours_since(at: str) -> float:
    started = datetime.fromisoformat(at)
    return (datetime.now(started.tzinfo) - started).total_seconds() / 3600
