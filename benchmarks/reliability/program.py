"""The program of trials of `trainer=command`: it sleeps step by step, saves each step and goes on from there.

It knows nothing of TERM, as most programs: a signal ends it, and what it saved is what it goes on from.
"""

from __future__ import annotations

import json
import math
import random
import sys
import time
from pathlib import Path

STEP_S, MEAN_S, SIGMA = 0.1, 4.0, 0.5


def steps_of(seed: int) -> int:
    """How many steps a trial takes: log-normal as the synthetic trials."""
    return max(1, math.ceil(MEAN_S * random.Random(seed).lognormvariate(-(SIGMA**2) / 2, SIGMA) / STEP_S))


def program_loss(x: float, seed: int) -> float:
    """What it reports once each step was done once: x to the square, and a part of the steps' number."""
    return x**2 + steps_of(seed) / 1000


def main(x: str, seed: str, folder: str, progress: str, metrics: str) -> None:
    """Go on from what is saved; the sum of what each step adds is the loss."""
    saved = Path(folder) / "saved.json"
    step, total = json.loads(saved.read_text()) if saved.exists() else (0, float(x) ** 2)
    steps = steps_of(int(seed))
    while step < steps:
        time.sleep(STEP_S)
        step, total = step + 1, total + 0.001
        fresh = saved.with_suffix(".new")
        fresh.write_text(json.dumps([step, total]))
        fresh.replace(saved)
        with Path(progress).open("a") as told:
            told.write(json.dumps({"step": step, "steps": steps, "saved": True}) + "\n")
    Path(metrics).write_text(json.dumps({"loss": total}))


if __name__ == "__main__":
    main(*sys.argv[1:])
