"""GPU-hours of a study, useful and lost: from the accounting where it was asked, else from the attempts.

A trial without a card counts as one card, so that a budget also ends a study on CPUs. Useful is what a
result or a later attempt was built on, and what taught the search that a place is infeasible.
"""

from __future__ import annotations

from dataclasses import dataclass

from hpo.paths import StudyPaths
from hpo.ports import Ending, Executor, Task
from hpo.records import Json
from hpo.study.causes import record_of, unsettled
from hpo.study.state import AttemptEnd, Study, TrialState


@dataclass(frozen=True)
class Usage:
    """GPU-seconds."""

    useful: float = 0.0
    lost: float = 0.0
    running: float = 0.0  # of attempts that are not over: useful or lost is still open

    @property
    def hours(self) -> float:
        """All of it, in GPU-hours."""
        return (self.useful + self.lost + self.running) / 3600

    def to_json(self) -> dict[str, float]:
        """GPU-hours, for scripts."""
        return {
            "gpu_hours": self.hours,
            "useful": self.useful / 3600,
            "lost": self.lost / 3600,
            "running": self.running / 3600,
        }


def used(study: Study) -> Usage:
    """What the attempts that are over have used."""
    useful = lost = 0.0
    for end in study.ends:
        seconds, gpus = measured(study, end)
        kept = end.useful(seconds)
        useful += kept * gpus
        lost += (seconds - kept) * gpus
    return Usage(useful, lost)


def useful_by_trial(study: Study) -> dict[str, float]:
    """Useful GPU-seconds by trial, of attempts that are over: of one that completed, what its result took."""
    spent: dict[str, float] = {}
    for end in study.ends:
        seconds, gpus = measured(study, end)
        spent[end.trial] = spent.get(end.trial, 0.0) + end.useful(seconds) * gpus
    return spent


def used_by_now(study: Study, paths: StudyPaths) -> Usage:
    """The same with the attempts that are not over; reads their files."""
    past, running = used(study), 0.0
    for trial in study.in_state(TrialState.OPEN):
        files = paths.trial(trial.id)
        records = (record_of(files, attempt) for attempt in unsettled(files, trial))
        running += sum(record.seconds * max(1, record.gpus) for record in records if record)
    return Usage(past.useful, past.lost, running)


def saved_hours(study: Study) -> float:
    """GPU-hours that the trials which are stopped would have used up to their ends, at their pace so far."""
    stopped = {trial.id: trial.rungs[-1].share for trial in study.in_state(TrialState.STOPPED) if trial.rungs}
    seconds = 0.0
    for end in study.ends:
        if end.trial in stopped:
            spent, gpus = measured(study, end)
            useful = min(end.useful_seconds, spent)
            seconds += useful * gpus * (1.0 / stopped[end.trial] - 1.0)
    return seconds / 3600


def measured(study: Study, end: AttemptEnd) -> tuple[float, int]:
    """(seconds, cards) of an attempt; the accounting's word where it knows this execution."""
    batch = study.batches[end.batch]
    if end.trial in batch.trials:
        told = study.executions.get(f"{batch.id}:{batch.trials.index(end.trial)}", [])
        if end.restart < len(told):
            seconds, gpus = told[end.restart][1:3]
            return float(seconds), max(1, int(gpus))
    return end.seconds, max(1, end.gpus)


def account(study: Study, executor: Executor) -> dict[str, Json] | None:
    """Ask the accounting about every task of the study, in one query.

    Returns:
        `batch:index` -> [ending, seconds, cards, node] of each execution, oldest first; None where there
        is no accounting, or no answer.
    """
    tasks: dict[Task, str] = {
        (batch.job_id, index): f"{batch.id}:{index}"
        for batch in study.batches.values()
        if batch.job_id
        for index in range(len(batch.trials))
    }
    told = executor.endings(list(tasks)) if tasks else None
    if told is None:
        return None
    return {tasks[task]: [_row(ending) for ending in told[task]] for task in tasks if task in told}


def _row(ending: Ending) -> list[Json]:
    return [ending["ending"], ending["seconds"], ending["gpus"], ending["node"]]
