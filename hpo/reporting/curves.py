"""Learning curves, read from the trials' progress logs; long ones and large studies are thinned out."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpo.paths import StudyPaths
from hpo.study import Study

MOST_CURVES = 200
MOST_POINTS = 100


@dataclass(frozen=True)
class Curve:
    """One trial's (step, nats per token) of training and of validation."""

    number: int
    training: list[tuple[int, float]]
    validation: list[tuple[int, float]]


def curves(study: Study, paths: StudyPaths, first: Collection[str]) -> list[Curve]:
    """The learning curves of at most `MOST_CURVES` trials that have any.

    Args:
        study: as the journal tells it.
        paths: of its files.
        first: ids of trials that are to be among them.
    """
    others = [name for name in study.trials if name not in first]
    room = max(0, MOST_CURVES - len(first))
    every = max(1, -(-len(others) // room)) if room else len(others) + 1
    chosen = {*first, *others[::every]}
    read = (_read(study.trials[name].number, paths.trial(name).progress) for name in sorted(chosen))
    return [curve for curve in read if curve.training or curve.validation]


def _read(number: int, path: Path) -> Curve:
    training: dict[int, float] = {}
    validation: dict[int, float] = {}
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        lines = []
    for line in lines:
        try:
            record = json.loads(line)
            step = int(record["step"])
        except (ValueError, KeyError, TypeError):
            continue  # a damaged line is not worth a report
        # a later attempt repeats steps: its word counts
        if isinstance(record.get("loss"), int | float):
            training[step] = record["loss"]
        if isinstance(record.get("eval_loss"), int | float):
            validation[step] = record["eval_loss"]
    return Curve(number, _thinned(training), _thinned(validation))


def _thinned(values: dict[int, float]) -> list[tuple[int, float]]:
    rows: Sequence[tuple[int, float]] = sorted(values.items())
    every = max(1, -(-len(rows) // MOST_POINTS))
    kept = list(rows[::every])
    return kept if not rows or kept[-1] == rows[-1] else [*kept, rows[-1]]
