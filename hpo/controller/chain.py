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


def follow_up(controller: Controller, executor: Executor, paths: StudyPaths, command: Sequence[str]) -> str:
    """See that a job takes the next step after each array that is in the queue.

    Args:
        controller: after its pass.
        executor: with a scheduler that can hold a job back until others have ended.
        command: arguments of the program, as in `step key=value`.

    Returns:
        What goes on with the study, for people.

    Raises:
        RuntimeError: of the executor's family: the scheduler did not take it.
    """
    study, folder = controller.study, paths.helper("step")
    controller.journal.confirm()
    folder.mkdir(parents=True, exist_ok=True)
    name = study_prefix(study) + "step"
    there = executor.following(name)
    followed = {batch.id: study.followed.get(batch.id) for batch in study.open_batches if batch.job_id}
    jobs = [job for job in followed.values() if job and (there is None or job in there)]
    unsure = there is None and bool(jobs)  # a scheduler that does not answer has not lost them

    def schedule(batches: list[str], after: list[str], delay_s: float) -> None:
        program = [sys.executable, "-m", "hpo", *command]
        job_id = executor.follow(name=name, folder=str(folder), command=program, after=after, delay_s=delay_s)
        controller.journal.record(Event.FOLLOWED, batches=batches, job_id=job_id)
        jobs.append(job_id)

    fresh = [batch for batch in followed if followed[batch] not in jobs]
    for batch in fresh:
        schedule([batch], [str(study.batches[batch].job_id)], 0.0)
    if not fresh and not settled(controller):
        schedule([], [], AGAIN_S)
    known = "whether it is in the queue is not known" if unsure else "in the queue"
    return f"the study goes on by itself, next with job {', '.join(dict.fromkeys(jobs))}: {known}"
