"""Everything that a study knows, told to an optimiser."""

from __future__ import annotations

from hpo.optimizer import Optimizer
from hpo.records import Metric
from hpo.study.causes import learns
from hpo.study.gpu_hours import useful_by_trial
from hpo.study.state import ENDED, Study, Trial, TrialState


def tell_results(optimizer: Optimizer, study: Study) -> None:
    """Tell results of earlier studies, those of this one, failures, and what is under way.

    Args:
        optimizer: of the study's space and objectives, not told anything yet.
        study: as the journal tells it.

    Raises:
        InputError: an earlier result that does not fit the space.
    """
    for known in study.earlier.get("known", ()):
        for result in known["trials"]:
            optimizer.tell(result["params"], result["metrics"])
    for related in study.earlier.get("related", ()):
        optimizer.learn_from((result["params"], result["metrics"]) for result in related["trials"])
    spent = useful_by_trial(study)
    # what is under way comes last: a result settles a pending trial of the same configuration
    for trial in sorted(study.trials.values(), key=lambda trial: trial.state not in ENDED):
        if optimizer.space.contains(trial.params):
            _tell(optimizer, trial, spent.get(trial.id) or None)


def _tell(optimizer: Optimizer, trial: Trial, gpu_seconds: float | None) -> None:
    if trial.state is TrialState.COMPLETED:
        metrics = {name: trial.metrics[name] for name in optimizer.objectives if name in trial.metrics}
        if len(metrics) == len(optimizer.objectives):
            values = {name: (metric.value, metric.standard_error) for name, metric in metrics.items()}
            optimizer.tell(trial.params, values, gpu_seconds)
    elif trial.state is TrialState.FAILED and learns(trial.cause):
        optimizer.tell_failure(trial.params, reason=str(trial.cause))
    elif trial.state in (TrialState.OPEN, TrialState.INTERRUPTED):
        optimizer.add_pending(trial.params)
    else:
        optimizer.tell_nothing(trial.params)
    if trial.state is not TrialState.FAILED and (rungs := curve_of(optimizer, trial)):
        optimizer.tell_curve(trial.params, rungs)


def curve_of(optimizer: Optimizer, trial: Trial) -> list[tuple[float, dict[str, Metric]]]:
    """What a trial measured of all objectives, by the share that was asked for; its result last."""
    known = {own.rung: own.metrics for own in trial.rungs if own.rung < 1}
    if known and trial.state is TrialState.COMPLETED:
        known[1.0] = trial.metrics
    names = list(optimizer.objectives)
    return [
        (share, {name: known[share][name] for name in names})
        for share in sorted(known)
        if known[share].keys() >= set(names)
    ]
