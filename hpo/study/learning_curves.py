"""Learning curves: a trial's progress log without the steps that a later attempt repeated."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hpo.paths import StudyPaths
from hpo.records import Progress, RecordError
from hpo.study.state import Study

MOST = 1000  # points of one curve: what tools draw in one
MOST_CURVES = 200  # of a study, beside each other
MOST_POINTS = 100  # of each of these
T = TypeVar("T")


def learning_curve(path: Path, most: int | None = MOST) -> list[Progress]:
    """The records of a progress log that tell a loss, by step; a long one is thinned out.

    Args:
        path: progress.jsonl; one that is not there has no points.
        most: points, at least 2; None: all.
    """
    by_step: dict[int, Progress] = {}
    for record in _records(path):
        known = by_step.get(record.step)
        if record.loss is not None or record.eval_loss is not None:
            by_step[record.step] = _merged(known, record) if known else record
    points = [by_step[step] for step in sorted(by_step)]
    return points if most is None else thinned(points, most)


def thinned(points: Sequence[T], most: int) -> list[T]:
    """At most so many of the points (at least 2), evenly; the first and the last are among them."""
    if len(points) <= most:
        return list(points)
    last = len(points) - 1
    return [points[at * last // (most - 1)] for at in range(most)]


def _records(path: Path) -> Iterator[Progress]:
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError:
        return
    for line in lines:
        try:
            yield Progress.from_json(json.loads(line), path)
        except (ValueError, RecordError, AttributeError):
            continue  # a damaged line is not worth a curve


def _merged(old: Progress, new: Progress) -> Progress:
    """Of two records of a step, the newer one's word; a value that it does not tell stays."""
    kept = {name: value for name, value in new.__dict__.items() if value is not None}
    return Progress(**{**old.__dict__, **kept})


@dataclass(frozen=True)
class LearningCurve:
    """One trial's (step, nats per token) of training and of validation."""

    number: int
    training: list[tuple[int, float]]
    validation: list[tuple[int, float]]


def learning_curves(study: Study, paths: StudyPaths, first: Collection[str]) -> list[LearningCurve]:
    """The learning curves of at most `MOST_CURVES` trials that have any, those named `first` among them."""
    others = [name for name in study.trials if name not in first]
    room = MOST_CURVES - len(first)
    chosen = {*first, *(thinned(others, room) if room > 1 else [])}
    read = (_read(study.trials[name].number, paths.trial(name).progress) for name in sorted(chosen))
    return [curve for curve in read if curve.training or curve.validation]


def _read(number: int, path: Path) -> LearningCurve:
    points = learning_curve(path, None)  # thinned, it could lose the few validation losses among the others
    training = [(point.step, point.loss) for point in points if point.loss is not None]
    validation = [(point.step, point.eval_loss) for point in points if point.eval_loss is not None]
    return LearningCurve(number, thinned(training, MOST_POINTS), thinned(validation, MOST_POINTS))
