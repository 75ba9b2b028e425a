"""What can be said of a study's surrogate, or why nothing can: the one door from the page to the models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpo.errors import FitError, InputError
from hpo.objectives import Objectives
from hpo.optimizer import Optimizer
from hpo.space.space import SearchSpace, parse_space
from hpo.study.results import tell_results
from hpo.study.state import Study

if TYPE_CHECKING:
    from hpo.models.diagnostics import Bin, Diagnostics
    from hpo.reporting.forest import Forest
    from hpo.reporting.sensitivity import Indices, Slice

FEWEST = 4  # results of different configurations that a model is worth looking at


@dataclass(frozen=True)
class Analysis:
    """Everything that the models say.

    Args:
        why_not: why there is no model, for people; "" where there is one.
        space: the search space; None where the study's own cannot be read.
        trust: leave-one-out predictions, by objective.
        calibration: predicted probabilities of working beside the shares that did.
        indices: Sobol indices, by objective.
        slices: one-dimensional slices, by objective and parameter.
        forest: the second opinion, by objective.
        notes: what was left out or thinned.
        anchor: number of the trial that the slices go through.
    """

    why_not: str = ""
    space: SearchSpace | None = None
    trust: Mapping[str, Diagnostics] = field(default_factory=dict)
    calibration: Sequence[Bin] = ()
    indices: Mapping[str, Indices] = field(default_factory=dict)
    slices: Mapping[str, Mapping[str, Slice]] = field(default_factory=dict)
    forest: Mapping[str, Forest] = field(default_factory=dict)
    notes: Sequence[str] = ()
    anchor: int | None = None


def optimizer_of(study: Study, objectives: Objectives, configuration: Mapping[str, Any]) -> Optimizer:
    """An optimiser that was told what the study knows; it is asked for no proposal.

    Raises:
        InputError: the study's space or a result of it cannot be read.
    """
    space = parse_space(study.identity.get("space") or {})
    own = (configuration.get("config") or {}).get("study") or {}
    # the strategy makes no difference to the models, and one of another extra may not be there
    optimizer = Optimizer(space, objectives, strategy="random", seed=int(own.get("seed", 0)))
    tell_results(optimizer, study)
    return optimizer


def analyse(
    study: Study, objectives: Objectives, configuration: Mapping[str, Any], anchor: int | None
) -> Analysis:
    """Fit the models and ask them.

    Args:
        study: as the journal tells it.
        objectives: what is optimised.
        configuration: study.yaml.
        anchor: number of the trial that slices go through; None: the middle of the space.
    """
    try:
        optimizer = optimizer_of(study, objectives, configuration)
    except (InputError, KeyError, TypeError, ValueError) as error:
        return Analysis(why_not=f"the study's search space cannot be read: {error}")
    space, history = optimizer.space, optimizer.history
    different = len({own.point for own in history.observations})
    if not len(space):
        return Analysis("no parameter varies, so there is nothing to model", space)
    if different < FEWEST:
        why = f"a model needs results of at least {FEWEST} different configurations; there are {different}"
        return Analysis(why, space)
    from hpo.reporting.forest import forests
    from hpo.reporting.sensitivity import ask

    through = next((own.params for own in study.trials.values() if own.number == anchor), None)
    point = space.to_unit(through) if through and space.contains(through) else None
    second = forests(history)
    try:
        told = ask(history, point)
    except FitError as error:
        return Analysis(f"no surrogate could be fitted: {error}", space, forest=second)
    return Analysis(
        space=space,
        trust=told.trust,
        calibration=told.calibration,
        indices=told.indices,
        slices=told.slices,
        forest=second,
        notes=told.notes,
        anchor=anchor if point else None,
    )
