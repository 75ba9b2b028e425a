"""Faults of the scheduler: slurmctld stopped, killed, hung; squeue failing; the accounting gone."""

from __future__ import annotations

import os
import random
import signal
from contextlib import suppress

from benchmarks.reliability.scene import Fault, Missed, Scene
from slurm.local.claim import process_status


def _away(number: signal.Signals, scene: Scene, rng: random.Random) -> str:
    down_s = rng.uniform(1.0, 20.0)
    scene.cluster.kill("slurmctld", number)
    scene.wait(down_s)
    scene.cluster.start_slurmctld()
    return f"down for {down_s:.1f} s"


def _stopped(scene: Scene, rng: random.Random) -> str:
    return _away(signal.SIGTERM, scene, rng)


def _killed(scene: Scene, rng: random.Random) -> str:
    return _away(signal.SIGKILL, scene, rng)


def _hung(scene: Scene, rng: random.Random) -> str:
    """Stopped as sbatch begins: sbatch fails after its 10 s, and the array is there all the same."""
    hung_s, pid = rng.uniform(5.0, 30.0), scene.cluster.daemon("slurmctld")
    if pid is None:
        raise Missed
    scene.programs.mark("hang", str(pid))
    try:
        scene.until(lambda: _is_stopped(pid), 45.0, 0.02)
        scene.wait(hung_s)
    finally:
        scene.programs.unmark("hang")
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    return f"for {hung_s:.1f} s"


def _is_stopped(pid: int) -> bool:
    status = process_status(pid)
    return status is not None and status[0] == "T"


def _squeue(scene: Scene, rng: random.Random) -> str:
    mark, seconds = rng.choice(["squeue_fails", "squeue_hangs"]), rng.uniform(5.0, 25.0)
    scene.programs.mark(mark)
    scene.wait(seconds)
    scene.programs.unmark(mark)
    return f"{mark} for {seconds:.1f} s"


def _accounting(scene: Scene, rng: random.Random) -> str:
    down_s = rng.uniform(3.0, 20.0)
    scene.cluster.kill("slurmdbd")
    scene.wait(down_s)
    scene.cluster.start_slurmdbd()
    return f"down for {down_s:.1f} s"


FAULTS = (
    Fault("slurmctld.stop", "slurmctld stopped and started again", _stopped),
    Fault("slurmctld.kill", "kill -9 of slurmctld, started again", _killed),
    Fault("slurmctld.hang", "slurmctld hung during sbatch", _hung),
    Fault("squeue.fail", "squeue fails for a while", _squeue),
    Fault("slurmdbd.kill", "kill -9 of slurmdbd, started again", _accounting, accounting=True),
)
