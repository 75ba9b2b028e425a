"""Runs one synthetic trial: sleeps in steps; checkpoints, reports and answers signals as a real one does."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hpo.records import Metric, Progress, StoppedResult, TrialResult, TrialSpec, read_json, write_json
from jobs.attempt.attempt import Attempt, conduct
from jobs.attempt.environment import machine, seconds_since_start
from jobs.attempt.rungs import RungLog, rung_steps
from jobs.errors import Diverged, OutOfMemory, TrialError
from jobs.recipes.metrics import EVAL_LOSS, SyntheticMetrics
from jobs.recipes.synthetic import STANDARD_ERROR, SyntheticRecipe, draw, late_steps, parse, step_loss
from jobs.simulation.execution import Course, SimulatedExecution, begin

STATE = "state.json"


def main(study_folder: str, batch: str, trial: str) -> int:
    """Run one attempt of a trial; see `jobs.attempt.attempt.conduct`."""
    return conduct(study_folder, batch, trial, lambda spec, attempt: SyntheticTrial(spec, attempt).run())


@dataclass
class SyntheticState:
    """What a trial's attempts did together; kept in every checkpoint."""

    step: int = 0
    loss: float | None = None  # of that step
    # Added up step by step, so that a step done twice, or left out, would show in the result.
    late_losses: float = 0.0
    train_seconds: float = 0.0  # spent in steps
    attempts: list[int] = field(default_factory=list)


class SyntheticTrial:
    """One attempt, from the newest checkpoint to the last step."""

    def __init__(self, spec: TrialSpec, attempt: Attempt) -> None:
        self._spec, self._attempt = spec, attempt
        self._recipe = parse(spec.recipe)
        self._seconds = self._recipe.work_seconds(spec.seed, spec.fidelity)
        self._steps = self._recipe.steps(self._seconds)
        self._eval_loss = self._recipe.final_loss(spec.seed, spec.fidelity)
        self._progress = attempt.progress()
        self._checkpoints = attempt.checkpoints
        self._state = SyntheticState()
        self._rung_steps = rung_steps(spec.rungs, self._steps)
        self._rungs = RungLog(attempt)

    def run(self) -> TrialResult | StoppedResult:
        """Work to the end.

        Raises:
            TrialError: as the recipe asks.
        """
        self._progress.phase(Progress(self._attempt.number, "loading"))
        self._attempt.signals.wait(self._recipe.start_seconds)
        resumed = self._checkpoints.resume()
        self._state = SyntheticState(**read_json(resumed / STATE)) if resumed else SyntheticState()
        self._state.attempts.append(self._attempt.number)
        start_seconds = seconds_since_start()
        self._progress.phase(self._line("training"))
        self._train()
        if self._state.step < self._steps:
            return self._rungs.result(self._state.step, self._details())
        self._progress.phase(self._line("evaluating"))
        self._progress.phase(self._line("done", self._eval_loss))
        return self._result(start_seconds)

    def _train(self) -> None:
        doom = Doom(self._recipe, self._spec, self._attempt.number, self._state.step, self._steps)
        doom.strike(self._state.step)
        length, saved_at = self._seconds / self._steps, time.monotonic()
        due = saved_at  # by the clock, so that the work takes what it should, whatever the bookkeeping takes
        while self._state.step < self._steps:
            self._measure()
            if self._rungs.stop_asked:
                self._save()
                return
            due += length
            time.sleep(max(0.0, due - time.monotonic()))
            self._count_step(length)
            doom.strike(self._state.step)
            self._progress.step(self._line("training"))
            if self._attempt.signals.due or time.monotonic() - saved_at >= self._recipe.checkpoint_every_s:
                self._save()
                saved_at = time.monotonic()
            if time.monotonic() - due > 1.0:
                due = time.monotonic()  # it waited for a kill, or was suspended: that is no work

    def _measure(self) -> None:
        """What is measured at a rung; a checkpoint of the rung's step may be where the attempt began."""
        step, share = self._state.step, self._state.step / self._steps
        for rung in self._rung_steps.get(step, ()):
            if self._rungs.lacks(rung):
                measured = rung_metrics(self._recipe, self._spec.seed, rung, step, self._steps)
                self._rungs.add(rung, share, step, measured)

    def _count_step(self, length: float) -> None:
        state = self._state
        state.step += 1
        state.loss = step_loss(self._eval_loss, self._spec.seed, state.step, self._steps)
        state.train_seconds += length
        if state.step > self._steps - late_steps(self._steps):
            state.late_losses += state.loss

    def _save(self) -> None:
        self._checkpoints.save(self._state.step, self._write)
        if self._attempt.signals.due:
            self._attempt.signals.answer()

    def _write(self, folder: Path) -> None:
        write_json(folder / STATE, asdict(self._state))

    def _line(self, phase: str, eval_loss: float | None = None) -> Progress:
        state = self._state
        return Progress(
            self._attempt.number,
            phase,
            state.step,
            self._steps,
            loss=state.loss,
            learning_rate=self._recipe.learning_rate * (1 - state.step / self._steps),
            train_seconds=state.train_seconds,
            eval_loss=eval_loss,
        )

    def _result(self, start_seconds: float) -> TrialResult:
        spec = self._spec
        metrics = SyntheticMetrics(
            eval_loss=Metric(self._eval_loss, STANDARD_ERROR),
            train_loss=Metric(self._state.late_losses / late_steps(self._steps)),
            train_seconds=Metric(self._recipe.train_seconds(spec.seed, spec.fidelity)),
            start_seconds=Metric(start_seconds),
        ).measured()
        return TrialResult(spec.trial, self._attempt.number, metrics, self._details())

    def _details(self) -> dict[str, Any]:
        return {
            "machine": machine(),
            "seed": self._spec.seed,
            "attempts": self._state.attempts,
            "steps": self._steps,
            "work_seconds": self._seconds,
            "hashes": {"recipe": self._spec.recipe_hash},
        }


