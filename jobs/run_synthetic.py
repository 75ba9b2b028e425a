"""Runs one synthetic trial: sleeps in steps; checkpoints, reports and answers signals as a real one does."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping

from hpo.records import Metric, StoppedResult, TrialResult, TrialSpec
from jobs.attempt.attempt import Attempt, conduct
from jobs.errors import Diverged, OutOfMemory, TrialError
from jobs.recipes.metrics import EVAL_LOSS, SyntheticMetrics
from jobs.recipes.synthetic import STANDARD_ERROR, SyntheticRecipe, draw, late_steps, parse, step_loss
from jobs.simulation.execution import Course, SimulatedExecution, begin
from jobs.simulation.sleeping import SleepingTrial


def main(study_folder: str, batch: str, trial: str) -> int:
    """Run one attempt of a trial; see `jobs.attempt.attempt.conduct`."""
    return conduct(study_folder, batch, trial, _work)


def _work(spec: TrialSpec, attempt: Attempt) -> TrialResult | StoppedResult:
    return SyntheticTrial(spec, attempt, course).run()


class SyntheticTrial(SleepingTrial):
    """One attempt of a synthetic trial."""

    def metrics(self, start_seconds: float) -> Mapping[str, Metric]:
        """With the training loss of the steps that were done, and the true time of the start."""
        trained = Metric(self.state.late_losses / self.course.late_steps)
        return {**self.course.at_end(), "train_loss": trained, "start_seconds": Metric(start_seconds)}


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
        step_loss=lambda own: step_loss(final, seed, own, steps),
        learning_rate=recipe.learning_rate,
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

    def _raise(self, step: int) -> None:
        if self._too_large:
            raise OutOfMemory(f"out of memory at step {step}, as trainer.fail_out_of_memory asks")
        if self._diverged is not None and step >= self._diverged:
            raise Diverged(f"diverged at step {step}, as trainer.fail_diverged or diverges_above asks")
        if self._error is not None and step >= self._error:
            raise TrialError(f"{self._place}: error at step {step}, as trainer.fail_error asks")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
