"""Faults of a site and its people: variables, banners, a silent queue, torn files, scancel, takeovers."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from benchmarks.records import ROOT
from benchmarks.reliability.scene import Fault, Missed, Scene
from hpo.records import RecordError, write_json
from hpo.study.lease import DAMAGED_S, ControllerLease
from hpo.study.state import TrialState

# What profiles of sites and of shells are seen to set; each would hide, change or break something.
VARIABLES = {
    "SQUEUE_PARTITION": "urgent",
    "SQUEUE_STATES": "PENDING",
    "SQUEUE_USERS": "nobody",
    "SQUEUE_FORMAT": "%i %j",
    "SACCT_FORMAT": "jobid",
    "SLURM_CLUSTERS": "elsewhere",
    "SCANCEL_PARTITION": "urgent",
    "SBATCH_PARTITION": "urgent",
    "SBATCH_TIMELIMIT": "0:10",
    "SBATCH_NO_REQUEUE": "1",
    "SBATCH_ARRAY_INX": "90-95",
    "SBATCH_EXPORT": "NONE",
    "SLURM_EXPORT_ENV": "NONE",
    "SLURM_MEM_PER_CPU": "100000",
}
SHORTEST_SILENCE_S, LONGEST_SILENCE_S = (
    100.0,
    200.0,
)  # a study waits two minutes for a queue that stays unseen


def _variables(scene: Scene, rng: random.Random) -> str:
    """The next controller is started from another shell."""
    names = rng.sample(sorted(VARIABLES), rng.randint(3, 6))
    with scene.study.outage():
        scene.study.environment.update({name: VARIABLES[name] for name in names})
        if not scene.study.kill():
            raise Missed
    return ", ".join(names)


def _banners(scene: Scene, rng: random.Random) -> str:
    scene.programs.mark("noisy")
    return "to the end"


def _silence(scene: Scene, rng: random.Random) -> str:
    seconds = rng.uniform(SHORTEST_SILENCE_S, LONGEST_SILENCE_S)
    scene.programs.mark("squeue_fails")
    scene.wait(seconds)
    scene.programs.unmark("squeue_fails")
    return f"for {seconds:.0f} s at most"


def _torn(scene: Scene, rng: random.Random) -> str:
    """Whatever file the controller reads when it begins."""
    with scene.study.outage():
        if not scene.study.kill():
            raise Missed
        paths, study = scene.study.paths, scene.study.study
        open_trials = study.in_state(TrialState.OPEN) if study else []
        files = [
            *(paths.controller, paths.queue, paths.configuration),
            *paths.folder.glob("batches/*/batch.json"),
            *(paths.trial(trial.id).spec for trial in open_trials),
        ]
        there = sorted(path for path in files if path.exists())
        torn = rng.sample(there, min(len(there), rng.randint(1, 3)))
        for path in torn:
            _tear(path, rng)
        scene.wait(rng.uniform(0.0, 3.0))
    return ", ".join(str(path.relative_to(paths.folder)) for path in torn)


def _tear(path: Path, rng: random.Random) -> None:
    """What a full disk, a kill or a power cut leaves, and long ago, so that nobody is taken for alive."""
    whole = path.read_bytes()
    path.write_bytes(rng.choice([b"", whole[: len(whole) // 2], bytes(len(whole))]))
    then = time.time() - 2 * DAMAGED_S
    os.utime(path, (then, then))


def _journal(scene: Scene, rng: random.Random) -> str:
    """Damaged before its last line, and mended as its user is told to."""
    with scene.study.outage():
        if not scene.study.kill():
            raise Missed
        path = scene.study.paths.journal
        lines = path.read_bytes().splitlines(keepends=True)
        number = rng.randrange(1, len(lines)) if len(lines) > 1 else 0
        kind = rng.choice(["emptied", "lost", "cut", "zeros"])
        if kind == "lost":
            path.unlink()
        else:
            half = lines[number][: len(lines[number]) // 2]
            damaged = half + b"\n" if kind == "cut" else bytes(len(lines[number])) + b"\n"
            path.write_bytes(
                b"" if kind == "emptied" else b"".join([*lines[:number], damaged, *lines[number + 1 :]])
            )
        scene.until(lambda: _mended(scene), 90.0, 2.0)  # another fault may just keep the disk full
    return kind if kind in ("emptied", "lost") else f"{kind} at line {number + 1} of {len(lines)}"


def _mended(scene: Scene) -> bool:
    with scene.study.log.open("ab") as log:
        doctor = [sys.executable, "-m", "hpo", "doctor", str(scene.study.paths.folder)]
        done = subprocess.run(doctor, stdout=log, stderr=log, env=scene.study.variables, cwd=ROOT)
    return done.returncode == 0


def _scancel_everything(scene: Scene, rng: random.Random) -> str:
    tasks = scene.until(lambda: scene.cluster.tasks("RUNNING", scene.prefix))
    scene.cluster.ask("scancel", "--me")
    return f"{len(tasks)} tasks were running"


def _displaced(scene: Scene, rng: random.Random) -> str:
    """Stopped wherever it is, a second one takes over, and then the first goes on.

    That the first is on a host that is away is pretended in its lease: on one machine it is seen to live.
    """
    first = next(iter(scene.study.controllers), None)
    if first is None:
        raise Missed
    with suppress(ProcessLookupError):
        os.kill(first, signal.SIGSTOP)
    try:
        lease = _lease(scene)
        if lease is None or lease.pid != first:
            raise Missed
        write_json(scene.study.paths.controller, replace(lease, host="elsewhere", heartbeat=0.0).to_json())
        scene.study.displaced.add(first)
        scene.study.start()
        scene.until(lambda: (now := _lease(scene)) and now.token != lease.token, 60.0, 0.05)
        scene.wait(rng.uniform(0.0, 8.0))
    finally:
        with suppress(ProcessLookupError):
            os.kill(first, signal.SIGCONT)
    return "and went on"


def _lease(scene: Scene) -> ControllerLease | None:
    with suppress(OSError, RecordError):
        return ControllerLease.read(scene.study.paths.controller)
    return None


FAULTS = (
    Fault(
        "site.variables", "kill -9 of the controller, the next has variables for Slurm's clients", _variables
    ),
    Fault("site.banners", "every Slurm client prints lines around its answer", _banners),
    Fault("squeue.long", "squeue fails for minutes", _silence),
    Fault("files.torn", "kill -9 of the controller, one to three of its files torn", _torn),
    Fault(
        "files.journal", "kill -9 of the controller, the journal lost or damaged, `doctor STUDY`", _journal
    ),
    Fault(
        "task.scancel_all",
        "scancel of everything, `cluster.on_scancel=retry`",
        _scancel_everything,
        options=("cluster.on_scancel=retry",),
    ),
    Fault("controller.displaced", "the controller stopped, displaced by another, and going on", _displaced),
)
