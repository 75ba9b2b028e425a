"""A history in which trials that have only reached a rung count by what is foretold of their ends.

A foretold end is a result with the deviation of the forecast on top of the standard error that results have
by themselves, so that the surrogate, and with it every proposal, is of the full length and learns from all
rungs, and from no forecast more than from a result.
"""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import median

from hpo.errors import FitError
from hpo.models.early.curves import CurveModel, Foretold
from hpo.models.guard import guarded
from hpo.models.history import Curve, History, Observation
from hpo.models.surrogate import choices_of


def curve_model(history: History) -> CurveModel:
    """The joint model over all rungs.

    Raises:
        FitError: no trial has measured at a rung.
    """
    return CurveModel(history.curves, choices_of(history.space))


def foretold_of(history: History, curve: Curve) -> Foretold:
    """The end of one trial.

    Raises:
        FitError: too few trials have gone on from where it is.
    """
    with guarded():
        return curve_model(history).foretold([curve])[0]


def with_foretold(history: History) -> tuple[History, str]:
    """The history with what is foretold of trials under way, and of those that ended at a rung.

    Returns:
        The history, and a note: how many ends are foretold, or why none is.
    """
    waiting = [curve for curve in history.curves if curve.rungs and not curve.ended]
    if not waiting or not len(history.space):
        return history, ""
    try:
        with guarded():
            ends = curve_model(history).foretold(waiting)
    except FitError as error:
        return history, f"rungs are left aside: {error}"
    pending, spent, known = list(history.pending), list(history.spent), []
    own = _own_errors(history)
    for curve, end in zip(waiting, ends, strict=True):
        place = next((place for place in (pending, spent) if curve.point in place), None)
        if place is not None:  # else it has failed since
            place.remove(curve.point)
            known.append(Observation(curve.point, end.means, own, end.deviations))
    observations = tuple(sorted((*history.observations, *known)))
    after = replace(history, observations=observations, pending=tuple(pending), spent=tuple(spent))
    return after, f"ends foretold: {len(known)}" if known else ""


def _own_errors(history: History) -> tuple[float, ...]:
    """The median standard error of the results, of each objective; 0 where none is known."""
    rows = [observation.errors for observation in history.observations]
    columns = ([row[column] for row in rows] for column in range(len(history.objectives)))
    known = ([error for error in column if math.isfinite(error)] for column in columns)
    return tuple(median(errors) if errors else 0.0 for errors in known)
