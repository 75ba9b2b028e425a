"""Learning curves: a trial's progress log without the steps that a later attempt repeated."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from hpo.records import Progress, RecordError

MOST = 1000  # points of one curve: what tools draw in one
T = TypeVar("T")


def learning_curve(path: Path, most: int | None = MOST) -> list[Progress]:
    """The records of a progress log that tell a loss, by step; a long one is thinned out.

    Args:
        path: progress.jsonl; one that is not there has no points.
        most: points, at least 2; None: all.
    """
    told: dict[int, Progress] = {}
    for record in _records(path):
        known = told.get(record.step)
        if record.loss is not None or record.eval_loss is not None:
            told[record.step] = _merged(known, record) if known else record
    points = [told[step] for step in sorted(told)]
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
