"""What became of the trials in flight: files and scheduler joined into one state and one cause each.

A result file outranks every state of the scheduler; a scheduler that cannot be asked is no information.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from hpo.paths import StudyPaths, TrialPaths
from hpo.ports import OVER, WAITING, Executor, Task, TaskView
from hpo.records import BatchRecord, Cause, Failure, RecordError, StoppedResult, TrialResult
from hpo.study.causes import attempt_cost, end_cause, pulse, record_of, requeue_cause, unsettled
from hpo.study.findings import Cancelled, Completed, Ended, Finding, NotSeen, SeenAgain, Stopped
from hpo.study.state import MissingTask, Study, Trial, TrialState

FROM_OUTSIDE = "by scancel, not by `frontrunner cancel`"
# Ends that the scheduler explains and that keep a task from coming as far as our code.
OUT_OF_ROOM = (Cause.HOST_OUT_OF_MEMORY, Cause.TIMED_OUT)


@dataclass
class Collector:
    """Looks at every trial in flight.

    Args:
        executor: asked for the accounting and the log of tasks that are gone.
        gone_s: a task that has not been live for so long, without a result, is over.
        confirm: see `Journal`; only who drives a study moves a damaged result aside.
    """

    paths: StudyPaths
    executor: Executor
    gone_s: float
    confirm: Callable[[], None] = lambda: None
    _warned_s: dict[str, float | None] = field(default_factory=dict)

    def findings(self, study: Study, live: Mapping[Task, TaskView] | None, now: float) -> list[Finding]:
        """What is new of the trials in flight.

        Args:
            study: as the journal tells it.
            live: the scheduler's answer, asked for before this call; None where it gave none.
            now: seconds since the epoch.
        """
        found: list[Finding] = []
        gone: dict[Task, tuple[Trial, MissingTask]] = {}
        tasks = tasks_of(study)
        for trial in study.in_state(TrialState.OPEN):
            written = list(self._written(trial))
            if written:
                found += written
                continue
            task = tasks.get(trial.id)
            if task is None:
                found += [Cancelled(trial.id, "before it began")] if self._marked(trial) else []
            elif live is not None:
                found += self._seen(trial, task, live.get(task), now, gone)
        return [*found, *self._verdicts(study, gone, now)]

    def _written(self, trial: Trial) -> Iterator[Finding]:
        """What the trial's own files say of its end, the attempts before it first."""
        files = self.paths.trial(trial.id)
        if not files.tell_an_end():
            return
        last = _result(files, trial, self.confirm) or _failure(files, trial) or _stop(files, trial)
        if last is None:
            return
        final = last.cost.attempt
        for attempt in unsettled(files, trial):
            if final is not None and attempt < final:
                yield self._requeued(trial, attempt)
        yield last

    def _requeued(self, trial: Trial, attempt: int) -> Ended:
        files = self.paths.trial(trial.id)
        record = record_of(files, attempt)
        batch = record.batch if record else trial.batch
        cause = requeue_cause(record, self._warned(batch))
        message = "its task went back into the queue"
        return Ended(trial.id, batch, cause, message, attempt_cost(files, attempt, cause), requeued=True)

    def _warned(self, batch: str) -> float | None:
        if batch not in self._warned_s:
            try:
                self._warned_s[batch] = BatchRecord.read(self.paths.batch(batch).record).warned_s
            except (FileNotFoundError, RecordError):
                return None
        return self._warned_s[batch]

    def _marked(self, trial: Trial) -> bool:
        return self.paths.trial(trial.id).cancel.exists()

    def _seen(
        self,
        trial: Trial,
        task: Task,
        view: TaskView | None,
        now: float,
        gone: dict[Task, tuple[Trial, MissingTask]],
    ) -> list[Finding]:
        """What the scheduler's view of a trial's task means; a task to be judged goes into `gone`."""
        if view is not None and view["state"] != OVER:
            again: list[Finding] = [SeenAgain(trial.id)] if trial.missing else []
            if view["state"] in WAITING:
                attempts = unsettled(self.paths.trial(trial.id), trial)
                again += [self._requeued(trial, attempt) for attempt in attempts]
            return again
        missing = trial.missing
        if missing is None or now < missing.since:  # the clock was put back: the time is counted anew
            shown = (view["ending"], view["detail"], view["node"]) if view else ("", "", "")
            missing = MissingTask(now, *shown, pulse(self.paths.trial(trial.id)))
        if now - missing.since < self.gone_s and not self._marked(trial):
            return [NotSeen(trial.id, missing)] if missing is not trial.missing else []
        gone[task] = (trial, missing)
        return []

    def _verdicts(
        self, study: Study, gone: Mapping[Task, tuple[Trial, MissingTask]], now: float
    ) -> Iterator[Finding]:
        """One accounting query at most, for the tasks of which the scheduler had no word left."""
        unknown = [task for task, (trial, missing) in gone.items() if not missing.ending]
        accounted = (self.executor.endings(unknown) if unknown else None) or {}
        for task, (trial, missing) in gone.items():
            # the result may have been written between our look and the scheduler's
            written = list(self._written(trial))
            if written:
                yield from written
                continue
            told = accounted.get(task) or ()
            if told and not missing.ending:
                last = told[-1]
                detail = f"exit code {last['exit']}"
                missing = replace(missing, ending=last["ending"], detail=detail, node=last["node"])
            yield from self._verdict(study, trial, task, missing, now)

    def _verdict(
        self, study: Study, trial: Trial, task: Task, missing: MissingTask, now: float
    ) -> Iterator[Finding]:
        files = self.paths.trial(trial.id)
        begun = unsettled(files, trial)
        for earlier in begun[:-1]:
            yield self._requeued(trial, earlier)
        attempt = begun[-1] if begun else None
        if self._marked(trial):
            if attempt is not None:
                cost = attempt_cost(files, attempt, Cause.CANCELLED, missing.node)
                message = _told(missing, attempt)
                yield Ended(trial.id, trial.batch, Cause.CANCELLED, message, cost, requeued=True)
            yield Cancelled(trial.id, "")
            return
        cause = end_cause(missing.ending, None if attempt is None else record_of(files, attempt))
        if cause is Cause.LOST and (beat := pulse(files)) != missing.pulse:
            # It is at work, whatever the scheduler shows: its time is counted anew.
            yield NotSeen(trial.id, replace(trial.missing or missing, since=now, pulse=beat))
            return
        cause, message, blocked = self._explained(trial, task, missing, cause, attempt)
        blocked = blocked and not self._begun(study)
        cost = attempt_cost(files, attempt, cause, missing.node)
        yield Ended(trial.id, trial.batch, cause, message, cost, blocked=blocked)

    def _explained(
        self, trial: Trial, task: Task, missing: MissingTask, cause: Cause, attempt: int | None
    ) -> tuple[Cause, str, bool]:
        """Cause and message of an end, and whether its task ran and did not come as far as our code."""
        message = _told(missing, attempt)
        if cause is Cause.CANCELLED:
            return cause, FROM_OUTSIDE, False
        if cause is not Cause.LOST:
            return cause, message, attempt is None and bool(missing.node) and cause in OUT_OF_ROOM
        lines = self.executor.last_log_lines(str(self.paths.batch(trial.batch).submission), task)
        if attempt is not None:
            last = f"; its log ends with: {lines.splitlines()[-1]}" if lines else ""
            return cause, message + last, False
        if lines:  # Python, its packages or the set-up lines are to blame
            return Cause.ERROR, lines, True
        if lines is None and missing.node:
            return cause, f"{message} and wrote nothing: {self._unseen()}", True
        return cause, message, False

    def _unseen(self) -> str:
        return f"the nodes may not see {self.paths.folder}, or cluster.setup or cluster.python says nothing"

    def _begun(self, study: Study) -> bool:
        """Whether any attempt of the study has ever begun."""
        ended = any(end.attempt is not None for end in study.ends)
        return ended or any(unsettled(self.paths.trial(trial.id), trial) for trial in study.in_flight)


