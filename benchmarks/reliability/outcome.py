"""What came of a study, from its journal, its trials' own files and the queue; nothing is taken on trust."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.reliability.cluster import Cluster
from benchmarks.reliability.program import program_loss
from hpo.controller.submission import study_prefix
from hpo.paths import StudyPaths, TrialPaths
from hpo.records import Metric, RecordError, TrialResult, TrialSpec, read_jsonl
from hpo.study.causes import record_of
from hpo.study.replay import replay
from hpo.study.state import Event, Study, TrialState
from jobs.recipes.synthetic import STANDARD_ERROR, STEP_NOISE, UNTUNED, draw, parse
from slurm.devcluster.processes import job_processes

QUEUE_S = 90.0


@dataclass
class Outcome:
    """Lists of trials, or counts; everything but the counts should be empty."""

    completed: int = 0
    attempts: int = 0
    cancelled: list[str] = field(default_factory=list)  # after a scancel, as they should be
    lost: list[str] = field(default_factory=list)  # without a result though nobody cancelled them
    twice: list[str] = field(default_factory=list)  # results counted more than once
    wrong: list[str] = field(default_factory=list)  # results that an undisturbed trial would not have
    scratch: list[str] = field(default_factory=list)  # began at step 0 though there was a checkpoint
    unexplained: list[str] = field(default_factory=list)  # attempts of whose end the journal says nothing
    left: int = 0  # tasks in the queue after the study's end
    ghosts: int = 0  # of a slurmctld that was killed: shown as running, though their processes have ended

    @property
    def clean(self) -> bool:
        """Whether everything is as it should be."""
        bad = (self.lost, self.twice, self.wrong, self.scratch, self.unexplained, self.left)
        return not any(bad)

    def to_json(self) -> dict[str, Any]:
        """The outcome as plain values."""
        return asdict(self)


def outcome(paths: StudyPaths, trials: int, scancelled: Collection[str] = ()) -> Outcome:
    """Count what came of a study.

    Args:
        paths: its files.
        trials: its budget.
        scancelled: trials of which a task was cancelled by hand.
    """
    events = read_jsonl(paths.journal)
    study, found = replay(events), Outcome()
    counted = Counter(entry["trial"] for entry in events if entry["event"] == Event.TRIAL_COMPLETED.value)
    found.twice = [name for name, times in counted.items() if times > 1]
    found.lost = [f"{number:04d}" for number in range(len(study.trials), trials)]
    for trial in study.trials.values():
        files = paths.trial(trial.id)
        _count_attempts(study, trial.id, files, found)
        if trial.state is TrialState.COMPLETED:
            found.completed += 1
            if not _is_right(files, trial.id, trial.metrics):
                found.wrong.append(trial.id)
        elif trial.state is TrialState.CANCELLED and trial.id in scancelled:
            found.cancelled.append(trial.id)
        else:
            found.lost.append(trial.id)
    return found


def _count_attempts(study: Study, name: str, files: TrialPaths, found: Outcome) -> None:
    numbers = sorted(int(path.stem) for path in files.attempts.glob("*.json") if path.stem.isdigit())
    found.attempts += len(numbers)
    saved = 0
    for number in numbers:
        record = record_of(files, number)
        if record is not None and saved and not record.from_step:
            found.scratch.append(f"{name}/{number}")
        saved = max(saved, record.saved_step if record is not None else 0)
    ended = {end.attempt for end in study.ends if end.trial == name}
    found.unexplained += [f"{name}/{number}" for number in numbers if number not in ended]


def _is_right(files: TrialPaths, name: str, metrics: dict[str, Metric]) -> bool:
    """Whether file, journal and a computation of the undisturbed trial agree."""
    try:
        result, spec = TrialResult.read(files.metrics), TrialSpec.read(files.spec)
    except (OSError, RecordError):
        return False
    name_of_loss, expected = undisturbed(spec)
    same = math.isclose(result.metrics[name_of_loss].value, expected, rel_tol=1e-9)
    return result.trial == name and result.metrics == metrics and same


def undisturbed(spec: TrialSpec) -> tuple[str, float]:
    """What a trial that ran from its first step to its last, each step once, reports: metric and value."""
    trainer = spec.recipe["trainer"]
    if isinstance(trainer, dict) and "argv" in trainer:
        return "loss", program_loss(float(spec.params["x"]), spec.seed)
    return "train_loss", undisturbed_loss(spec)


def undisturbed_loss(spec: TrialSpec) -> float:
    """The training loss of a synthetic trial that ran from its first step to its last, each step once."""
    recipe = parse(spec.recipe)
    seconds = recipe.work_seconds(spec.seed, spec.fidelity)
    steps = max(1, math.ceil(seconds / recipe.step_seconds))
    end = recipe.eval_loss(spec.fidelity)
    end += STANDARD_ERROR * draw(spec.seed, "evaluation").gauss(0.0, 1.0)
    late = max(1, steps // 10)
    losses = [
        end
        + (UNTUNED - end) * math.exp(-5 * step / steps)
        + STEP_NOISE * draw(spec.seed, "step", step).gauss(0.0, 1.0)
        for step in range(steps - late + 1, steps + 1)
    ]
    return sum(losses) / late


def left_in_queue(cluster: Cluster, study: Study, patience_s: float = QUEUE_S) -> int:
    """How many tasks of a study are still in the queue when it should have become empty; -1: no answer.

    Args:
        cluster: asked.
        study: whose arrays are looked for.
        patience_s: how long tasks may take to end.
    """
    prefix, deadline = study_prefix(study), time.monotonic() + patience_s
    while True:
        try:
            left = sum(name.startswith(prefix) for name in cluster.names())
        except RuntimeError:
            left = -1
        if left == 0 or time.monotonic() > deadline:
            return left
        time.sleep(0.5)


def ghosts_in_queue(cluster: Cluster, study: Study) -> int:
    """How many tasks of a study show as running though no process of a task is left on any node.

    Args:
        cluster: asked.
        study: whose arrays are looked for.
    """
    return 0 if job_processes(cluster.layout) else len(cluster.tasks("RUNNING", study_prefix(study)))
