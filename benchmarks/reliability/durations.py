"""How long the trials of a study worked, when a perfect scheduler would be done, and where time was lost."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from hpo.paths import StudyPaths
from hpo.records import TrialSpec
from hpo.study.causes import record_of
from jobs.recipes.synthetic import parse

GPUS = 8


def drawn(paths: StudyPaths) -> list[float]:
    """Seconds of work of each trial, in order of submission, as drawn from its seed."""
    specs = [TrialSpec.read(path) for path in sorted(paths.trials.glob("*/spec.json"))]
    return [parse(spec.recipe).work_seconds(spec.seed, spec.fidelity) for spec in specs]


def perfect_makespan(seconds: Sequence[float], machines: int = GPUS) -> float:
    """When the last of these is over if each starts, in order, on the machine that is free first."""
    free = [0.0] * machines
    for each in seconds:
        heapq.heappush(free, heapq.heappop(free) + each)
    return max(free)


def lost_time(paths: StudyPaths, work: Sequence[float]) -> dict[str, float]:
    """Where an undisturbed trial's time goes beside its work, on average, in seconds.

    Args:
        paths: of a study in which every trial had one attempt.
        work: of `drawn`.

    Returns:
        within: from the start of the trial's process to its result, beyond its work; between: from a result
        to the start of the next process on the same GPU: Slurm's scheduling, srun, and the controller where
        nothing waited in the queue; first and last: when the first process started and the last result came,
        by the system's clock.
    """
    spans = []
    for path in sorted(paths.trials.glob("*/spec.json")):
        files = paths.trial(path.parent.name)
        record = record_of(files, 1)
        if record is not None:
            end = files.attempt(1).stat().st_mtime  # written for the last time when the result was
            spans.append((end - record.seconds, end))
    within = [end - start - own for (start, end), own in zip(spans, work, strict=True)]
    between = gaps(spans)
    return {
        "within": sum(within) / len(within),
        "between": sum(between) / len(between) if between else 0.0,
        "first": min(start for start, _ in spans),
        "last": max(end for _, end in spans),
    }


def gaps(spans: Sequence[tuple[float, float]], machines: int = GPUS) -> list[float]:
    """How long each machine stood idle between two of these spans of (start, end).

    Which machine a span was on is not known; that the longest idle one takes the next one is assumed, which
    leaves the sum as it is.
    """
    free: list[float] = []
    idle = []
    for start, end in sorted(spans):
        if len(free) == machines or (free and free[0] <= start):
            before = heapq.heappop(free)
            idle.append(start - before)
        heapq.heappush(free, end)
    return idle
