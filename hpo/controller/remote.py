"""Proposals made in a small job of their own, so that fitting leaves the login node alone.

helpers/<request>/             submission files and logs of the job            executor
helpers/<request>/answer.json  the proposals; the first commit wins            the job

The job replays the journal as any controller does and asks the same proposer, so that its answer is the one
that the controller would have given itself.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpo.controller.proposer import ProposedTrial, Proposer
from hpo.controller.submission import study_prefix
from hpo.errors import StudyError
from hpo.paths import StudyPaths
from hpo.ports import OVER, Executor, Task, TaskView, of_an_executor
from hpo.records import RecordError, read_json, write_json_once
from hpo.study.journal import Journal, load_study
from hpo.study.state import Event, LeftToGain, ProposalRequest

TARGET = "hpo.controller.remote:main"
SETTLE_S = 30.0  # longer than a shared disk hides a new file
MOST_FAILURES = 3  # in a row


@dataclass
class Remote:
    """Asks for proposals and collects them.

    Args:
        executor: where the job runs.
        proposer: makes the specs from the answer.
        clock: seconds since the epoch.
        say: told of what did not work and will be tried again.
        targets: that the user's configuration names, so that the job may import them.
    """

    paths: StudyPaths
    journal: Journal
    executor: Executor
    proposer: Proposer
    clock: Callable[[], float]
    say: Callable[[str], None]
    targets: Sequence[str] = ()

    def propose(self, room: int, live: Mapping[Task, TaskView] | None) -> list[ProposedTrial]:
        """The answer to the present request; a new request where there is none.

        Args:
            room: how many trials are wanted.
            live: the scheduler's answer; None where it gave none.

        Raises:
            StudyError: the job has failed several times in a row.
        """
        request = self.journal.study.request
        if request is None:
            if room > 0 and live is not None:
                self._ask(room)
            return []
        answer = self.paths.answer(request.id)
        if answer.exists():
            return self._read(answer)
        if live is not None:
            self._watch(request, live.get((request.job_id, 0)))
        return []

    def _ask(self, room: int) -> None:
        study = self.journal.study
        name = f"propose-{study.requests:04d}-{uuid.uuid4().hex[:6]}"
        folder = self.paths.helper(name)
        self.journal.confirm()
        folder.mkdir(parents=True)
        arguments = [(str(self.paths.folder), name, str(room), *self.targets)]
        try:
            job_id = self.executor.submit(
                name=study_prefix(study) + name,
                folder=str(folder),
                target=TARGET,
                arguments=arguments,
                options={"helper": True},
            )
        except RuntimeError as error:
            if not of_an_executor(error):
                raise
            self.say(f"could not submit the job that proposes, trying again later: {error}")
            return
        self.journal.record(
            Event.PROPOSAL_REQUESTED, request=name, job_id=job_id, room=room, since=self.clock()
        )
        self._release(job_id)

    def _release(self, job_id: str) -> None:
        """Let the job start; where that fails, the next look at the queue finds it held and tries again."""
        self.journal.confirm()
        try:
            self.executor.release(job_id)
        except RuntimeError as error:
            if not of_an_executor(error):
                raise
            self.say(f"could not release the job that proposes, trying again later: {error}")

    def _read(self, answer: Path) -> list[ProposedTrial]:
        try:
            record = read_json(answer)
            chosen = [(each["params"], each["origin"], each["note"]) for each in record["proposals"]]
        except (RecordError, KeyError, TypeError) as error:
            self.journal.record(Event.PROPOSAL_FAILED, message=f"{answer}: {error}")
            return []
        if not chosen:  # there will be no batch to settle the request
            message = "the strategy has nothing to propose"
            self.journal.record(Event.PROPOSAL_FAILED, message=message, empty=True)
        self.proposer.exhausted = bool(record["exhausted"])
        outlook = record.get("outlook")
        self.proposer.outlook = LeftToGain(**outlook) if outlook else None
        return self.proposer.make_trials(self.journal.study, chosen)

    def _watch(self, request: ProposalRequest, view: TaskView | None) -> None:
        if view is not None and view["state"] == "held":
            self._release(request.job_id)
        over = view is None or view["state"] == OVER
        if not over or 0.0 <= self.clock() - request.since < SETTLE_S:
            return
        said = self.executor.last_log_lines(str(self.paths.helper(request.id)), (request.job_id, 0))
        message = f"job {request.job_id} ended without proposals: {said or 'it wrote nothing'}"
        self.journal.record(Event.PROPOSAL_FAILED, message=message)
        if self.journal.study.failed_requests >= MOST_FAILURES:
            self.journal.record(Event.STUDY_STOPPED, message=message)
            raise StudyError(message, hint="controller.propose_on=login proposes in the controller itself")


def main(study_folder: str, request: str, room: str, *targets: str) -> None:
    """Propose, in a job: what `Remote` submits.

    Args:
        room: how many trials are wanted.
        *targets: executors and trial kinds that the controller was told of by its user.
    """
    from hpo.controller.assembly import assemble
    from hpo.controller.targets import refuse_unknown_targets
    from hpo.study.store import read_configuration

    paths = StudyPaths(Path(study_folder))
    answer = paths.answer(request)
    if answer.exists():
        return
    study = load_study(paths.journal)
    now: dict[str, Any] = {key: value for key, value in study.settings.items() if key != "executor"}
    raw = {**read_configuration(paths)["config"], **now}
    refuse_unknown_targets(raw, targets)
    proposer = assemble(raw, []).proposer()
    proposals = [make_trials.to_event() for make_trials in proposer.propose(study, int(room))]
    outlook = {"outlook": asdict(proposer.outlook)} if proposer.outlook else {}
    write_json_once(answer, {"proposals": proposals, "exhausted": proposer.exhausted, **outlook})
    print(f"{len(proposals)} proposals", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
