"""What a study tells its optimiser of costs."""

from __future__ import annotations

import pytest

from hpo.optimizer import Optimizer
from hpo.records import Cause, Metric
from hpo.study.gpu_hours import useful_by_trial
from hpo.study.results import tell_results
from hpo.study.state import AttemptEnd, Batch, Study, Trial, TrialState

COMPLETED, STOPPED, FAILED = TrialState.COMPLETED, TrialState.STOPPED, TrialState.FAILED


def ended(
    trial: str, seconds: float, gpus: int, cause: Cause | None = None, useful_seconds: float = 0.0
) -> AttemptEnd:
    return AttemptEnd(trial, 1, "0", cause, "", "n", 0, seconds, gpus, useful_seconds, "")


def study(states: list[TrialState], ends: list[AttemptEnd]) -> Study:
    """Trials in these states, at x = 0, 0.1, 0.2."""
    own = Study(name="s", batches={"0": Batch("0", [])}, ends=ends)
    for number, state in enumerate(states):
        trial = Trial(f"{number:04d}", number, {"x": number / 10}, "sobol", "0", "", state)
        trial.metrics = {"loss": Metric(1.0)} if state is COMPLETED else {}
        trial.cause = Cause.GPU_OUT_OF_MEMORY if state is FAILED else None
        own.trials[trial.id] = trial
    return own


def costs(own: Study) -> list[float]:
    optimizer = Optimizer({"x": "interval(0, 1)"}, {"loss": "min"})
    tell_results(optimizer, own)
    return [seconds for _, seconds in optimizer.history.costs]


def test_a_result_cost_what_it_made_use_of_times_the_cards() -> None:
    """400 of the 600 s before the preemption and the 300 s after it, on two cards each."""
    ends = [ended("0000", 600.0, 2, Cause.PREEMPTED, 400.0), ended("0000", 300.0, 2, None, 300.0)]
    own = study([COMPLETED], ends)
    assert useful_by_trial(own) == {"0000": 1400.0}
    assert costs(own) == [1400.0]


def test_a_trial_without_a_card_counts_as_one_card() -> None:
    assert costs(study([COMPLETED], [ended("0000", 50.0, 0)])) == [50.0]


def test_the_accounting_has_the_last_word() -> None:
    """The task took 70 seconds on two cards, of which the attempt itself saw 50."""
    own = study([COMPLETED], [ended("0000", 50.0, 1)])
    own.batches["0"] = Batch("0", ["0000"])
    own.executions = {"0:0": [["completed", 70.0, 2, "n"]]}
    assert costs(own) == [140.0]


def test_failed_and_stopped_trials_tell_no_cost() -> None:
    """Nor does a result that took no time at all, which has no logarithm."""
    ends = [
        ended("0000", 90.0, 1),
        ended("0001", 60.0, 1, Cause.GPU_OUT_OF_MEMORY, 60.0),
        ended("0002", 30.0, 1),
        ended("0003", 0.0, 1),
    ]
    assert costs(study([COMPLETED, FAILED, STOPPED, COMPLETED], ends)) == [90.0]


@pytest.mark.parametrize("state", [COMPLETED, TrialState.OPEN])
def test_a_result_whose_end_is_not_known_has_no_cost(state: TrialState) -> None:
    assert costs(study([state], [])) == []
