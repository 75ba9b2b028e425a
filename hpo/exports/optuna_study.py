"""A study as an Optuna study in a storage of its own, which optuna-dashboard opens."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from hpo.objectives import Direction
from hpo.paths import StudyPaths
from hpo.records import ParamValue
from hpo.space.space import Choice, Constant, Derived, Float, Integer, Parameter, parse_space
from hpo.study.learning_curves import learning_curve
from hpo.study.snapshot import Snapshot, pareto_trials
from hpo.study.state import Study, Trial, TrialState

DIRECTIONS = {Direction.MIN: StudyDirection.MINIMIZE, Direction.MAX: StudyDirection.MAXIMIZE}
CURVE = 100  # intermediate values of a trial: each is a row of the database
STATES = {
    TrialState.COMPLETED: OptunaState.COMPLETE,
    TrialState.FAILED: OptunaState.FAIL,
    TrialState.CANCELLED: OptunaState.PRUNED,
    TrialState.STOPPED: OptunaState.PRUNED,
    TrialState.OPEN: OptunaState.RUNNING,
    TrialState.INTERRUPTED: OptunaState.RUNNING,
}


def write_study(snapshot: Snapshot, url: str, each: Iterable[Trial]) -> None:
    """Put a study into an Optuna storage.

    Args:
        url: of the storage, as Optuna writes it.
        each: the study's trials, by number.

    Raises:
        optuna.exceptions.DuplicatedStudyError: the storage has a study of this name.
    """
    study = snapshot.study
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(url)
    try:
        directions = [DIRECTIONS[own.direction] for own in snapshot.objectives.values()]
        made = optuna.create_study(storage=storage, study_name=study.name, directions=directions)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            made.set_metric_names(list(snapshot.objectives))
        for name, value in _study_attributes(snapshot).items():
            made.set_user_attr(name, value)
        distributions = distributions_of(study)
        front = {trial.id for trial in pareto_trials(study, snapshot.objectives)}
        for trial in each:
            made.add_trial(_frozen(trial, snapshot, distributions, trial.id in front))
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _study_attributes(snapshot: Snapshot) -> dict[str, Any]:
    study = snapshot.study
    return {
        "frontrunner": {"study": study.name, "uid": study.uid, "created_at": study.created_at},
        "space": study.identity.get("space", {}),
        "untuned": study.baseline,
        "state": snapshot.state,
    }


def distributions_of(study: Study) -> dict[str, BaseDistribution]:
    """The distribution of each parameter: as the space says, widened by what was tried outside of it.

    A derived parameter has none; of a parameter that the space does not know, all that is known are the
    values that were tried.
    """
    described = study.identity.get("space") or {}
    parameters: Mapping[str, Parameter] = parse_space(described).parameters if described else {}
    tried: dict[str, list[ParamValue]] = {}
    for trial in study.trials.values():
        for name, value in trial.params.items():
            tried.setdefault(name, []).append(value)
    return {
        name: _distribution(parameters.get(name), tried.get(name, []))
        for name in {**parameters, **tried}
        if not isinstance(parameters.get(name), Derived)
    }


def _distribution(parameter: Parameter | None, tried: Sequence[ParamValue]) -> BaseDistribution:
    outside = [value for value in tried if parameter is None or parameter.problem(value) is not None]
    numbers = [value for value in tried if isinstance(value, int | float)]
    if isinstance(parameter, Integer) and all(isinstance(value, int) for value in outside):
        whole = [parameter.low, parameter.level(parameter.levels - 1), *map(int, numbers)]
        step = 1 if parameter.log or outside else parameter.step
        return IntDistribution(min(whole), max(whole), log=parameter.log, step=step)
    if isinstance(parameter, Float | Integer) and len(numbers) == len(tried):
        return _real(parameter, numbers, on_grid=not outside)
    known: Sequence[ParamValue] = ()
    if isinstance(parameter, Choice):
        known = parameter.values
    elif isinstance(parameter, Constant):
        known = (parameter.value,)
    return CategoricalDistribution(list(dict.fromkeys((*known, *outside))))


def _real(parameter: Float | Integer, tried: Sequence[float], *, on_grid: bool) -> FloatDistribution:
    ends = [float(parameter.low), float(parameter.high), *map(float, tried)]
    if on_grid and parameter.step is not None and not parameter.log:  # Optuna has no steps on a log scale
        levels = parameter.levels or 1
        return FloatDistribution(
            float(parameter.low), float(parameter.level(levels - 1)), step=parameter.step
        )
    return FloatDistribution(min(ends), max(ends), log=parameter.log and min(ends) > 0)


def _frozen(
    trial: Trial, snapshot: Snapshot, distributions: Mapping[str, BaseDistribution], on_front: bool
) -> FrozenTrial:
    measured = all(name in trial.metrics for name in snapshot.objectives)
    state = STATES[trial.state]
    if state is OptunaState.COMPLETE and not measured:  # of an objective that was added later
        state = OptunaState.FAIL
    complete = state is OptunaState.COMPLETE
    curve = learning_curve(StudyPaths(snapshot.paths.folder).trial(trial.id).progress, CURVE)
    frozen = optuna.trial.create_trial(
        state=state,
        values=[trial.metrics[name].value for name in snapshot.objectives] if complete else None,
        params={name: value for name, value in trial.params.items() if name in distributions},
        distributions={name: distributions[name] for name in trial.params if name in distributions},
        user_attrs=_attributes(trial, snapshot, distributions, on_front),
        intermediate_values={point.step: point.loss for point in curve if point.loss is not None},
    )
    frozen.datetime_start = _local(trial.planned_at)
    frozen.datetime_complete = _local(trial.ended_at) if state.is_finished() and trial.ended_at else None
    return frozen


def _attributes(
    trial: Trial, snapshot: Snapshot, distributions: Mapping[str, BaseDistribution], on_front: bool
) -> dict[str, Any]:
    told: dict[str, Any] = {"trial": trial.id, "origin": trial.origin, "batch": trial.batch}
    told |= {name: value for name, value in trial.params.items() if name not in distributions}
    for name, metric in trial.metrics.items():
        if name not in snapshot.objectives:
            told[name] = metric.value
        if metric.standard_error is not None:
            told[f"{name}_se"] = metric.standard_error
    if trial.rungs:
        told |= {"rung": trial.rungs[-1].rung, "thawed": trial.thawed}
    if trial.cause:
        told |= {"cause": trial.cause.value, "message": trial.message}
    return told | {"on_front": on_front}


def _local(at: str) -> datetime | None:
    """A time as Optuna keeps it: local, without a zone."""
    return datetime.fromisoformat(at).astimezone().replace(tzinfo=None) if at else None
