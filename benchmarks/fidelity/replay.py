"""The trials of the simulated cluster on GPUs of a virtual clock, for a scheduler that is not ours.

What a trial measures, when, and how it ends is what `jobs` has for the simulated cluster; no queue, no
interruptions, and every decision is taken at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from importlib import import_module
from typing import Any, Protocol

from benchmarks.fidelity.outcome import Outcome, Recipe, gpu_hours
from hpo.controller.assembly import Assembly
from hpo.controller.proposer import trial_seed
from hpo.pareto import Row, minimised
from hpo.records import Metric, TrialSpec
from hpo.study.recipe import apply_params
from hpo.study.state import TrialState, trial_id
from jobs.attempt.rungs import rung_steps
from jobs.simulation.execution import Course, CourseOf

Metrics = Mapping[str, Metric]


class Scheduler(Protocol):
    """What proposes trials, numbered from 0, and decides which go on; values are minimised."""

    def suggest(self, number: int) -> dict[str, Any]:
        """The parameters of the next trial, which begins now."""

    def goes_on(self, number: int, rung: float, row: Row) -> bool:
        """Whether a trial that has measured at a rung goes on; one that does not is over."""

    def ended(self, number: int, row: Row | None) -> None:
        """A trial has come to its end with these values; None: it failed."""


@dataclass(frozen=True)
class Station:
    """Where something happens in a trial.

    Args:
        age_s: seconds from the trial's beginning.
        rung: None: its end.
        metrics: that it measures there; None: it fails.
    """

    age_s: float
    rung: float | None
    metrics: Metrics | None


@dataclass
class Replayed:
    """A trial of a replay."""

    recipe: Recipe
    began_s: float
    stations: list[Station]  # ahead of it
    state: TrialState = TrialState.OPEN
    ended_s: float = math.inf

    @property
    def next_s(self) -> float:
        """When it comes to its next station."""
        return self.began_s + self.stations[0].age_s

    def end(self, state: TrialState, at: float) -> None:
        """It is over."""
        self.state, self.ended_s = state, at


Begin = Callable[[int, Mapping[str, Any]], tuple[Recipe, list[Station]]]  # of a number and parameters


def stations(course: Course, rungs: Mapping[int, list[float]]) -> list[Station]:
    """Of a trial that nobody stops, in their order; the last is its end.

    Args:
        rungs: by the step at which they are reached.
    """
    step_s = course.seconds / course.steps
    last, failed = (course.failure[0], True) if course.failure else (course.steps, False)
    found = [
        Station(course.start_seconds + step * step_s, rung, dict(course.at_rung(rung, step)))
        for step in sorted(rungs)
        for rung in rungs[step]
        if step < last
    ]
    end = None if failed else dict(course.at_end())
    return [*found, Station(course.start_seconds + last * step_s, None, end)]


def beginning(parts: Assembly) -> Begin:
    """How trials of a study begin: as its own controller and the simulated cluster have them."""
    course: CourseOf = import_module(parts.target.partition(":")[0]).course

    def begin(number: int, params: Mapping[str, Any]) -> tuple[Recipe, list[Station]]:
        recipe = apply_params(parts.recipe, parts.space.in_recipe(params))
        spec = TrialSpec(
            study="replay",
            trial=trial_id(number),
            number=number,
            params=dict(params),
            recipe=recipe,
            objectives=list(parts.objectives),
            seed=trial_seed(parts.config.study.seed, number),
            cache=parts.cache,
            recipe_hash="",
            **parts.config.fidelity.in_spec,
        )
        own = course(spec, 1, 0)
        return recipe, stations(own, rung_steps(spec.rungs, own.steps))

    return begin


@dataclass
class Replay:
    """A study on GPUs that never wait for a trial as long as the budget lasts.

    Args:
        values: an objective vector, minimised, of what was measured.
        gpus: how many trials run at once.
        hours: GPU-hours after which no trial begins; those at work go to their ends.
        most: trials that begin.
    """

    begin: Begin
    values: Callable[[Metrics], Row]
    scheduler: Scheduler
    gpus: int
    hours: float
    most: int
    trials: list[Replayed] = field(default_factory=list)
    _now: float = 0.0
    _ahead: list[tuple[float, int]] = field(default_factory=list)  # when, and which trial

    def run(self) -> list[Replayed]:
        """The trials, all over, by their numbers."""
        self._fill()
        while self._ahead:
            self._now, number = heappop(self._ahead)
            self._arrive(number)
            self._fill()
        return self.trials

    def _fill(self) -> None:
        while len(self._ahead) < self.gpus and len(self.trials) < self.most and self._used() < self.hours:
            number = len(self.trials)
            recipe, ahead = self.begin(number, self.scheduler.suggest(number))
            self.trials.append(Replayed(recipe, self._now, ahead))
            heappush(self._ahead, (self.trials[number].next_s, number))

    def _used(self) -> float:
        return gpu_hours([(each.began_s, each.ended_s) for each in self.trials], self._now)

    def _arrive(self, number: int) -> None:
        trial = self.trials[number]
        station = trial.stations.pop(0)
        row = None if station.metrics is None else self.values(station.metrics)
        if row is None or station.rung is None:
            trial.end(TrialState.COMPLETED if row is not None else TrialState.FAILED, self._now)
            self.scheduler.ended(number, row)
        elif self.scheduler.goes_on(number, station.rung, row):
            heappush(self._ahead, (trial.next_s, number))
        else:
            trial.end(TrialState.STOPPED, self._now)


def replay(parts: Assembly, scheduler: Scheduler, gpus: int) -> Outcome:
    """The study of a configuration, with another scheduler than its own, until its budget is spent."""
    budget = parts.config.budget

    def values(metrics: Metrics) -> Row:
        return minimised({name: metric.value for name, metric in metrics.items()}, parts.objectives)

    hours = math.inf if budget.gpu_hours is None else budget.gpu_hours
    trials = Replay(beginning(parts), values, scheduler, gpus, hours, budget.trials).run()
    return outcome(trials, len(parts.objectives))


def outcome(trials: list[Replayed], objectives: int) -> Outcome:
    """What a replay came to."""
    spans = [(trial.began_s, trial.ended_s) for trial in trials]
    completed = sorted(
        (trial for trial in trials if trial.state is TrialState.COMPLETED), key=lambda trial: trial.ended_s
    )
    return Outcome(
        completed=[trial.recipe for trial in completed],
        hours=[gpu_hours(spans, trial.ended_s) for trial in completed],
        stopped=[trial.recipe for trial in trials if trial.state is TrialState.STOPPED],
        begun=len(trials),
        objectives=objectives,
    )