def tasks_of(study: Study) -> dict[str, Task]:
    """trial -> the task that was last submitted for it, of the batches that are not over."""
    return {
        name: (batch.job_id, index)
        for batch in study.open_batches
        if batch.job_id
        for index, name in enumerate(batch.trials)
        if study.trials[name].batch == batch.id
    }


def _told(missing: MissingTask, attempt: int | None) -> str:
    when = "without a result" if attempt else "before the trial began"
    words = " ".join(part for part in (missing.detail, f"on {missing.node}" if missing.node else "") if part)
    return f"its task ended {when}" + (f" ({words})" if words else "")


def _result(files: TrialPaths, trial: Trial, confirm: Callable[[], None]) -> Completed | Ended | None:
    if not files.metrics.exists():
        return None
    try:
        result = TrialResult.read(files.metrics)
        if result.trial != trial.id:
            raise RecordError(
                f"{files.metrics}: expected the result of trial {trial.id}, got {result.trial}'s"
            )
    except RecordError as error:
        # A commit is whole or not at all, so this is a damaged disk or somebody's hand. Out of the way with
        # it: as long as it is there, another attempt would take the trial for done.
        confirm()
        files.metrics.rename(files.folder / f"metrics.damaged-{uuid.uuid4().hex[:8]}.json")
        return _settled(files, trial, Cause.LOST, str(error), next(reversed(unsettled(files, trial)), None))
    return Completed(trial.id, trial.batch, result, attempt_cost(files, result.attempt, None))


def _failure(files: TrialPaths, trial: Trial) -> Ended | None:
    for path in files.failures():
        attempt = int(path.stem.split("-")[1])
        if attempt in trial.ended_attempts:
            continue
        try:
            failure = Failure.read(path)
            return _settled(files, trial, Cause(failure.cause), failure.message, attempt)
        except (RecordError, ValueError) as error:
            return _settled(files, trial, Cause.LOST, f"{_name(path)} is damaged: {error}", attempt)
    return None


def _stop(files: TrialPaths, trial: Trial) -> Stopped | Ended | None:
    """The end of an attempt at a rung, which only a trial has that has reached one."""
    for path in files.stops() if trial.rungs else ():
        attempt = int(path.stem.split("-")[1])
        if attempt in trial.ended_attempts:
            continue
        try:
            result = StoppedResult.read(path)
        except RecordError as error:
            return _settled(files, trial, Cause.LOST, f"{_name(path)} is damaged: {error}", attempt)
        return Stopped(trial.id, trial.batch, result, attempt_cost(files, attempt, Cause.STOPPED))
    return None


def _settled(files: TrialPaths, trial: Trial, cause: Cause, message: str, attempt: int | None) -> Ended:
    return Ended(trial.id, trial.batch, cause, message, attempt_cost(files, attempt, cause))


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
