"""A small job that runs a command once arrays are over: a link of a chain that needs no living controller."""

from __future__ import annotations

import math
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path

from slurm.client.sbatch import check_folder, sbatch
from slurm.resources import Resources


def follow_text(
    resources: Resources,
    *,
    name: str,
    folder: str,
    command: Sequence[str],
    after: Collection[str],
    delay_s: float,
    working_folder: str,
    setup: Sequence[str],
) -> str:
    """The sbatch script of the job.

    Args:
        resources: what it gets.
        name: of the job; those of one name run one at a time.
        folder: where its log goes.
        command: program and arguments.
        after: ids of the jobs that must be over; those that Slurm has forgotten are.
        delay_s: seconds from now before which it does not start.
        working_folder: where the command runs.
        setup: shell lines before it.
    """
    dependencies = ["singleton"]  # the comma between the two means that both must hold
    if after:
        dependencies.append(":".join(["afterany", *sorted(after)]))
    options = {
        "job-name": name,
        "partition": resources.partition,
        "account": resources.account,
        "qos": resources.qos,
        "exclude": resources.exclude,
        "cpus-per-task": resources.cpus,
        **{name.replace("_", "-"): size for name, size in resources.memory.items()},
        "time": resources.time_limit_min,
        "dependency": ",".join(dependencies),
        "begin": f"now+{math.ceil(delay_s)}" if delay_s > 0 else None,
        "requeue": True,
        "open-mode": "append",
        "output": f"{folder}/%x-%j.log",
        "chdir": working_folder,
        "export": "ALL",
    }
    return "\n".join(
        [
            "#!/bin/bash",
            *(_option(key, value) for key, value in options.items() if value is not None),
            *setup,
            f"exec {shlex.join(command)}",
            "",
        ]
    )


def submit_follower(
    resources: Resources,
    *,
    name: str,
    folder: str,
    command: Sequence[str],
    after: Collection[str],
    delay_s: float,
    setup: Sequence[str],
) -> str:
    """Submit the job; its script stays beside its log. Returns the job id.

    Args:
        resources: what it gets.
        folder: an existing folder, seen by the nodes.
        command: program and arguments, run in this process's working folder.
        after: ids of the jobs that must be over.
        delay_s: seconds from now before which it does not start.
        setup: shell lines before the command.

    Raises:
        SubmissionError: sbatch failed, or did not end; the job may exist all the same.
    """
    text = follow_text(
        resources,
        name=name,
        folder=check_folder(folder),
        command=command,
        after=after,
        delay_s=delay_s,
        working_folder=str(Path.cwd()),
        setup=setup,
    )
    script = Path(folder) / f"{name}.sh"
    script.write_text(text, encoding="utf-8")
    return sbatch(script, name)


def _option(key: str, value: str | int | bool) -> str:
    text = f"--{key}" if value is True else f"--{key}={value}"
    return f"#SBATCH {shlex.quote(text)}"
