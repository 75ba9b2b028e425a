"""Studies written as a controller and its trials write them, without running anything."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hpo.objectives import describe_objectives, parse_objectives
from hpo.optimizer import Optimizer
from hpo.paths import StudyPaths
from hpo.records import AttemptRecord, Cause, Progress, append_jsonl, write_json
from hpo.space.space import parse_space
from hpo.study.state import Event, trial_id
from hpo.study.store import create_study

SPACE = {
    "learning_rate": "tag(log, interval(1e-5, 1e-2))",
    "lora_rank": "range(4, 64, step=4)",
    "target_modules": "choice(qv, attention, all)",
    "warmup": "interval(0, 0.2)",
}
OBJECTIVES = {"eval_loss": "min", "train_seconds": "min", "accuracy": "max"}
SECTIONS = (  # that every report has
    *("decision", "front", "advance", "parameters", "importance", "trust", "curves", "timeline"),
    *("failures", "cost", "trials", "provenance"),
)
SCRIPT = "<script>document.title = 'taken'</script>"


@dataclass(frozen=True)
class Told:
    """What became of one configuration: metrics with standard errors, or a cause."""

    metrics: Mapping[str, tuple[float, float | None]] | None = None
    cause: Cause | None = None


def outcome(params: Mapping[str, Any], noise: float) -> Told:
    """A made-up fine-tune: a valley over the learning rate, larger ranks slower, high rates diverge."""
    rate = math.log10(params["learning_rate"])
    rank, modules = params["lora_rank"], {"qv": 0.0, "attention": 1.0, "all": 2.0}[params["target_modules"]]
    if rate > -2.25 and rank > 16:
        return Told(cause=Cause.DIVERGED)
    loss = 1.2 + 0.25 * (rate + 3.3) ** 2 - 0.05 * modules - 0.04 * math.log(rank) + 0.02 * noise
    seconds = (300 + 5 * rank + 90 * modules) * (1 + 0.02 * noise)
    return Told(
        {
            "eval_loss": (loss, 0.02),
            "train_seconds": (seconds, None),
            "accuracy": (1 / (1 + math.exp(2 * loss - 2.4)), 0.01),
            "gpu_energy_wh": (seconds / 12, None),
        }
    )


def write_study(
    folder: Path,
    trials: int,
    *,
    objectives: Sequence[str] = ("eval_loss", "train_seconds"),
    strategy: str = "sobol",
    nodes: int = 4,
    fixed: Mapping[str, Any] | None = None,
    running: int = 0,
) -> StudyPaths:
    """A study of so many trials, every tenth preempted once, with the files that a report reads.

    Args:
        folder: where to put it.
        trials: how many.
        objectives: some of `OBJECTIVES`.
        strategy: that proposes; the outcomes are told to it only afterwards.
        nodes: of one card each, of two kinds.
        fixed: parameters that all trials have the same value of.
        running: how many of the last ones have not ended.
    """
    space = parse_space(SPACE)
    described = describe_objectives(parse_objectives({name: OBJECTIVES[name] for name in objectives}))
    same = {"space": space.describe(), "objectives": described}
    settings = {"budget": {"trials": trials}, "cost": {"gpu_hour": {"V100": 1.5, "A100": 4}}}
    paths = StudyPaths(folder / "written")
    config = {
        "study": {"name": "written", "seed": 0, "note": SCRIPT, "hub_token": "hf_hidden"},
        "space": SPACE,
    }
    create_study(paths, config, same, {"objectives": described, "settings": settings})
    proposals = Optimizer(space, objectives_of(objectives), strategy=strategy, seed=0).propose(trials)
    writer = _Writer(paths, nodes)
    writer.event(Event.CONTROLLER_STARTED, baseline={"eval_loss": 2.6})
    writer.event(
        Event.BATCH_PLANNED,
        batch="0000",
        proposals=[
            {
                "trial": trial_id(number),
                "number": number,
                "params": {**proposal.params, **(fixed or {})},
                # the way it was found is told in turns, so that every kind is seen
                "origin": "sobol" if number < 8 else ("model", "model", "random")[number % 3],
            }
            for number, proposal in enumerate(proposals)
        ],
        retries=[],
    )
    draw = random.Random(0)
    for number, proposal in enumerate(proposals):
        told = outcome({**proposal.params, **(fixed or {})}, draw.gauss(0.0, 1.0))
        writer.trial(number, told, running=number >= trials - running)
    if not running:
        writer.event(Event.STUDY_FINISHED, reason=f"budget.trials={trials} is spent")
    writer.flush()
    return paths


def objectives_of(names: Sequence[str]) -> dict[str, str]:
    """These objectives with their directions."""
    return {name: OBJECTIVES[name] for name in names}


class _Writer:
    """Keeps the clock of each node and collects the journal's events."""

    def __init__(self, paths: StudyPaths, nodes: int) -> None:
        self._paths = paths
        self._now = datetime.now(UTC)  # after the study was created
        self._free = [self._now + timedelta(seconds=7 * node) for node in range(nodes)]
        self._lines: list[tuple[datetime, dict[str, Any]]] = []

    def event(self, event: Event, **fields: Any) -> None:
        self._lines.append((self._now, {"event": event.value, **fields}))

    def flush(self) -> None:
        """Write the journal in one go: a line at a time, durably, is what takes a controller's time."""
        ordered = sorted(self._lines, key=lambda line: line[0])
        text = "".join(
            json.dumps({"schema_version": 1, "at": at.isoformat(timespec="microseconds"), **fields}) + "\n"
            for at, fields in ordered
        )
        with self._paths.journal.open("a", encoding="utf-8") as stream:
            stream.write(text)

    def trial(self, number: int, told: Told, *, running: bool) -> None:
        """All attempts of one trial, on the node that is free first."""
        node = min(range(len(self._free)), key=self._free.__getitem__)
        name, attempt = trial_id(number), 1
        seconds = told.metrics["train_seconds"][0] if told.metrics else 60.0
        self._paths.trial(name).attempts.mkdir(parents=True)
        if number % 10 == 3:
            self._attempt(name, attempt, node, 200.0, saved=120.0)
            self._end(Event.ATTEMPT_REQUEUED, name, attempt, node, 200.0, Cause.PREEMPTED, "preempted", 120.0)
            attempt = 2
        self._attempt(name, attempt, node, seconds, saved=0.0)
        self._curve(name, told)
        if running:
            self._free[node] += timedelta(hours=1)
            return
        if told.metrics:
            metrics = {
                key: {"value": value, "standard_error": error} for key, (value, error) in told.metrics.items()
            }
            self._end(Event.TRIAL_COMPLETED, name, attempt, node, seconds, None, "", seconds, metrics=metrics)
            details = {"device": "Tesla V100-SXM2-32GB", "hashes": {"recipe": "abc", "data": "def"}}
            result = {
                "schema_version": 1,
                "trial": name,
                "attempt": attempt,
                "metrics": metrics,
                "details": details,
            }
            write_json(self._paths.trial(name).metrics, result)
        else:
            message = f"loss is nan at step {number} {SCRIPT}"
            self._end(Event.ATTEMPT_ENDED, name, attempt, node, seconds, told.cause, message, seconds)
            self.event(Event.TRIAL_FAILED, trial=name, cause=str(told.cause), message=message)

    def _attempt(self, name: str, attempt: int, node: int, seconds: float, saved: float) -> None:
        record = AttemptRecord(
            trial=name,
            attempt=attempt,
            batch="0000",
            job="1",
            restart=attempt - 1,
            host=f"node{node}",
            gpus=1,
            device="Tesla V100-SXM2-32GB" if node % 2 == 0 else "NVIDIA A100-SXM4-40GB",
            started_at=self._free[node].isoformat(timespec="microseconds"),
            seconds=seconds,
            saved_seconds=saved,
        )
        write_json(self._paths.trial(name).attempt(attempt), record.to_json())

    def _end(
        self,
        event: Event,
        name: str,
        attempt: int,
        node: int,
        seconds: float,
        cause: Cause | None,
        message: str,
        useful: float,
        **more: Any,
    ) -> None:
        self._free[node] += timedelta(seconds=seconds)
        self._now = self._free[node]
        fields: dict[str, Any] = {
            "trial": name,
            "batch": "0000",
            "attempt": attempt,
            "node": f"node{node}",
            "restart": attempt - 1,
            "seconds": seconds,
            "gpus": 1,
            "useful_seconds": useful,
            "progressed": True,
            **more,
        }
        if cause is not None:
            fields |= {"cause": cause.value, "message": message}
        self.event(event, **fields)
        self._free[node] += timedelta(seconds=20)

    def _curve(self, name: str, told: Told) -> None:
        end = told.metrics["eval_loss"][0] if told.metrics else 5.0
        log = self._paths.trial(name).progress
        for step in range(0, 101, 5):
            loss = end + (2.6 - end) * math.exp(-step / 25)
            judged = loss + 0.05 if step % 50 == 0 else None
            line = Progress(1, "training", step, 100, loss=loss, eval_loss=judged).to_json()
            append_jsonl(log, line, durable=False)
