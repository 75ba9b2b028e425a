"""Everything that a study knows, told to an optimiser."""

from __future__ import annotations

from hpo.optimizer import Optimizer
from hpo.study.causes import learns
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
    # what is under way comes last: a result settles a pending trial of the same configuration
    for trial in sorted(study.trials.values(), key=lambda trial: trial.state not in ENDED):
        if optimizer.space.contains(trial.params):
            _tell(optimizer, trial)


def _tell(optimizer: Optimizer, trial: Trial) -> None:
    if trial.state is TrialState.COMPLETED:
        metrics = {name: trial.metrics[name] for name in optimizer.objectives if name in trial.metrics}
        if len(metrics) == len(optimizer.objectives):
            values = {name: (metric.value, metric.standard_error) for name, metric in metrics.items()}
            optimizer.tell(trial.params, values)
    elif trial.state is TrialState.FAILED and learns(trial.cause):
        optimizer.tell_failure(trial.params, reason=str(trial.cause))
    elif trial.state in (TrialState.OPEN, TrialState.INTERRUPTED):
        optimizer.add_pending(trial.params)
    else:
        optimizer.tell_nothing(trial.params)
