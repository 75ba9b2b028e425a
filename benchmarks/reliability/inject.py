"""One run: a cluster, a study on it, the faults of its plan, and what came of it as one record."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from benchmarks.records import ROOT, Record
from benchmarks.reliability.cluster import cluster
from benchmarks.reliability.disk import small_disk
from benchmarks.reliability.faults import FAULTS
from benchmarks.reliability.outcome import ghosts_in_queue, left_in_queue, outcome
from benchmarks.reliability.plan import Injection, Plan
from benchmarks.reliability.programs import Programs
from benchmarks.reliability.scene import Missed, Scene
from benchmarks.reliability.study import PROGRAM, SYNTHETIC, StudyProcess
from hpo.records import RecordError

DISK_MIB = 48
CLOCK = Path(__file__).parent / "clock"
ENDS_S = 60.0  # for a fault that undoes itself when the study is over
JOIN_S = 200.0


def run_plan(plan: Plan, folder: Path, limit_s: float, *, keep: bool = False) -> Record:
    """Run one plan to the end of its study.

    Args:
        plan: of `plan.draw_plan`.
        folder: for everything that the run makes; it is left only where something was wrong.
        limit_s: after so long the study counts as not finished.
        keep: leave it in any case.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with cluster(folder / "cluster", plan.cluster) as site, small_disk(folder / "root", DISK_MIB) as disk:
        programs = Programs(folder / "bin")
        clock = folder / "clock"
        environment = {**site.environment, "PATH": programs.search_path, "CHAOS_CLOCK": str(clock)}
        if any(injection.fault == "controller.clock" for injection in plan.injections):
            others = os.environ.get("PYTHONPATH", "")
            environment["PYTHONPATH"] = os.pathsep.join(path for path in (str(CLOCK), others) if path)
        options = [*(PROGRAM if plan.program else SYNTHETIC), *plan.options]
        study = StudyProcess(disk.folder, f"chaos{plan.seed}", options, environment, folder / "log")
        scene = Scene(site, study, disk, programs, clock)
        record = {**plan.to_json(), "commit": commit(), **_run(plan, scene, limit_s)}
        if (keep or not is_clean(record)) and study.paths.folder.exists():
            shutil.copytree(study.paths.folder, folder / "study", dirs_exist_ok=True)
    if is_clean(record) and not keep:
        shutil.rmtree(folder, ignore_errors=True)  # a mount that is busy for a moment spoils no record
    return record


def is_clean(record: Record) -> bool:
    """Whether a run ended as it should, with nothing to explain."""
    return bool(record["finished"] and record["clean"])


def _run(plan: Plan, scene: Scene, limit_s: float) -> Record:
    injected: list[Record] = []
    threads = [
        threading.Thread(target=_inject, args=(injection, plan.seed, scene, injected))
        for injection in plan.injections
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    code = scene.study.drive(limit_s)
    seconds = round(time.monotonic() - began, 1)
    for thread in threads:
        thread.join(JOIN_S)
    scene.cluster.mend()
    return {
        "faults": sorted(injected, key=lambda fault: str(fault["fault"])),
        "exit": code,
        "starts": scene.study.starts,
        "seconds": seconds,
        **_outcome(scene, code, plan.trials, {own["fault"] for own in injected if own["injected"]}),
    }


def _outcome(scene: Scene, code: int | None, trials: int, injected: Collection[str]) -> Record:
    try:
        found = outcome(scene.study.paths, trials, scene.scancelled)
        study = scene.study.study
        found.left = left_in_queue(scene.cluster, study) if study else -1
        if study and found.left > 0 and "slurmctld.kill" in injected:
            found.ghosts = ghosts_in_queue(scene.cluster, study)
            found.left -= found.ghosts
    except (OSError, RecordError) as error:
        return {"finished": False, "clean": False, "error": str(error)}
    finished = code == 0 and study is not None and bool(study.finished)
    return {"finished": finished, "clean": found.clean, **found.to_json()}


def _inject(injection: Injection, seed: int, scene: Scene, injected: list[Record]) -> None:
    """Wait for the moment of one fault, and do it."""
    fault = FAULTS[injection.fault]
    rng = random.Random(f"{seed}:{injection}")
    record: dict[str, Any] = {"fault": fault.name, "injected": False}
    injected.append(record)
    began = time.monotonic()
    try:
        if fault.small_disk and not scene.disk.own:
            record["note"] = "nothing can be mounted here"
            return
        scene.until(lambda: scene.study.completed >= injection.after and scene.study.study, 1e9)
        scene.wait(injection.delay_s)
        if scene.study.over.is_set():
            raise Missed
        record["at_s"] = round(time.monotonic() - began, 1)
        record["note"] = fault.inject(scene, rng)
        record["injected"] = True
    except Missed:
        record["note"] = "found nothing to hurt"
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        record["note"] = f"the injection failed: {error}"


def commit() -> str:
    """The commit that is checked out; empty where that is not known."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def describe(record: Record) -> str:
    """One line for a run.

    Args:
        record: of `run_plan`.
    """
    named: Sequence[str] = [
        f"{own['fault']}{'' if own['injected'] else ' (missed)'}" for own in record["faults"]
    ]
    words = [
        f"seed {record['seed']}: {', '.join(named)}: {record['seconds']:.0f} s, {record['starts']} starts"
    ]
    if not record["finished"]:
        words.append(
            f"NOT FINISHED (exit code {record['exit']}{', ' + record['error'] if 'error' in record else ''})"
        )
    bad = ("lost", "twice", "wrong", "scratch", "unexplained", "left")
    words += [f"{name} {record[name]}" for name in bad if record.get(name)]
    return "; ".join(words)
