"""One array for submitit: its parameters, its text, and the submission itself."""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from submitit.core.core import Job
from submitit.core.utils import DelayedSubmission
from submitit.slurm.slurm import SlurmExecutor, SlurmJob

from slurm.command import outside_job, run
from slurm.errors import SubmissionError
from slurm.settings import ClusterSettings
from slurm.task import run_target

# Above sbatch's own patience: killed earlier, it could leave an array that nobody was told of.
SBATCH_TIMEOUT_S = 120.0

# submitit counts every warning before the time limit as a timeout of its own and gives up after so many;
# how often a task may be interrupted is the controller's business.
MAX_NUM_TIMEOUT = 10**6


class ArrayExecutor(SlurmExecutor):
    """submitit's executor, save that a batch of one is an array too and that a hung sbatch ends."""

    @classmethod
    def affinity(cls) -> int:
        """Always usable: the text of an array can be made where there is no Slurm."""
        return 2

    def text(self, count: int) -> str:
        """The sbatch script of an array of `count` elements."""
        self.parameters["map_count"] = count
        return self._make_submission_file_text(self._submitit_command_str, "")

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
        outcome = run(
            ["sbatch", "--parsable", str(script)], timeout_s=SBATCH_TIMEOUT_S, environment=outside_job()
        )
        array_id = outcome.stdout.strip().split(";")[0]  # `id` or `id;cluster`
        if not outcome.ok or not array_id.isdigit():
            raise SubmissionError(
                f"sbatch did not take the array\n{outcome.describe()}", submission_hint(outcome.stderr)
            )
        script.replace(self.folder / f"{array_id}_submission.sh")
        return array_id


def array_executor(settings: ClusterSettings, name: str, folder: str) -> ArrayExecutor:
    """Set submitit up for one array; touches no file.

    Args:
        settings: where and with what each element runs.
        name: the array's unique name.
        folder: an existing folder for scripts, pickles and logs.

    Raises:
        SubmissionError: the folder has a `%` in it, which Slurm would take for a placeholder.
    """
    if "%" in folder:
        raise SubmissionError(
            f"folder: expected a path without '%', got {folder}", "choose another study.root or study.name"
        )
    executor = ArrayExecutor(folder, max_num_timeout=MAX_NUM_TIMEOUT, python=settings.masked_python)
    executor.update_parameters(
        job_name=name,
        partition=settings.partition,
        account=settings.account,
        qos=settings.qos,
        gres=settings.gres,
        constraint=settings.constraint,
        cpus_per_task=settings.cpus,
        # Without it a site's default may be the whole node, and one element would block the rest.
        mem=f"{math.ceil(settings.mem_gb * 1024)}M",
        time=settings.time_limit_min,
        signal_delay_s=settings.signal_delay_s,
        setup=settings.setup or None,
        array_parallelism=settings.max_parallel or 10**9,  # submitit lowers it to the number of elements
        wckey=None,
        additional_parameters={
            "hold": True,
            "requeue": True,
            **{key: value for key, value in settings.extra.items() if value not in (None, False)},
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


_HINTS = (
    ("invalid partition", "set cluster.partition to one of those that `sinfo -s` lists"),
    ("invalid account", "set cluster.account; `sacctmgr show associations user=$USER` lists yours"),
    ("invalid qos", "set cluster.qos; `sacctmgr show associations user=$USER` lists yours"),
    ("generic resource", "set cluster.gres to what `sinfo -o '%P %G'` lists, such as gpu:v100:1"),
    ("node configuration is not available", "no node has so much: cluster.gres, .cpus, .mem_gb, .constraint"),
    ("feature", "set cluster.constraint to what `sinfo -o '%P %f'` lists"),
    ("time limit", "lower cluster.time_limit; `sinfo -o '%P %l'` lists the limits"),
    ("job array", "lower batch.size below MaxArraySize of `scontrol show config`"),
    ("limit", "a limit of the QOS or association is reached: wait, or lower batch.size"),
    (
        "contact slurm controller",
        "the controller does not answer now: `scontrol ping`; run the same command later",
    ),
    ("timed out", "the controller was too busy to answer; the array may exist all the same"),
    ("no such file or directory: 'sbatch'", "no Slurm here: use cluster=local, or run this on a login node"),
)


def submission_hint(stderr: str) -> str:
    """What to do about an sbatch that failed with this message."""
    lowered = stderr.lower()
    for words, hint in _HINTS:
        if words in lowered:
            return hint
    return "run `python -m hpo plan` to see the script, and sbatch --test-only to try it"
