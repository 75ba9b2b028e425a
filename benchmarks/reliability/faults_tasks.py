"""Faults of tasks and their nodes: preempted, killed, cancelled, timed out, requeued, on a lost node."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress

from benchmarks.reliability.cluster import Task
from benchmarks.reliability.scene import Fault, Missed, Scene, is_trial
from hpo.paths import TrialPaths
from hpo.records import Lease, RecordError
from slurm.local.claim import process_status

FROZEN_S = 150.0  # a limit of one minute, which Slurm checks every half, and the time to be killed


def _preempted(scene: Scene, rng: random.Random) -> str:
    nodes = rng.randint(1, 4)
    scene.task("RUNNING", rng)
    asked = [
        "--partition=urgent",
        f"--nodes={nodes}",
        "--exclusive",
        "--mem=1",
        "--time=5",
        "--output=/dev/null",
    ]
    outcome = scene.cluster.ask("sbatch", *asked, f"--wrap=sleep {rng.randint(2, 8)}")
    if not outcome.ok:
        raise Missed
    return f"{nodes} nodes"


def _killed(scene: Scene, rng: random.Random) -> str:
    _, lease = scene.running(rng)
    with suppress(ProcessLookupError):
        os.kill(lease.pid, signal.SIGKILL)
    return f"trial {lease.trial}"


def _scancelled(state: str, scene: Scene, rng: random.Random) -> str:
    task = scene.task(state, rng)
    trial = scene.trial_of(task)
    scene.scancelled.add(trial)
    scene.cluster.ask("scancel", task.element)
    return f"trial {trial}"


def _running_scancelled(scene: Scene, rng: random.Random) -> str:
    return _scancelled("RUNNING", scene, rng)


def _pending_scancelled(scene: Scene, rng: random.Random) -> str:
    return _scancelled("PENDING", scene, rng)


def _requeued(scene: Scene, rng: random.Random) -> str:
    task = scene.task("COMPLETED", rng)
    scene.cluster.ask("scontrol", "requeue", task.element)
    return task.element


def _late(pause_s: float, scene: Scene, rng: random.Random) -> str:
    """Stop a trial's process until its time limit, or until Slurm's warning lets it go on."""
    files, lease = scene.running(rng)
    deadline = time.monotonic() + FROZEN_S
    while time.monotonic() < deadline and not scene.study.over.is_set():
        if not is_trial(lease.pid, scene.study.paths.folder):
            return f"trial {lease.trial}"
        with suppress(ProcessLookupError):
            os.kill(lease.pid, signal.SIGSTOP)
        if _woken(files, lease, pause_s):
            return f"trial {lease.trial}"
    with suppress(ProcessLookupError):
        os.kill(lease.pid, signal.SIGCONT)
    raise Missed


def _woken(files: TrialPaths, lease: Lease, pause_s: float) -> bool:
    """Wait, for ever so short or until the process is neither stopped nor gone."""
    if pause_s:
        time.sleep(pause_s)
        return False
    while _state(lease.pid) == "T":
        time.sleep(0.1)
    return True


def _state(pid: int) -> str:
    status = process_status(pid)
    return status[0] if status else ""


def _warned(scene: Scene, rng: random.Random) -> str:
    return _late(0.0, scene, rng)


def _unwarned(scene: Scene, rng: random.Random) -> str:
    # Slurm's CONT comes with every signal; between two looks there is no time to answer one.
    return _late(0.004, scene, rng)


def _node_lost(scene: Scene, rng: random.Random) -> str:
    task = scene.task("RUNNING", rng)
    _take_down(scene, task.node)
    scene.wait(rng.uniform(3.0, 15.0))
    scene.cluster.start_slurmd(task.node)
    return task.node


def _node_lost_with_copy(scene: Scene, rng: random.Random) -> str:
    """The old process is stopped until the new one has begun, and then goes on beside it."""
    files, lease = scene.running(rng)
    task = scene.until(lambda: _task_of(scene, lease), 5.0)
    with suppress(ProcessLookupError):
        os.kill(lease.pid, signal.SIGSTOP)
    try:
        _take_down(scene, task.node)
        with suppress(Missed):
            scene.until(lambda: _overtaken(files, lease), 90.0)
            scene.wait(rng.uniform(0.0, 1.0))
    finally:
        with suppress(ProcessLookupError):
            os.kill(lease.pid, signal.SIGCONT)
        scene.wait(rng.uniform(1.0, 4.0))
        scene.cluster.start_slurmd(task.node)
    return f"{task.node}, trial {lease.trial}" + (", two copies" if _overtaken(files, lease) else "")


def _task_of(scene: Scene, lease: Lease) -> Task | None:
    tasks = scene.cluster.tasks("RUNNING", scene.prefix)
    return next((task for task in tasks if task.element == lease.job), None)


def _overtaken(files: TrialPaths, lease: Lease) -> bool:
    with suppress(OSError, RecordError):
        return Lease.read(files.lease).attempt > lease.attempt
    return False


def _take_down(scene: Scene, node: str) -> None:
    scene.cluster.kill(f"slurmd-{node}")
    scene.cluster.ask("scontrol", "update", f"nodename={node}", "state=down", "reason=chaos")


FAULTS = (
    Fault("preempt.0", "preemption, no grace, no signal", _preempted, grace_s=0, user_signal=False),
    Fault("preempt.0s", "preemption, no grace, user signal", _preempted, grace_s=0, user_signal=True),
    Fault("preempt.8", "preemption, 8 s of grace, no signal", _preempted, grace_s=8, user_signal=False),
    Fault("preempt.8s", "preemption, 8 s of grace, user signal", _preempted, grace_s=8, user_signal=True),
    Fault(
        "preempt.program",
        "preemption by TERM alone, of `trainer=command`",
        _preempted,
        grace_s=8,
        user_signal=False,
        program=True,
    ),
    Fault("task.kill", "kill -9 of a task", _killed),
    Fault("task.scancel_running", "scancel of a running element", _running_scancelled),
    Fault("task.scancel_pending", "scancel of a pending element", _pending_scancelled),
    Fault("task.requeue", "requeue of a completed element", _requeued),
    Fault(
        "limit.warned",
        "time limit, with its warning",
        _warned,
        options=("cluster.time_limit=1", "cluster.signal_delay_s=5"),
    ),
    Fault(
        "limit.unwarned",
        "time limit, the warning unanswered",
        _unwarned,
        options=("cluster.time_limit=1", "cluster.signal_delay_s=5"),
    ),
    Fault("node.lost", "kill -9 of a slurmd, node set down and up again", _node_lost),
    Fault("node.copy", "the same, the old task going on beside the new one", _node_lost_with_copy),
)
