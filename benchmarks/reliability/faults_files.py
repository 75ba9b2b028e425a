"""Faults of the study folder: results damaged, the disk full or read-only."""

from __future__ import annotations

import random

from benchmarks.reliability.scene import Fault, Missed, Scene
from hpo.study.state import TrialState


def _damaged(kind: str, scene: Scene, rng: random.Random) -> str:
    results = scene.until(lambda: sorted(scene.study.paths.trials.glob("*/metrics.json")))
    text = rng.choice(results).read_text()
    content = {"empty": "", "truncated": text[: len(text) // 2], "foreign": text}[kind]
    study = scene.study.study
    open_trials = [
        trial.id
        for trial in (study.in_state(TrialState.OPEN) if study else ())
        if not scene.study.paths.trial(trial.id).metrics.exists()
    ]
    if not open_trials:
        raise Missed
    name = rng.choice(open_trials)
    try:
        with scene.study.paths.trial(name).metrics.open("x") as stream:
            stream.write(content)
    except OSError as error:
        raise Missed from error
    return f"trial {name}"


def _empty(scene: Scene, rng: random.Random) -> str:
    return _damaged("empty", scene, rng)


def _truncated(scene: Scene, rng: random.Random) -> str:
    return _damaged("truncated", scene, rng)


def _foreign(scene: Scene, rng: random.Random) -> str:
    return _damaged("foreign", scene, rng)


def _full(scene: Scene, rng: random.Random) -> str:
    seconds = rng.uniform(5.0, 20.0)
    try:
        scene.disk.fill()
        scene.wait(seconds)
    finally:
        scene.disk.free()
    return f"for {seconds:.1f} s"


def _read_only(scene: Scene, rng: random.Random) -> str:
    seconds = rng.uniform(5.0, 20.0)
    with scene.disk.read_only():
        scene.wait(seconds)
    return f"for {seconds:.1f} s"


FAULTS = (
    Fault("metrics.truncated", "a truncated metrics.json in an open trial's folder", _truncated),
    Fault("metrics.empty", "an empty metrics.json in an open trial's folder", _empty),
    Fault("metrics.foreign", "another trial's metrics.json in an open trial's folder", _foreign),
    Fault("disk.full", "the study root's disk full for a while", _full, small_disk=True),
    Fault("disk.read_only", "the study root read-only for a while", _read_only, small_disk=True),
)
