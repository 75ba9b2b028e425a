"""A trial that sleeps through its course; checkpoints, reports and answers signals as a real one does."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hpo.records import Metric, Progress, StoppedResult, TrialResult, TrialSpec, read_json, write_json
from jobs.attempt.attempt import Attempt
from jobs.attempt.environment import machine, seconds_since_start
from jobs.attempt.rungs import RungLog, rung_steps
from jobs.simulation.execution import Course, CourseOf

STATE = "state.json"
LOOK_S = 0.5  # between two looks for signals in a step


@dataclass
class SleptState:
    """What a trial's attempts did together; kept in every checkpoint."""

    step: int = 0
    loss: float | None = None  # of that step
    # Added up step by step, so that a step done twice, or left out, would show in the result.
    late_losses: float = 0.0
    train_seconds: float = 0.0  # spent in steps
    attempts: list[int] = field(default_factory=list)


class SleepingTrial:
    """One attempt, from the newest checkpoint to the last step.

    Args:
        course_of: what the trial comes to, for an attempt that goes on from a step.
    """

    def __init__(self, spec: TrialSpec, attempt: Attempt, course_of: CourseOf) -> None:
        self._spec, self._attempt = spec, attempt
        self._progress = attempt.progress()
        self._checkpoints = attempt.checkpoints
        resumed = self._checkpoints.resume()
        self.state = SleptState(**read_json(resumed / STATE)) if resumed else SleptState()
        self.state.attempts.append(attempt.number)
        self.course: Course = course_of(spec, attempt.number, self.state.step)
        self._rung_steps = rung_steps(spec.rungs, self.course.steps)
        self._rungs = RungLog(attempt)

    def run(self) -> TrialResult | StoppedResult:
        """Work to the end.

        Raises:
            TrialError: as the course has it.
        """
        self._progress.phase(Progress(self._attempt.number, "loading"))
        self._attempt.signals.wait(self.course.start_seconds)
        start_seconds = seconds_since_start()
        self._progress.phase(self._line("training"))
        self._train()
        if self.state.step < self.course.steps:
            return self._rungs.result(self.state.step, self._details())
        self._progress.phase(self._line("evaluating"))
        metrics = self.metrics(start_seconds)
        self._progress.phase(self._line("done", metrics["eval_loss"].value))
        return TrialResult(self._spec.trial, self._attempt.number, dict(metrics), self._details())

    def metrics(self, start_seconds: float) -> Mapping[str, Metric]:
        """What the trial reports at its end.

        Args:
            start_seconds: from the start of the process to the first step.
        """
        return self.course.at_end()

    def _train(self) -> None:
        course, saved_at = self.course, time.monotonic()
        self._strike()
        length = course.seconds / course.steps
        due = saved_at  # by the clock, so that the work takes what it should, whatever the bookkeeping takes
        while self.state.step < course.steps:
            self._measure()
            if self._rungs.stop_asked:
                self._save()
                return
            due += length
            self._sleep(due)
            self._count_step(length)
            self._strike()
            self._progress.step(self._line("training"))
            if self._attempt.signals.due or time.monotonic() - saved_at >= course.checkpoint_every_s:
                self._save()
                saved_at = time.monotonic()
            if time.monotonic() - due > 1.0:
                due = time.monotonic()  # it waited for a kill, or was suspended: that is no work

    def _sleep(self, due: float) -> None:
        """Sleep to the end of a step; a signal is answered in a long one, which is then done anew."""
        while (left := due - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_S))
            if self._attempt.signals.due and due - time.monotonic() > LOOK_S:
                self._save()

    def _strike(self) -> None:
        """Fail, if this is the step for it."""
        failure, step = self.course.failure, self.state.step
        if failure is None or step < failure[0]:
            return
        if failure[1] is None:
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            raise failure[1]

    def _measure(self) -> None:
        """What is measured at a rung; a checkpoint of the rung's step may be where the attempt began."""
        step = self.state.step
        for rung in self._rung_steps.get(step, ()):
            if self._rungs.lacks(rung):
                self._rungs.add(rung, step / self.course.steps, step, self.course.at_rung(rung, step))

    def _count_step(self, length: float) -> None:
        state, course = self.state, self.course
        state.step += 1
        state.loss = course.step_loss(state.step)
        state.train_seconds += length
        if state.step > course.steps - course.late_steps:
            state.late_losses += state.loss

    def _save(self) -> None:
        self._checkpoints.save(self.state.step, self._write)
        if self._attempt.signals.due:
            self._attempt.signals.answer()

    def _write(self, folder: Path) -> None:
        write_json(folder / STATE, asdict(self.state))

    def _line(self, phase: str, eval_loss: float | None = None) -> Progress:
        state, course = self.state, self.course
        rate = course.learning_rate
        return Progress(
            self._attempt.number,
            phase,
            state.step,
            course.steps,
            loss=state.loss,
            learning_rate=None if rate is None else rate * (1 - state.step / course.steps),
            train_seconds=state.train_seconds,
            eval_loss=eval_loss,
        )

    def _details(self) -> dict[str, Any]:
        return {
            "machine": machine(),
            "seed": self._spec.seed,
            "attempts": self.state.attempts,
            "steps": self.course.steps,
            "work_seconds": self.course.seconds,
            "hashes": {"recipe": self._spec.recipe_hash},
            **(self.course.details or {}),
        }
