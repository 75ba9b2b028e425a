"""A trial as a node runs it, with a clock: `python -m benchmarks.trial.ours STUDY TRIAL ANSWER.json`.

Loads nothing that a trial does not load before its first step.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from benchmarks.trial.clock import Clock
from hpo.records import TrialResult, TrialSpec
from jobs.attempt.attempt import Attempt, conduct
from jobs.attempt.environment import go_offline, seconds_since_start
from jobs.training.gpus import take_place

BATCH_ID = "000"
# What `jobs.training.trial` calls between its imports and the first step: name there -> what to call it here.
PARTS = {
    "obtain_base": "the base model's entry checked, or made",
    "obtain_examples": "the examples",
    "load": "reading the base model",
    "add_adapter": "the adapter",
}


def main(study: str, trial: str, answer: str) -> int:
    """Run the trial and write what the clock says; the exit status is the trial's."""
    clock, seconds = Clock(), {"Python and the trial's entry": seconds_since_start()}

    def work(spec: TrialSpec, attempt: Attempt) -> TrialResult:
        go_offline()
        began = time.monotonic()
        from jobs.training import loop as training
        from jobs.training import trial

        patched: Any = trial
        seconds["imports"] = time.monotonic() - began
        for name, title in PARTS.items():
            setattr(patched, name, _timed(getattr(patched, name), title, seconds))
        _listen(training.StepWatch, clock)
        cpu: list[float] = []

        def started() -> float:
            cpu.append(time.process_time())
            return seconds_since_start()

        patched.seconds_since_start = started
        result = trial.run(spec, attempt, take_place(spec))
        assert isinstance(result, TrialResult), "it has no rung to stop at"
        start = result.metrics["start_seconds"].value
        seconds["the Trainer and the rest"] = start - sum(seconds.values())
        metrics = {name: metric.value for name, metric in result.metrics.items()}
        steps = clock.record() if len(clock.walls) > 1 else {}
        parts = {name: round(value, 3) for name, value in seconds.items()}
        starts = {"start_seconds": start, "start_cpu_s": round(cpu[0], 3), "parts": parts}
        Path(answer).write_text(json.dumps({**steps, **starts, "metrics": metrics}))
        return result

    return conduct(study, BATCH_ID, trial, work)


def _timed(call: Callable[..., Any], title: str, seconds: dict[str, float]) -> Callable[..., Any]:
    @wraps(call)
    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.monotonic()
        try:
            return call(*args, **kwargs)
        finally:
            seconds[title] = seconds.get(title, 0.0) + time.monotonic() - began

    return timed


def _listen(watch: Any, clock: Clock) -> None:
    real = watch.on_step_end

    def on_step_end(self: Any, *args: Any, **kwargs: Any) -> None:
        real(self, *args, **kwargs)
        clock.step_ended(self._trainer.totals.tokens)

    watch.on_step_end = on_step_end


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
