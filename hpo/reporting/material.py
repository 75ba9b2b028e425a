"""Everything that a report is made of, read and worked out once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo.objectives import Objective
from hpo.reporting.advance import Advance, advance
from hpo.reporting.analysis import Analysis, analyse
from hpo.reporting.choosing import Limit, knee
from hpo.reporting.costs import Prices
from hpo.reporting.curves import Curve, curves
from hpo.reporting.spans import Span, spans
from hpo.study.snapshot import Snapshot, objective_row, pareto_trials
from hpo.study.state import Study, Trial


@dataclass(frozen=True)
class Material:
    """See the modules that the parts come from."""

    snapshot: Snapshot
    configuration: Mapping[str, Any]
    front: Sequence[Trial]
    knee: Trial | None
    advance: Advance
    spans: Sequence[Span]
    curves: Sequence[Curve]
    analysis: Analysis
    limits: Sequence[Limit]

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
        told = self.study.settings.get("cost") or (self.configuration.get("config") or {}).get("cost") or {}
        price: Prices = told.get("gpu_hour")
        return price


def gather(
    snapshot: Snapshot,
    configuration: Mapping[str, Any],
    limits: Sequence[Limit],
    say: Callable[[str], None] = lambda _: None,
) -> Material:
    """Read and work out everything.

    Args:
        snapshot: of the study.
        configuration: study.yaml.
        limits: on the trial to be taken.
        say: told what is done next, where it takes time.
    """
    study, objectives = snapshot.study, snapshot.objectives
    on_front = pareto_trials(study, objectives)
    place = knee([objective_row(trial, objectives) for trial in on_front])
    at_knee = None if place is None else on_front[place]
    say("reading attempts and learning curves")
    found, learned = spans(study, snapshot.paths), curves(study, snapshot.paths, {own.id for own in on_front})
    say("fitting the surrogate and asking what matters")
    anchor = at_knee or (on_front[0] if on_front else None)
    return Material(
        snapshot=snapshot,
        configuration=configuration,
        front=on_front,
        knee=at_knee,
        advance=advance(study, objectives),
        spans=found,
        curves=learned,
        analysis=analyse(study, objectives, configuration, anchor.number if anchor else None),
        limits=limits,
    )
