"""What the controller does to the queue: submit, release, hold, throttle, and sweep up what nobody recorded.

Everything here brings the queue to what the study's files say it should be, so each call may be repeated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial

from hpo.controller.collect import tasks_of
from hpo.controller.limits import Limits, array_minutes, shares, warned_s
from hpo.controller.submission import batch_record, release, submit_held, unrecorded
from hpo.errors import StudyError
from hpo.paths import StudyPaths
from hpo.ports import OVER, WAITING, ArrayOptions, Executor, Task, TaskView, of_an_executor
from hpo.records import Cause
from hpo.study.journal import Journal
from hpo.study.state import ENDED, Batch, Event, TrialState

QUIET_S = 20.0  # after a failed submission: twice Slurm's message timeout, so a late array shows up by name
MOST_QUIET_S = 900.0
REFUSALS_TO_SPLIT = 2
STALLED = 2  # attempts in one array that ran into the time limit without getting on
STRAY_S = 60.0  # a task whose trial has ended has so long to end as well
LAST_STRAY_S = 10.0  # at the study's end


class Dispatcher:
    """Acts on the queue for one study.

    Args:
        executor: the queue.
        limits: patience, and how many trials may run at once.
        target: `module:function` that runs a trial.
        clock: seconds since the epoch.
        say: told of what did not work and will be tried again.
    """

    def __init__(
        self,
        paths: StudyPaths,
        journal: Journal,
        executor: Executor,
        limits: Limits,
        target: str,
        clock: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:
        self._paths, self._journal, self._executor = paths, journal, executor
        self._limits, self._target, self._clock, self._say = limits, target, clock, say

    @property
    def paused(self) -> bool:
        """Whether nothing new is to start."""
        return self._paths.pause.exists()

    @property
    def at_once(self) -> int | None:
        """How many trials may run at the same time: by `throttle`, else by the configuration."""
        with suppress(OSError, ValueError):
            return max(1, int(self._paths.throttle.read_text(encoding="utf-8")))
        return self._limits.max_parallel

    def submit_planned(self, *, swept: bool) -> None:
        """Submit every batch that is due.

        Args:
            swept: whether the queue was just swept; without, a batch that may be in the queue already waits.

        Raises:
            StudyError: a batch could not be submitted as often as allowed.
        """
        if self.paused or self._paths.stop.exists():
            return
        for batch in self._journal.study.open_batches:
            if self._backing_off():
                return
            tried = self._paths.batch(batch.id).record.exists()
            if batch.job_id is None and (swept or not tried) and self._due(batch):
                self._submit(batch)

    def _backing_off(self) -> bool:
        """Whether the scheduler was too busy for one of our batches a short while ago."""
        unsent = (batch for batch in self._journal.study.open_batches if batch.job_id is None)
        return any(batch.refusals and not self._due(batch) for batch in unsent)

    def _due(self, batch: Batch) -> bool:
        failures = batch.tries + batch.refusals
        wait_s = min(QUIET_S * 2 ** (failures - 1), MOST_QUIET_S) if failures else 0.0
        # a clock that was put back makes nobody wait
        return not 0.0 <= self._clock() - batch.failed_at < wait_s

    def _submit(self, batch: Batch) -> None:
        study, site = self._journal.study, self._executor.limits()
        trials = [study.trials[name] for name in batch.trials]
        minutes = array_minutes(study, trials, site, auto=self._limits.auto_time_limit)
        share = self._shares().get(batch.id)
        options = self._options(minutes, share)
        warned = warned_s(minutes or site["default_minutes"], site["warning_s"])
        try:
            job_id = submit_held(
                self._journal, self._paths, batch, self._executor, self._target, options, warned
            )
        except RuntimeError as error:
            if not of_an_executor(error):
                raise
            self._submission_failed(batch, error)
            return
        self._journal.record(Event.BATCH_SUBMITTED, batch=batch.id, job_id=job_id)
        if share is None or share > 0:
            self._try(f"release array {job_id}", lambda: self._release(batch))

    def _options(self, minutes: int | None, share: int | None) -> ArrayOptions:
        options: ArrayOptions = {}
        if minutes is not None:
            options["time_limit_min"] = minutes
        if share is not None:
            options["at_once"] = max(1, share)
        if self._journal.study.excluded:
            options["exclude"] = sorted(self._journal.study.excluded)
        return options

    def _submission_failed(self, batch: Batch, error: RuntimeError) -> None:
        busy = bool(getattr(error, "busy", False))
        since = self._clock()
        self._journal.record(
            Event.SUBMISSION_FAILED, batch=batch.id, message=str(error), busy=busy, since=since
        )
        if busy and batch.refusals >= REFUSALS_TO_SPLIT and len(batch.trials) > 1 and self._alone(batch):
            # nothing of ours is in the queue, and still it is too much at once
            into, keep = self._journal.study.next_batch, len(batch.trials) // 2
            self._journal.record(Event.BATCH_SPLIT, batch=batch.id, into=into, keep=keep)
        permanent = bool(getattr(error, "permanent", False))
        if permanent or batch.tries >= self._limits.submit_tries:
            times = "" if permanent else f" {batch.tries} times"
            message = f"batch {batch.id} could not be submitted{times}: {error}"
            self._journal.record(Event.STUDY_STOPPED, message=message)
            raise StudyError(message, hint="once the scheduler takes it, the same command goes on from here")

    def _alone(self, batch: Batch) -> bool:
        return all(other.job_id is None for other in self._journal.study.open_batches)

    def sweep(self, live: Mapping[Task, TaskView], *, last: bool = False) -> None:
        """Cancel the tasks of this study that no record knows, and those whose trial ended elsewhere.

        Args:
            live: the scheduler's answer.
            last: the study is over, so what waits in the queue for a trial that has ended would stay there.
        """
        study = self._journal.study
        strays = unrecorded(self._paths, study, live)
        by_job = {batch.job_id: batch for batch in study.batches.values() if batch.job_id}
        for (job_id, index), view in live.items():
            batch = by_job.get(job_id)
            if batch is None or view["state"] == OVER or index >= len(batch.trials):
                continue
            trial = study.trials[batch.trials[index]]
            moved = trial.batch != batch.id
            since = study.batches[trial.batch].planned_at if moved else trial.ended_at
            waits = last and view["state"] in WAITING
            over_s = self._seconds_since(since)
            if (moved or trial.state in ENDED) and (waits or over_s > (LAST_STRAY_S if last else STRAY_S)):
                strays.add((job_id, index))
        if strays:
            self._try("cancel stray tasks", lambda: self._executor.cancel(strays))

    def _seconds_since(self, at: str) -> float:
        return self._clock() - datetime.fromisoformat(at).timestamp() if at else 0.0

    def rescue_stalled(self, live: Mapping[Task, TaskView]) -> None:
        """Take trials that their time limit keeps from getting on out of their array: the next has longer."""
        study = self._journal.study
        tasks = tasks_of(study)
        for trial in study.in_state(TrialState.OPEN):
            task = tasks.get(trial.id)
            view = live.get(task) if task else None
            if trial.stalled < STALLED or not task or not view or view["state"] not in WAITING:
                continue
            if sum(end.trial == trial.id and end.batch == trial.batch for end in study.ends) >= STALLED:
                self._try("cancel a stalled task", partial(self._executor.cancel, [task]))
                self._journal.record(
                    Event.ATTEMPT_ENDED,
                    trial=trial.id,
                    batch=trial.batch,
                    cause=Cause.TIMED_OUT.value,
                    message="its time limit is too short to get on; the next attempt has twice the time",
                    attempt=None,
                )

    def withdraw(self, tasks: Collection[Task], view: TaskView) -> bool:
        """Take tasks that will not start out of the queue, so that their trials go on in another array.

        Args:
            tasks: of open batches.
            view: what the scheduler says of one of them.

        Returns:
            Whether they are gone.
        """
        if not self._try("cancel tasks that will not start", lambda: self._executor.cancel(tasks)):
            return False
        study, wanted = self._journal.study, set(tasks)
        withdrawn = {trial for trial, task in tasks_of(study).items() if task in wanted}
        for trial in study.in_state(TrialState.OPEN):
            if trial.id in withdrawn:
                self._journal.record(
                    Event.ATTEMPT_ENDED,
                    trial=trial.id,
                    batch=trial.batch,
                    cause=Cause.LOST.value,
                    message=f"it could not start: {view['detail']}",
                    attempt=None,
                )
        return True

    def steer(self, live: Mapping[Task, TaskView]) -> None:
        """Release, hold and throttle the arrays in the queue as pause, throttle and limits ask for."""
        states: dict[str, set[str]] = defaultdict(set)
        for (job_id, _), view in live.items():
            states[job_id].add(view["state"])
        given = self._shares()
        for batch in self._journal.study.open_batches:
            if batch.job_id is not None:
                self._steer_array(batch, batch.job_id, states[batch.job_id], given.get(batch.id))

    def _steer_array(self, batch: Batch, job_id: str, states: set[str], share: int | None) -> None:
        may_start = not self.paused and share != 0
        if "held" in states and may_start:
            self._try(f"release array {job_id}", lambda: self._release(batch))
        if "pending" in states and not may_start:
            self._try(f"hold array {job_id}", lambda: self._executor.hold(job_id))
        if may_start and states.intersection(WAITING):
            self._throttle(batch, job_id, share)

    def _release(self, batch: Batch) -> None:
        release(self._journal, self._paths, batch, self._executor)

    def _throttle(self, batch: Batch, job_id: str, share: int | None) -> None:
        record = batch_record(self._journal, self._paths, batch)
        if record is None or record.at_once == share:
            return
        if self._try(f"throttle array {job_id}", lambda: self._executor.throttle(job_id, share)):
            self._journal.write(self._paths.batch(batch.id).record, replace(record, at_once=share).to_json())

    def _shares(self) -> dict[str, int]:
        """batch -> how many of its tasks may run at once; empty where there is no limit."""
        at_once, study = self.at_once, self._journal.study
        if at_once is None:
            return {}
        unfinished = [
            (batch.id, sum(study.trials[name].state not in ENDED for name in batch.trials))
            for batch in study.open_batches
        ]
        return shares(unfinished, at_once)

    def _try(self, what: str, act: Callable[[], None]) -> bool:
        """Do what the next look at the queue will do again where it fails; returns whether it worked."""
        self._journal.confirm()  # to another controller's journal, other tasks are strays
        try:
            act()
        except RuntimeError as error:
            if not of_an_executor(error):
                raise
            self._say(f"could not {what}, trying again later: {error}")
            return False
        return True
