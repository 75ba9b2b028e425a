"""Start one array element through submitit's local executor: `python -m slurm.local.launch`, asked on stdin.

A process of its own in a session of its own, so that what submitit starts shares neither the terminal nor
the output pipes of the controller, and goes on when that one is interrupted or killed.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from slurm.local.processes import MARK
from slurm.task import run_target

# The GPU that an element is given, for its claim and its start script.
GPU = "FRONTRUNNER_GPU"


@dataclass(frozen=True)
class Launch:
    """One start of one element."""

    folder: str  # submitit's files and logs of this launch; submitit names them by process id, so it is new
    mark: str  # what every process of the element carries in its environment
    claim_file: str
    start_script: str
    target: str
    arguments: tuple[str, ...]
    time_limit_min: int
    signal_delay_s: int


def spawn(launch: Launch, gpu: str) -> subprocess.Popen[bytes]:
    """Start an element in the background; the process returned ends once the element is claimed or over.

    Args:
        launch: what to start; its folder is made.
        gpu: the value of CUDA_VISIBLE_DEVICES; empty for none.
    """
    folder = Path(launch.folder)
    folder.mkdir()
    request = folder / "request.json"
    request.write_text(json.dumps(asdict(launch)), encoding="utf-8")
    with request.open("rb") as stdin, (folder / "launch.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "slurm.local.launch"],
            stdin=stdin,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, MARK: launch.mark, GPU: gpu},
        )


def start(launch: Launch) -> None:
    """Start the element, and wait until it is claimed or over."""
    import submitit

    claim_script = str(Path(__file__).with_name("claim.py"))
    command = [sys.executable, "-IS", claim_script, launch.claim_file, "bash", launch.start_script]
    executor = submitit.LocalExecutor(launch.folder, python=shlex.join(command))
    executor.update_parameters(timeout_min=launch.time_limit_min, signal_delay_s=launch.signal_delay_s)
    job = executor.submit(run_target, launch.target, list(launch.arguments))
    while not Path(launch.claim_file).exists() and not job.done():
        time.sleep(0.05)


def main() -> None:
    """Read a request from standard input and start it."""
    request = json.load(sys.stdin)
    start(Launch(**{**request, "arguments": tuple(request["arguments"])}))


if __name__ == "__main__":
    main()
