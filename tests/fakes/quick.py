"""A trial kind for tests of the controller: closed-form objectives after a stated time, real files.

It stands in for the QLoRA trial where a test is about the controller or the scheduler and thousands of steps
of training would prove nothing more. Every execution leaves a line in `runs.jsonl` of the trial's folder.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo.paths import StudyPaths
from hpo.records import (
    Failure,
    Lease,
    Metric,
    Progress,
    TrialResult,
    TrialSpec,
    append_jsonl,
    write_json,
    write_json_once,
)


class Quick:
    """What the controller may know of quick trials."""

    target = "quick:main"

    def resolve(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        return dict(recipe)

    def problems(self, recipe: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        rate = recipe["trainer"].get("learning_rate")
        return [] if rate and rate > 0 else [("trainer.learning_rate", f"got {rate!r}: should be above 0")]

    def metrics(self, recipe: Mapping[str, Any]) -> Sequence[str]:
        return ["eval_loss", "train_seconds"]

    def prepare(self, recipe: Mapping[str, Any], cache: str, say: Callable[[str], None]) -> None:
        say("nothing to prepare")

    def baseline(self, recipe: Mapping[str, Any], cache: str) -> Mapping[str, float] | None:
        return {"eval_loss": 3.0}

    def check(self, recipe: Mapping[str, Any], cache: str) -> Sequence[tuple[str, str, str]]:
        return [("ok", "quick trials need nothing", "")]


def main(study: str, batch: str, trial: str) -> int:
    """Run one quick trial."""
    paths = StudyPaths(Path(study))
    files = paths.trial(trial)
    # as a real trial does: TERM is a warning, unless the trial was cancelled
    signal.signal(signal.SIGTERM, lambda *_: os._exit(1) if files.cancel.exists() else None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    if files.metrics.exists() or files.cancel.exists():
        return 0
    spec = TrialSpec.read(files.spec)
    attempt = Lease.read(files.lease).attempt + 1 if files.lease.exists() else 1
    lease = Lease(trial, attempt, batch, "job", 0, "here", os.getpid())
    write_json(files.lease, lease.to_json())
    append_jsonl(files.folder / "runs.jsonl", {"attempt": attempt, "pid": os.getpid(), "batch": batch})
    trainer = spec.recipe["trainer"]
    _work(files, attempt, trainer["seconds"])
    if trainer["fails_above"] and trainer["learning_rate"] > trainer["fails_above"]:
        cause, message = trainer["cause"], "as asked"
        write_json(files.failure(attempt), Failure(trial, attempt, cause, message).to_json())
        return 1
    distance = (math.log10(trainer["learning_rate"]) + 3) ** 2
    metrics = {
        "eval_loss": Metric(1 + distance + 4 / trainer["lora_rank"], 0.01),
        "train_seconds": Metric(10 + trainer["lora_rank"] / 2),
    }
    write_json_once(files.metrics, TrialResult(trial, attempt, metrics).to_json())
    return 0


def _work(files: Any, attempt: int, seconds: float) -> None:
    steps = 10
    for step in range(1, steps + 1):
        time.sleep(seconds / steps)
        progress = Progress(
            attempt, "training", step, steps, loss=3.0 / step, train_seconds=seconds / steps * step
        )
        append_jsonl(files.progress, progress.to_json(), durable=False)
