"""The loop of a study: collect, decide, propose, submit. One pass is `step`; all it needs is on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime

from hpo.controller.blocked import BlockedTasks
from hpo.controller.collect import FROM_OUTSIDE, Collector
from hpo.controller.dispatch import Dispatcher
from hpo.controller.health import failing_nodes, repeated_error, stop_message
from hpo.controller.limits import Budget, Limits
from hpo.controller.proposer import ProposedTrial, Proposer, SearchProposer
from hpo.controller.remote import Remote
from hpo.controller.stopping import Stopping
from hpo.controller.submission import batch_record, forget, mend_spec, write_specs
from hpo.errors import StudyError
from hpo.fidelity.gain import Judge
from hpo.objectives import parse_objectives
from hpo.paths import StudyPaths
from hpo.ports import Executor, Task, TaskView
from hpo.records import Cause
from hpo.study.causes import Action, decide
from hpo.study.findings import record
from hpo.study.gpu_hours import account
from hpo.study.journal import Journal
from hpo.study.kept_adapters import ALL, delete_given_up, give_up, superfluous
from hpo.study.lease import HeldLease
from hpo.study.state import Event, Study, TrialState

SILENT_POLLS = 3  # in a row, after which a person is told; one or two are a scheduler that restarts
UNTIDIED_S = 120.0  # after its last trial a study ends also where nobody can see what is left in the queue
SCANCEL_HINT = (
    "the same command goes on, without these trials and without counting them as spent; `frontrunner retry` "
    "gives them another attempt; cluster.on_scancel says what follows such an end"
)


class Controller:
    """Drives one study; the caller holds its lease.

    Args:
        executor: where arrays run.
        proposer: makes the specs of new trials.
        limits: budget, batch sizes and retry budgets.
        lease: renewed on every pass; the journal confirms it before every write.
        target: `module:function` that runs a trial.
        clock: seconds since the epoch; replaced in tests.
        say: told of what did not work and will be tried again.
        targets: what the user's configuration names, for the job that proposes.
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
        clock: Callable[[], float] = time.time,
        say: Callable[[str], None] = print,
        targets: Sequence[str] = (),
    ) -> None:
        self.paths, self.journal, self.executor = paths, journal, executor
        self._proposer, self._limits, self.lease = proposer, limits, lease
        self._clock, self._say = clock, say
        self._blocked = BlockedTasks()
        self._collector = Collector(paths, executor, limits.gone_s, lease.renew)
        self._dispatcher = Dispatcher(paths, journal, executor, limits, target, clock, say)
        self._remote = Remote(paths, journal, executor, proposer, clock, say, targets)
        judge = None
        if limits.risk is not None and isinstance(proposer, SearchProposer):
            judge = Judge(proposer.optimizer, limits.risk)
        self._stopping = Stopping(paths, journal, limits, say, judge)
        self._budget = Budget(limits, paths, clock)
        self._exhausted_at = self._weighed_at = -1
        self.live: Mapping[Task, TaskView] | None = None
        self._queue: frozenset[tuple[Task, str]] = frozenset()
        self.unanswered = 0  # polls in a row

    @property
    def study(self) -> Study:
        """The study as the journal tells it now."""
        return self.journal.study

    def state(self) -> tuple[object, ...]:
        """Something that differs from what it was when the queue has moved, or something was submitted."""
        study = self.study
        return self._queue, sum(batch.job_id is not None for batch in study.batches.values()), study.requests

    def adopt(self) -> None:
        """Tell the executor of the arrays that an earlier controller left in flight, and mend their files."""
        for trial in self.study.in_flight:
            mend_spec(self.journal, self.paths, self._proposer, trial)
        for batch in self.study.open_batches:
            batch_record(self.journal, self.paths, batch)
            self.executor.adopt(str(self.paths.batch(batch.id).submission))
        delete_given_up(self.study, self.paths)
        if self.study.request is not None:
            self.executor.adopt(str(self.paths.helper(self.study.request.id)))

    def step(self, *, poll: bool = True) -> bool:
        """One pass; idempotent.

        Args:
            poll: whether to ask the scheduler; without, only files are looked at.

        Returns:
            Whether the study has ended.

        Raises:
            StudyError: the study cannot go on; the journal says why.
            OSError: the disk; nothing is lost, and the same call may be repeated.
        """
        self.lease.renew()
        live = self._poll() if poll else None
        if live is not None:
            self.live = live
            self._queue = frozenset((task, view["state"]) for task, view in live.items())
        findings = self._collector.findings(self.study, live, self._clock())
        self._stopping.look({finding.trial for finding in findings})
        for finding in findings:
            record(self.journal, finding)
        self._give_up_weights()
        if live is not None:
            self._dispatcher.rescue_stalled(live)
            self._look_for_blocked(live)
        self._settle_interrupted()
        self._look_for_faults()
        self._look_for_scancels()
        self._stop_on_request()
        if live is not None:
            self._dispatcher.sweep(live)
        self._dispatcher.submit_planned(swept=live is not None)
        if self._end_reached():
            return True
        self._plan(live)
        self._dispatcher.submit_planned(swept=live is not None)
        if live is not None:
            self._dispatcher.steer(live)
        return self._end_reached()

    def _poll(self) -> Mapping[Task, TaskView] | None:
        live = self.executor.poll()
        if live is None:
            self.unanswered += 1
            if self.unanswered == SILENT_POLLS:
                self._say(self.silence())
        else:
            if self.unanswered >= SILENT_POLLS:
                self._say("the scheduler answers again")
            self.unanswered = 0
        return live

    def silence(self) -> str:
        """What to tell of a scheduler that does not answer, with its own words."""
        return (
            f"no answer about the queue, {self.unanswered} times in a row: {self.executor.unanswered}\n"
            "results are taken all the same; what becomes of other tasks is not known until it answers\n"
            "hint: `frontrunner doctor` with the same overrides tries every call that is made here"
        )

    def _give_up_weights(self) -> None:
        """Delete what need not be kept, wherever trials have ended since the last look."""
        study = self.study
        if len(study.ends) != self._weighed_at and self._limits.keep_adapters != ALL:
            objectives = parse_objectives(study.objectives)
            give_up(self.journal, self.paths, superfluous(study, objectives, self._limits.keep_adapters))
        self._weighed_at = len(study.ends)

    def _settle_interrupted(self) -> None:
        for trial in self.study.in_state(TrialState.INTERRUPTED):
            cause = trial.cause or Cause.LOST
            cancelled = self.paths.trial(trial.id).cancel.exists()
            ended = trial.retries.get(cause, 0)
            action = Action.CANCEL if cancelled else decide(cause, ended, self._limits.retries)
            if action is Action.CANCEL:
                outside = {} if cancelled else {"outside": True, "message": trial.message}
                self.journal.record(Event.TRIAL_CANCELLED, trial=trial.id, **outside)
            elif action is Action.FAIL:
                self.journal.record(
                    Event.TRIAL_FAILED, trial=trial.id, cause=cause.value, message=trial.message
                )

    def _look_for_faults(self) -> None:
        """Exclude nodes on which everything fails, and stop where everything fails in the same way."""
        study = self.study
        if not study.ends or study.ends[-1].cause in (None, Cause.STOPPED):
            return
        nodes = self.executor.limits()["nodes"]
        for node, why in failing_nodes(study, self._limits.node_failures, nodes):
            self.journal.record(Event.NODE_EXCLUDED, node=node, message=why)
        error = repeated_error(study, self._limits.identical_errors, nodes)
        if error:
            self._stop(*stop_message(study.errors, error, self.paths))

    def _look_for_scancels(self) -> None:
        """Stop where somebody else cancels what is submitted: whoever it is would not want more of it.

        Not before all that goes the same way is seen: the rest would count as spent, and not be told of.
        """
        study, most = self.study, self._limits.scancels
        if study.scancelled >= most and not self._being_cancelled():
            tasks = "tasks were" if study.scancelled > 1 else "task was"
            self._stop(f"{study.scancelled} {tasks} cancelled {FROM_OUTSIDE}", SCANCEL_HINT)

    def _stop(self, message: str, hint: str) -> None:
        self.journal.record(Event.STUDY_STOPPED, message=message)
        raise StudyError(f"study {self.paths.name} is stopped: {message}", hint=hint)

    def _look_for_blocked(self, live: Mapping[Task, TaskView]) -> None:
        """Say what waits for somebody's help, and stop where waiting is of no use."""
        study, now = self.study, self._clock()
        for line in self._blocked.news(study, live, now):
            self._say(line)
        hopeless = self._blocked.hopeless(study, live, now)
        if hopeless and self._dispatcher.withdraw(*hopeless):
            tasks, view = hopeless
            message = f"{len(tasks)} tasks of study {study.name} will not start: {view['detail']}"
            self.journal.record(Event.STUDY_STOPPED, message=message)
            raise StudyError(message, hint=f"{view.get('hint', '')}; then the same command goes on")

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
            if not self._tidied():
                return False
            executions = account(study, self.executor)
            if executions:
                self.journal.record(Event.ACCOUNTED, executions=executions)
            self.journal.record(Event.STUDY_FINISHED, reason=reason)
        return bool(reason)

    def _tidied(self) -> bool:
        """Whether nothing of the study is left in the queue that nobody would look after from now on.

        A queue that stays unseen is left as it is: tasks whose trials have ended do nothing.
        """
        live = self._poll()
        if live is not None:
            self._dispatcher.sweep(live, last=True)
        return live is not None or self._seconds_since_last_end() > UNTIDIED_S

    def _seconds_since_last_end(self) -> float:
        last = max((trial.ended_at for trial in self.study.trials.values()), default="")
        return self._clock() - datetime.fromisoformat(last).timestamp() if last else 0.0

    def _budget_spent(self) -> str:
        spent = self._budget.spent(self.study)
        if not spent and self._proposer.exhausted:
            return "the strategy has nothing left to propose"
        return spent

    def _plan(self, live: Mapping[Task, TaskView] | None) -> None:
        """Plan more batches: the interrupted trials, and new ones where there is room for them."""
        study = self.study
        retries = [trial.id for trial in study.in_state(TrialState.INTERRUPTED)]
        request = study.request.id if study.request else None
        specs = self._proposals(live)
        write_specs(self.journal, self.paths, [proposed.spec for proposed in specs])
        wanted: list[str | ProposedTrial] = [*retries, *specs]
        size = self.executor.limits()["array_size"]
        for start in range(0, len(wanted), size):
            part = wanted[start : start + size]
            forget(self.journal, self.paths, study.next_batch)
            self.journal.record(
                Event.BATCH_PLANNED,
                batch=study.next_batch,
                proposals=[proposed.to_event() for proposed in part if isinstance(proposed, ProposedTrial)],
                retries=[name for name in part if isinstance(name, str)],
                request=request if specs else None,
                **({"outlook": asdict(outlook)} if specs and (outlook := self._proposer.outlook) else {}),
            )

    def _proposals(self, live: Mapping[Task, TaskView] | None) -> list[ProposedTrial]:
        """New trials where there is room for them; none while nothing new could be proposed."""
        room, ends = self._room(), len(self.study.ends)
        if self.paths.stop.exists():
            return []
        if self._proposer.exhausted and self._exhausted_at == ends:
            return []
        if self._limits.propose_on_job:
            proposals = self._remote.propose(room, live)
        else:
            proposals = self._proposer.propose(self.study, room)
        self._exhausted_at = ends
        return proposals

    def _room(self) -> int:
        study, limits = self.study, self._limits
        in_flight = len(study.in_flight)
        full = in_flight > limits.batch_size - limits.refill
        if full or self._dispatcher.paused or self._budget_spent() or self._being_cancelled():
            return 0
        return min(limits.batch_size - in_flight, limits.trials - study.spent)

    def _being_cancelled(self) -> bool:
        """Whether more may have been cancelled from outside than was seen: running tasks take a while."""
        jobs = {batch.job_id for batch in self.study.open_batches}
        states = {view["state"] for (job, _), view in (self.live or {}).items() if job in jobs}
        ending = "completing" in states or any(trial.missing for trial in self.study.in_flight)
        return self.study.scancelled > 0 and ending
