"""One array for submitit: its parameters, its text, and the submission itself."""

from __future__ import annotations

import re
import shlex
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from submitit.core.core import Job
from submitit.core.utils import DelayedSubmission
from submitit.slurm.slurm import SlurmExecutor, SlurmJob

from slurm.client import squeue
from slurm.client.command import Outcome, run
from slurm.client.refusals import is_busy, is_permanent, submission_hint
from slurm.errors import SubmissionError
from slurm.resources import Resources
from slurm.settings import ClusterSettings
from slurm.task import run_target

# sbatch has a patience of its own: where the site's MaxJobCount is reached it tries again after 1, 2, ...
# 15 s, two minutes in all, in which the controller would do nothing else. One that is killed may leave an
# array that nobody was told of, as one that fails may.
SBATCH_TIMEOUT_S = 45.0

# submitit counts every warning before the time limit as a timeout of its own and gives up after so many;
# how often a task may be interrupted is the controller's business.
MAX_NUM_TIMEOUT = 10**6


class ArrayExecutor(SlurmExecutor):
    """submitit's executor, but a batch of one is an array, a hung sbatch ends, elements do without NumPy."""

    @classmethod
    def affinity(cls) -> int:
        """Always usable: the text of an array can be made where there is no Slurm."""
        return 2

    def text(self, count: int) -> str:
        """The sbatch script of an array of `count` elements."""
        self.parameters["map_count"] = count
        return self._make_submission_file_text(self._submitit_command_str, "")

    @property
    def _submitit_command_str(self) -> str:
        return f"{self.python} -u -m slurm.submitit_start {shlex.quote(str(self.folder))}"

    def _internal_process_submissions(self, delayed_submissions: list[DelayedSubmission]) -> list[Job[Any]]:
        pickles = [self._dump(delayed) for delayed in delayed_submissions]
        array_id = self._sbatch(self.text(len(pickles)))
        jobs: list[Job[Any]] = []
        for index, pickle in enumerate(pickles):
            job: SlurmJob[Any] = SlurmJob(folder=self.folder, job_id=f"{array_id}_{index}", tasks=[0])
            # A released element waits a minute for its pickle; ours are held until all have their names.
            job.paths.move_temporary_file(pickle, "submitted_pickle")
            jobs.append(job)
        return jobs

    def _dump(self, delayed: DelayedSubmission) -> Path:
        delayed.set_timeout(self.parameters["time"], self.max_num_timeout)
        path = self.folder / f"{uuid.uuid4().hex}.pkl"
        delayed.dump(path)
        return path

    def _sbatch(self, text: str) -> str:
        script = self.folder / f"submission_{uuid.uuid4().hex}.sh"
        script.write_text(text, encoding="utf-8")
        array_id = sbatch(script, self.parameters["job_name"])
        script.replace(self.folder / f"{array_id}_submission.sh")
        return array_id


def sbatch(script: Path, name: str) -> str:
    """Hand a script over; returns the job id.

    Args:
        script: with all options in it.
        name: of the job, by which it is looked for where sbatch's answer cannot be read.

    Raises:
        SubmissionError: sbatch failed, or did not end; the job may exist all the same.
    """
    outcome = run(["sbatch", "--parsable", str(script)], timeout_s=SBATCH_TIMEOUT_S)
    job_id = _job_id(outcome, name) if outcome.ok else None
    if job_id is None:
        complaint = "gave no job id" if outcome.ok else "did not take the array"
        raise SubmissionError(
            f"sbatch {complaint}\n{outcome.describe()}",
            submission_hint(outcome.stderr),
            busy=is_busy(outcome),
            permanent=is_permanent(outcome),
        )
    return job_id


# `id` or `id;cluster`, and what sbatch prints where a wrapper has dropped --parsable.
_JOB_ID = re.compile(r"(?:Submitted batch job )?(\d+)(?:;\S+| on cluster \S+)?")


def _job_id(outcome: Outcome, name: str) -> str | None:
    """The id in the answer of an sbatch that ended well, among whatever a site's wrapper prints.

    The queue has the last word where not just one line could be an id; the last such line, if it is silent.
    """
    matches = [_JOB_ID.fullmatch(line.strip()) for line in outcome.stdout.splitlines()]
    ids = [match[1] for match in matches if match]
    if len(ids) == 1:
        return ids[0]
    queue = squeue.ask()
    named = squeue.newest_named(queue.stdout, name) if queue.ok else None
    return named or (ids[-1] if ids else None)


def check_folder(folder: str) -> str:
    """The folder of a job's files, as it is.

    Raises:
        SubmissionError: it has a `%` in it, which Slurm would take for a placeholder.
    """
    if "%" in folder:
        raise SubmissionError(
            f"folder: expected a path without '%', got {folder}",
            "choose another study.root or study.name",
            permanent=True,
        )
    return folder


def array_executor(settings: ClusterSettings, resources: Resources, name: str, folder: str) -> ArrayExecutor:
    """Set submitit up for one array; touches no file.

    Args:
        settings: how each element is started, and when it is warned.
        resources: what each element gets.
        name: the array's unique name.
        folder: an existing folder for scripts, pickles and logs.

    Raises:
        SubmissionError: the folder has a `%` in it.
    """
    executor = ArrayExecutor(
        check_folder(folder), max_num_timeout=MAX_NUM_TIMEOUT, python=settings.masked_python
    )
    executor.update_parameters(
        job_name=name,
        partition=resources.partition,
        account=resources.account,
        qos=resources.qos,
        gres=resources.gres,
        constraint=resources.constraint,
        exclude=resources.exclude,
        cpus_per_task=resources.cpus,
        # Without any a site's default may be the whole node, and one element would block the rest.
        **resources.memory,
        time=resources.time_limit_min,
        signal_delay_s=settings.signal_delay_s,
        setup=settings.setup or None,
        array_parallelism=resources.at_once or 10**9,  # submitit lowers it to the number of elements
        wckey=None,
        # Whatever the site's default is: without the environment there is no submitit on the node.
        srun_args=["--export=ALL"],
        additional_parameters={
            "hold": True,
            "requeue": True,
            "export": "ALL",
            **{key: value for key, value in resources.extra.items() if value not in (None, False)},
        },
    )
    return executor


def submit_array(executor: ArrayExecutor, target: str, arguments: Sequence[Sequence[str]]) -> str:
    """Submit one array of `target` with each element's arguments; returns its job id.

    Raises:
        SubmissionError: sbatch failed, or did not end; the array may exist all the same.
    """
    if not arguments:
        raise SubmissionError("arguments: expected at least one element, got none")
    texts = [[str(part) for part in element] for element in arguments]
    jobs = executor.map_array(run_target, [target] * len(texts), texts)
    return str(jobs[0].job_id).partition("_")[0]
