"""Faults of the controller: killed, doubled, its clock moved, its journal torn."""

from __future__ import annotations

import os
import random
from contextlib import suppress

from benchmarks.reliability.scene import Fault, Missed, Scene


def _killed(scene: Scene, rng: random.Random) -> str:
    down_s = rng.uniform(0.0, 8.0)
    with scene.study.outage():
        if not scene.study.kill():
            raise Missed
        scene.wait(down_s)
    return f"down for {down_s:.1f} s"


def _killed_long(scene: Scene, rng: random.Random) -> str:
    """Longer than Slurm remembers jobs that are over (MinJobAge, 60 s)."""
    with scene.study.outage():
        if not scene.study.kill():
            raise Missed
        scene.wait(75.0)
    return "down for 75 s"


def _killed_by_sbatch(mark: str, scene: Scene, rng: random.Random) -> str:
    delay_s = rng.choice([0.0, 1.0, 8.0])
    with scene.study.outage():
        scene.programs.mark(mark, str(delay_s))
        with suppress(Missed):
            scene.until(lambda: not scene.study.controllers, 45.0, 0.02)
        if scene.programs.unmark(mark):  # nothing was submitted any more
            raise Missed
        scene.wait(rng.choice([0.0, 2.0]))
    return f"sbatch {delay_s:g} s later" if mark == "kill_before" else ""


def _killed_before_record(scene: Scene, rng: random.Random) -> str:
    return _killed_by_sbatch("kill_after", scene, rng)


def _killed_before_sbatch(scene: Scene, rng: random.Random) -> str:
    return _killed_by_sbatch("kill_before", scene, rng)


def _torn(scene: Scene, rng: random.Random) -> str:
    """The half of the last line is what a kill in the middle of a write leaves."""
    with scene.study.outage():
        if not scene.study.kill():
            raise Missed
        path = scene.study.paths.journal
        content = path.read_bytes()
        begin = content.rfind(b"\n", 0, len(content) - 1) + 1
        if not begin:
            raise Missed
        os.truncate(path, begin + (len(content) - begin) // 2)
        scene.wait(rng.uniform(0.0, 3.0))
    return content[begin:].decode(errors="replace").split('"event": "')[-1].split('"')[0]


def _second(scene: Scene, rng: random.Random) -> str:
    if not scene.study.controllers:
        raise Missed
    scene.study.start()
    return "beside a living one"


def _two_at_once(scene: Scene, rng: random.Random) -> str:
    with scene.study.outage():
        if not scene.study.kill():
            raise Missed
        scene.study.start()
        scene.study.start()
    return "after a kill"


def _clock(scene: Scene, rng: random.Random) -> str:
    jump_s = rng.choice([-86400.0, -3600.0, -30.0, 30.0, 3600.0, 86400.0])
    scene.clock.write_text(str(jump_s))
    if rng.random() < 0.5:
        scene.wait(rng.uniform(2.0, 15.0))
        scene.clock.write_text("0")
        return f"{jump_s:+.0f} s, and back"
    return f"{jump_s:+.0f} s"


FAULTS = (
    Fault("controller.kill", "kill -9 of the controller", _killed),
    Fault("controller.away", "kill -9 of the controller, down for longer than Slurm remembers", _killed_long),
    Fault(
        "controller.kill_record",
        "kill -9 of the controller between sbatch and its record",
        _killed_before_record,
    ),
    Fault("controller.kill_sbatch", "kill -9 of the controller, its sbatch goes on", _killed_before_sbatch),
    Fault("controller.torn", "kill -9 of the controller, the journal's last line torn", _torn),
    Fault("controller.second", "a second controller beside the first", _second),
    Fault("controller.two", "two controllers started together after a kill", _two_at_once),
    Fault("controller.clock", "the controller's clock jumps", _clock),
)
