"""What is known of a study at one moment, from its files alone. Standard library only: `status` is quick."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from hpo.objectives import Objective, Objectives, parse_objectives
from hpo.pareto import front, hypervolume, minimised, reference_point
from hpo.paths import StudyPaths
from hpo.records import Progress, RecordError
from hpo.study.gpu_hours import Usage, used_by_now
from hpo.study.journal import load_study
from hpo.study.lease import ControllerLease, owner_alive
from hpo.study.queue_view import QueueView, read_queue, waiting
from hpo.study.state import Study, Trial, TrialState

TAIL_BYTES = 4096  # more than one progress record, less than a disk block or two


@dataclass(frozen=True)
class Running:
    """A trial that has begun: its newest progress record."""

    trial: Trial
    progress: Progress

    @property
    def seconds_left(self) -> float | None:
        """Training time left at the pace so far; None before the first step and after the last."""
        done, steps = self.progress.step, self.progress.steps
        if not 0 < done < steps:
            return None
        return self.progress.train_seconds / done * (steps - done)


@dataclass(frozen=True)
class Snapshot:
    """A study at one moment."""

    paths: StudyPaths
    study: Study
    running: list[Running]
    controller: ControllerLease | None  # of a living controller
    queue: QueueView = field(default_factory=QueueView)

    @cached_property
    def usage(self) -> Usage:
        """GPU-hours by now."""
        return used_by_now(self.study, self.paths)

    @property
    def objectives(self) -> dict[str, Objective]:
        """What is optimised."""
        return parse_objectives(self.study.objectives)

    @property
    def waiting(self) -> Mapping[str, int]:
        """Why trials wait, in the scheduler's own words, and how many for each reason."""
        return waiting(self.queue)

    @cached_property
    def over(self) -> set[str]:
        """The open trials that have ended, as their files say, of which the journal does not know yet."""
        return {trial.id for trial in self.study.in_state(TrialState.OPEN) if _over(self.paths, trial)}

    @property
    def queued(self) -> list[Trial]:
        """The open trials that have not begun."""
        begun = {running.trial.id for running in self.running} | self.over
        return [trial for trial in self.study.in_flight if trial.id not in begun]

    @property
    def state(self) -> str:
        """One word or a few for the whole study."""
        if self.study.finished:
            done = "complete" if self.study.in_state(TrialState.COMPLETED) else self.study.ending
            return f"{done}: {self.study.finished}"
        if self.study.stopped:
            return f"stopped: {self.study.stopped}"
        if self.controller:
            return f"driven by pid {self.controller.pid} on {self.controller.host}"
        if self.study.next_step:
            job, at = self.study.next_step
            return f"between two steps of a chain: job {job} takes the next, in the queue since {at[:16]} UTC"
        return "no controller is at work; the same `tune` command goes on"


def take(paths: StudyPaths) -> Snapshot:
    """Read a study's files.

    Raises:
        RecordError: the journal is damaged before its last line.
    """
    study = load_study(paths.journal)
    return Snapshot(paths, study, running_trials(paths, study), _controller(paths), read_queue(paths.queue))


def running_trials(paths: StudyPaths, study: Study) -> list[Running]:
    """The open trials that have begun, with their newest progress."""
    found = []
    for trial in study.in_state(TrialState.OPEN):
        progress = None if _over(paths, trial) else last_progress(paths.trial(trial.id).progress)
        if progress and progress.attempt not in trial.ended_attempts:
            found.append(Running(trial, progress))
    return found


def _over(paths: StudyPaths, trial: Trial) -> bool:
    """Whether a trial has a result, or an attempt whose failure or stop the journal does not know."""
    files = paths.trial(trial.id)
    ended = [*files.failures(), *(files.stops() if trial.rungs else ())]
    attempts = (int(path.stem.partition("-")[2]) for path in ended)
    return files.metrics.exists() or any(attempt not in trial.ended_attempts for attempt in attempts)


def last_progress(path: Path) -> Progress | None:
    """The last whole line of a progress log, read from its end."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - TAIL_BYTES))
            lines = stream.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        try:
            return Progress.from_json(json.loads(line), path)
        except (ValueError, RecordError, AttributeError):
            continue  # the first line of the tail may be cut
    return None


def measured_trials(study: Study, objectives: Objectives) -> list[Trial]:
    """The completed trials that measured every objective, by number.

    Those from before the objectives of a study were changed may lack one.
    """
    completed = study.in_state(TrialState.COMPLETED)
    return [trial for trial in completed if all(name in trial.metrics for name in objectives)]


def pareto_trials(study: Study, objectives: dict[str, Objective]) -> list[Trial]:
    """The completed trials on the Pareto front, by the first objective."""
    completed = study.in_state(TrialState.COMPLETED)
    rows = [objective_row(trial, objectives) for trial in completed]
    return sorted((completed[i] for i in front(rows)), key=lambda trial: objective_row(trial, objectives))


def volume(study: Study, objectives: dict[str, Objective]) -> float:
    """The hypervolume of the completed trials, from the reference point that they imply."""
    rows = [objective_row(trial, objectives) for trial in study.in_state(TrialState.COMPLETED)]
    return hypervolume(rows, reference_point(rows, objectives))


def reference(study: Study, objectives: Mapping[str, Objective]) -> dict[str, float]:
    """The reference point of `volume`, in the objectives' own units."""
    rows = [objective_row(trial, objectives) for trial in study.in_state(TrialState.COMPLETED)]
    point = reference_point(rows, objectives)
    return {name: own.minimised(value) for (name, own), value in zip(objectives.items(), point, strict=True)}


def objective_row(trial: Trial, objectives: Mapping[str, Objective]) -> tuple[float, ...]:
    """A completed trial's objectives, signed so that less is better."""
    values = {name: metric.value for name, metric in trial.metrics.items()}
    return minimised(values, objectives)


def _controller(paths: StudyPaths) -> ControllerLease | None:
    try:
        lease = ControllerLease.read(paths.controller)
    except (FileNotFoundError, RecordError):
        return None
    return lease if owner_alive(lease, stale_s=180.0) else None


def elapsed_s(study: Study) -> float:
    """Seconds from the study's creation to its last event, or while it goes on to now, if that is later."""
    started = datetime.fromisoformat(study.created_at)
    last = datetime.fromisoformat(study.last_at or study.created_at)
    end = last if study.finished else max(last, datetime.now(UTC))  # a simulated clock runs ahead
    return (end - started).total_seconds()
