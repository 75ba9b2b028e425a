"""Learning curves, read from the trials' progress logs; long ones and large studies are thinned out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from hpo.paths import StudyPaths
from hpo.study.learning_curves import learning_curve, thinned
from hpo.study.state import Study

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
    room = MOST_CURVES - len(first)
    chosen = {*first, *(thinned(others, room) if room > 1 else [])}
    read = (_read(study.trials[name].number, paths.trial(name).progress) for name in sorted(chosen))
    return [curve for curve in read if curve.training or curve.validation]


def _read(number: int, path: Path) -> Curve:
    points = learning_curve(path, None)  # thinned, it could lose the few validation losses among the others
    training = [(own.step, own.loss) for own in points if own.loss is not None]
    validation = [(own.step, own.eval_loss) for own in points if own.eval_loss is not None]
    return Curve(number, thinned(training, MOST_POINTS), thinned(validation, MOST_POINTS))
