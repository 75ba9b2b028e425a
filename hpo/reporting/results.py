"""Which trials have results to show."""

from __future__ import annotations

from hpo.objectives import Objectives
from hpo.study.state import Study, Trial, TrialState


def results(study: Study, objectives: Objectives) -> list[Trial]:
    """The completed trials that measured every objective, by number.

    Those from before the objectives of a study were changed may lack one.
    """
    completed = study.in_state(TrialState.COMPLETED)
    return [trial for trial in completed if all(name in trial.metrics for name in objectives)]
