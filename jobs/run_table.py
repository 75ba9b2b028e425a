"""Runs one trial that a table answers: sleeps as long as it took, and reports what was recorded."""

from __future__ import annotations

import sys

from hpo.records import StoppedResult, TrialResult, TrialSpec
from jobs.attempt.attempt import Attempt, conduct
from jobs.errors import Diverged, OutOfMemory, TrialError
from jobs.recipes.recorded import RecordedFailure
from jobs.recipes.table import parse
from jobs.simulation.execution import Course, SimulatedExecution, begin
from jobs.simulation.sleeping import SleepingTrial

FAILURES: dict[str, type[TrialError]] = {str(kind.cause): kind for kind in (Diverged, OutOfMemory)}


def main(study_folder: str, batch: str, trial: str) -> int:
    """Run one attempt of a trial; see `jobs.attempt.attempt.conduct`."""
    return conduct(study_folder, batch, trial, _work)


def _work(spec: TrialSpec, attempt: Attempt) -> TrialResult | StoppedResult:
    return SleepingTrial(spec, attempt, course).run()


def simulated_main(
    study_folder: str, batch: str, trial: str, *, at: float, node: str, job: str, restart: int
) -> SimulatedExecution | None:
    """Begin an attempt of a trial that is only computed; see `jobs.simulation.execution.begin`."""
    return begin(study_folder, batch, trial, course, at, node, job, restart)


def course(spec: TrialSpec, attempt: int, step: int) -> Course:
    """What an attempt of a trial comes to; it is the same in each."""
    answer = parse(spec.recipe)
    recipe, failure = answer.recipe, answer.trial.failure
    rate = answer.trial.params.get("learning_rate")
    return Course(
        steps=answer.steps,
        seconds=answer.seconds,
        start_seconds=recipe.start_seconds,
        checkpoint_every_s=recipe.checkpoint_every_s,
        at_rung=lambda rung, own: answer.at_rung(own),
        at_end=lambda: answer.at(answer.steps),
        step_loss=lambda own: answer.at(own)["train_loss"].value,
        learning_rate=rate if isinstance(rate, float) else None,
        failure=None if failure is None else (failure.step, _error(failure)),
        details={"table": answer.table.name, "recorded_trial": answer.trial.number},
    )


def _error(failure: RecordedFailure) -> TrialError:
    return FAILURES.get(failure.cause, TrialError)(failure.message)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
