"""Everything that a report is made of, read and worked out once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo.objectives import Objective
from hpo.reporting.analysis import Analysis, analyse
from hpo.reporting.choosing import MetricLimit, knee
from hpo.reporting.convergence import Convergence, convergence
from hpo.reporting.costs import Prices
from hpo.reporting.spans import Span, spans
from hpo.study.learning_curves import LearningCurve, learning_curves
from hpo.study.snapshot import Snapshot, objective_row, pareto_trials
from hpo.study.state import Study, Trial


@dataclass(frozen=True)
class Material:
    """See the modules that the parts come from."""

    snapshot: Snapshot
    configuration: Mapping[str, Any]
    front: Sequence[Trial]
    knee: Trial | None
    convergence: Convergence
    spans: Sequence[Span]
    curves: Sequence[LearningCurve]
    analysis: Analysis
    limits: Sequence[MetricLimit]

    @property
    def study(self) -> Study:
        """As the journal tells it."""
        return self.snapshot.study

    @property
    def objectives(self) -> dict[str, Objective]:
        """What is optimised."""
        return self.snapshot.objectives

    @property
    def prices(self) -> Prices:
        """Of a GPU-hour, as the study was last told."""
        composed = (self.configuration.get("config") or {}).get("cost")
        price: Prices = (self.study.settings.get("cost") or composed or {}).get("gpu_hour")
        return price


def gather(
    snapshot: Snapshot,
    configuration: Mapping[str, Any],
    limits: Sequence[MetricLimit],
    say: Callable[[str], None] = lambda _: None,
) -> Material:
    """Read and work out everything.

    Args:
        configuration: study.yaml.
        limits: on the trial to be taken.
        say: told what is done next, where it takes time.
    """
    study, objectives = snapshot.study, snapshot.objectives
    on_front = pareto_trials(study, objectives)
    place = knee([objective_row(trial, objectives) for trial in on_front])
    at_knee = None if place is None else on_front[place]
    say("reading attempts and learning curves")
    attempts = spans(study, snapshot.paths)
    curves = learning_curves(study, snapshot.paths, {trial.id for trial in on_front})
    say("fitting the surrogate and asking what matters")
    anchor = at_knee or (on_front[0] if on_front else None)
    return Material(
        snapshot=snapshot,
        configuration=configuration,
        front=on_front,
        knee=at_knee,
        convergence=convergence(study, objectives),
        spans=attempts,
        curves=curves,
        analysis=analyse(study, objectives, configuration, anchor.number if anchor else None),
        limits=limits,
    )