def rung_metrics(recipe: SyntheticRecipe, seed: int, rung: float, step: int, steps: int) -> dict[str, Metric]:
    """What a trial measures at a rung; what grows is extrapolated."""
    final = recipe.final_loss(seed)
    return {
        EVAL_LOSS: Metric(recipe.rung_loss_of(seed, rung, step / steps), STANDARD_ERROR),
        "train_loss": Metric(step_loss(final, seed, step, steps)),
        "train_seconds": Metric(recipe.train_seconds(seed)),
    }


def simulated_main(
    study_folder: str, batch: str, trial: str, *, at: float, node: str, job: str, restart: int
) -> SimulatedExecution | None:
    """Begin an attempt of a trial that is only computed; see `jobs.simulation.execution.begin`."""
    return begin(study_folder, batch, trial, course, at, node, job, restart)


def course(spec: TrialSpec, attempt: int, step: int) -> Course:
    """What an attempt of a trial comes to that goes on from a step."""
    recipe, seed = parse(spec.recipe), spec.seed
    seconds = recipe.work_seconds(seed, spec.fidelity)
    steps, final = recipe.steps(seconds), recipe.final_loss(seed, spec.fidelity)

    def at_end() -> dict[str, Metric]:
        late = late_steps(steps)
        losses = [step_loss(final, seed, own, steps) for own in range(steps - late + 1, steps + 1)]
        return SyntheticMetrics(
            eval_loss=Metric(final, STANDARD_ERROR),
            train_loss=Metric(math.fsum(losses) / late),
            train_seconds=Metric(recipe.train_seconds(seed, spec.fidelity)),
            start_seconds=Metric(recipe.start_seconds),
        ).measured()

    return Course(
        steps=steps,
        seconds=seconds,
        start_seconds=recipe.start_seconds,
        checkpoint_every_s=recipe.checkpoint_every_s,
        at_rung=lambda rung, own: rung_metrics(recipe, seed, rung, own, steps),
        at_end=at_end,
        failure=Doom(recipe, spec, attempt, step, steps).first(step, steps),
    )


class Doom:
    """At which step an attempt is to fail, and how: drawn from the trial's seed and the attempt's number."""

    def __init__(
        self, recipe: SyntheticRecipe, spec: TrialSpec, attempt: int, begin: int, steps: int
    ) -> None:
        self._recipe, seed = recipe, spec.seed
        self._place = f"trial {spec.trial}, attempt {attempt}"
        self._error = self._of_attempt(seed, attempt, "error", recipe.fail_error, begin, steps)
        self._crash = self._of_attempt(seed, attempt, "crash", recipe.fail_crash, begin, steps)
        diverges = recipe.diverges_above is not None and recipe.learning_rate > recipe.diverges_above
        chance = draw(seed, "diverged")
        struck = chance.random() < recipe.fail_diverged
        self._diverged = 1 + int(chance.random() * steps) if diverges or struck else None
        self._too_large = draw(seed, "out of memory").random() < recipe.fail_out_of_memory

    @staticmethod
    def _of_attempt(seed: int, attempt: int, what: str, share: float, begin: int, steps: int) -> int | None:
        chance = draw(seed, what, attempt)
        struck, share_done = chance.random() < share, chance.random()
        return begin + int(share_done * (steps - begin + 1)) if struck else None

    def first(self, begin: int, steps: int) -> tuple[int, TrialError | None] | None:
        """The step at which the attempt fails, and how; None as its error: it is killed without a word."""
        planned = (begin if self._too_large else None, self._diverged, self._error, self._crash)
        struck = [max(begin, step) for step in planned if step is not None and step <= steps]
        if not struck:
            return None
        try:
            self._raise(min(struck))
        except TrialError as error:
            return min(struck), error
        return min(struck), None

    def strike(self, step: int) -> None:
        """Fail, if this is the step for it.

        Raises:
            TrialError: as the recipe asks.
        """
        self._raise(step)
        if self._crash is not None and step >= self._crash:
            os.kill(os.getpid(), signal.SIGKILL)

    def _raise(self, step: int) -> None:
        if self._too_large:
            raise OutOfMemory(f"out of memory at step {step}, as trainer.fail_out_of_memory asks")
        if self._diverged is not None and step >= self._diverged:
            raise Diverged(f"diverged at step {step}, as trainer.fail_diverged or diverges_above asks")
        if self._error is not None and step >= self._error:
            raise TrialError(f"{self._place}: error at step {step}, as trainer.fail_error asks")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
