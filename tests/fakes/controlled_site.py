"""A study folder, a scheduler in memory and a clock; trials are files that the test writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from memory_executor import MemoryExecutor, Scheduler

from hpo.controller.controller import Controller
from hpo.controller.limits import Limits
from hpo.controller.proposer import SearchProposer
from hpo.objectives import parse_objectives
from hpo.paths import StudyPaths
from hpo.records import AttemptRecord, Failure, Lease, Metric, TrialResult, TrialSpec, read_jsonl, write_json
from hpo.space.space import parse_space
from hpo.study.journal import Journal
from hpo.study.lease import HeldLease
from hpo.study.state import Event
from hpo.study.store import create_study

LIMITS = Limits(
    trials=10,
    wall_hours=None,
    gpu_hours=None,
    batch_size=4,
    refill=4,
    identical_errors=3,
    node_failures=3,
    submit_tries=3,
    gone_s=30.0,
    retries={
        "preempted": 9,
        "node_failure": 9,
        "timed_out": 9,
        "host_out_of_memory": 1,
        "lost": 2,
        "error": 1,
    },
)


class Site:
    """A study folder, a scheduler and a clock, from which controllers are made and killed."""

    def __init__(self, folder: Path, limits: Limits = LIMITS) -> None:
        self.paths, self.scheduler, self.limits = StudyPaths(folder / "study"), Scheduler(), limits
        self.now = 1.0e9
        self.said: list[str] = []
        self.enqueue: list[dict[str, float]] = []
        created = {"objectives": {"loss": {"direction": "min", "threshold": None}}, "settings": {}}
        create_study(self.paths, {}, {}, created)

    def controller(self, **executor: Any) -> Any:
        """A controller; tests reach for what only its parts in memory have."""
        proposer = SearchProposer(
            space=parse_space({"x": "interval(0, 1)"}),
            objectives=parse_objectives({"loss": "min"}),
            strategy={"name": "sobol"},
            recipe={"trainer": {"x": 0.5}},
            seed=0,
            enqueue=list(self.enqueue),
            cache="/cache",
        )
        lease = HeldLease(self.paths.controller)
        journal = Journal(self.paths.journal, confirm=lease.renew)
        journal.record(Event.CONTROLLER_STARTED)
        backend: Any = MemoryExecutor(self.scheduler, **executor)
        clock = lambda: self.now  # noqa: E731
        return Controller(
            self.paths, journal, backend, proposer, self.limits, lease, "t:m", clock, self.said.append
        )

    def die(self) -> None:
        """The controller's process is gone, with its lease left behind as a dead one's."""
        self.paths.controller.unlink()

    def finish(self, arguments: tuple[str, ...]) -> None:
        trial = arguments[2]
        spec = TrialSpec.read(self.paths.trial(trial).spec)
        write_json(
            self.paths.trial(trial).metrics,
            TrialResult(trial, 1, {"loss": Metric(float(spec.params["x"]))}).to_json(),
        )

    def fail(self, trial: str, attempt: int, cause: str, message: str = "as asked") -> None:
        write_json(
            self.paths.trial(trial).failure(attempt), Failure(trial, attempt, cause, message).to_json()
        )

    def begin(self, trial: str, number: int = 1, batch: str = "0000", **more: Any) -> None:
        """An attempt of a trial has begun, and says so."""
        files = self.paths.trial(trial)
        write_json(files.lease, Lease(trial, number, batch, "1_0", 0, "node", 1).to_json())
        files.attempts.mkdir(exist_ok=True)
        record = AttemptRecord(trial, number, batch, "1_0", number - 1, "node", 1, **more)
        write_json(files.attempt(number), record.to_json())

    def events(self, kind: str) -> list[dict[str, object]]:
        """The events of one kind, in order."""
        return [event for event in read_jsonl(self.paths.journal) if event["event"] == kind]

    def vanish(self, controller: Controller, word: str = "") -> None:
        """All tasks end without a result, with a word of the scheduler or none; the controller notices."""
        keys = list(self.scheduler.tasks)
        self.scheduler.tasks.clear()
        if word:
            self.scheduler.over.update(dict.fromkeys(keys, word))
        controller.step()
        self.now += self.limits.gone_s + 1
        controller.step()

    def run_all(self) -> list[str]:
        started = self.scheduler.start_all()
        for arguments in started:
            self.finish(arguments)
        return [arguments[2] for arguments in started]
