"""The chained mode: no controller lives; each array is followed by a tiny job that runs the next `step`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from hpo.controller.controller import Controller
from hpo.controller.submission import study_prefix
from hpo.paths import StudyPaths
from hpo.ports import Executor
from hpo.study.state import Event

AGAIN_S = 300.0  # when nothing is in the queue that a step could follow


def settled(controller: Controller) -> bool:
    """Whether the next event will come from an array in the queue, so that nobody needs to wait here."""
    study = controller.study
    in_queue = [batch for batch in study.open_batches if batch.job_id]
    missing = any(trial.missing for trial in study.in_flight)
    unsent = len(in_queue) < len(study.open_batches)
    return bool(in_queue) and not missing and not unsent and study.request is None


def follow_up(
    controller: Controller, executor: Executor, paths: StudyPaths, command: Sequence[str]
) -> list[str]:
    """Schedule the next step after each array that has none yet.

    Args:
        controller: after its pass.
        executor: with a scheduler that can hold a job back until others have ended.
        paths: the study's files.
        command: arguments of the program, as in `step key=value`.

    Returns:
        The job ids.

    Raises:
        RuntimeError: of the executor's family: the scheduler did not take it.
    """
    study, folder = controller.study, paths.helper("step")
    folder.mkdir(parents=True, exist_ok=True)
    program = [sys.executable, "-m", "hpo", *command]
    name = study_prefix(study) + "step"
    fresh = [batch for batch in study.open_batches if batch.job_id and batch.id not in study.followed]
    jobs = []
    for batch in fresh:
        job_id = executor.follow(name=name, folder=str(folder), command=program, after=[str(batch.job_id)])
        controller.journal.record(Event.FOLLOWED, batches=[batch.id], job_id=job_id)
        jobs.append(job_id)
    if not jobs and not settled(controller):
        job_id = executor.follow(name=name, folder=str(folder), command=program, after=[], delay_s=AGAIN_S)
        controller.journal.record(Event.FOLLOWED, batches=[], job_id=job_id)
        jobs.append(job_id)
    return jobs
