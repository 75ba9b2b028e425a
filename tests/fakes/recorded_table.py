"""A table of ten made-up fine-tunes, as benchmarks/finetunes records them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

STEPS, RUNGS = 9, [place / 9 for place in range(1, 10)]
UNTUNED = 4.0
RATES = [10 ** (-4 + 2 * place / 9) for place in range(10)]
DIVERGED = 0  # the best until then, which is step 5


def losses(number: int) -> list[float]:
    """At the rungs: on a line from the untuned loss to 2 + number / 10."""
    return [UNTUNED + (2 + number / 10 - UNTUNED) * rung for rung in RUNGS]


def row(number: int) -> dict[str, Any]:
    """A step takes a second and reads ten tokens."""
    rows = [
        {
            "rung": rung,
            "step": step,
            "eval_loss": loss,
            "eval_loss_error": 0.05,
            "train_loss": loss + 0.5,
            "train_cpu_seconds": float(step),
            "train_seconds": 7.0 * step,  # beside others on the same machine
            "tokens": 10.0 * step,
        }
        for step, (rung, loss) in enumerate(zip(RUNGS, losses(number), strict=True), start=1)
    ]
    params = {"learning_rate": RATES[number], "target_modules": "all" if number % 2 else "qv"}
    line: dict[str, Any] = {"trial": number, "params": params, "rungs": rows[:-1], "failure": None}
    if number == DIVERGED:
        failure = {"cause": "diverged", "message": "loss at step 5: got nan", "step": 5}
        return {**line, "rungs": rows[:4], "metrics": None, "failure": failure}
    last = {name: value for name, value in rows[-1].items() if name not in ("rung", "step")}
    return {**line, "metrics": {**last, "adapter_bytes": 1000.0}}


def write_table(path: Path) -> Path:
    """Write it, compressed where the name ends in .gz."""
    head = {
        "table": 1,
        "name": "made_up",
        "parameters": {
            "learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
            "target_modules": {"type": "choice", "values": ["qv", "all"]},
        },
        "rungs": RUNGS,
        "recipe": {"trainer": {"max_steps": STEPS}},
        "untuned": {"eval_loss": UNTUNED, "standard_error": 0.1, "examples": 12, "tokens": 100},
    }
    text = "".join(json.dumps(line) + "\n" for line in (head, *map(row, range(10))))
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8") as stream:
        stream.write(text)
    return path
