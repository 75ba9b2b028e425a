"""The study's state: what the loop asks of it at every pass, without a look at trials that are over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo.study.replay import apply
from hpo.study.state import ENDED, Event, Study, TrialState, trial_id

AT = "2026-01-01T00:00:00+00:00"


def planned(batch: str, *numbers: int) -> Mapping[str, Any]:
    """The event of a batch of new trials."""
    trials = [
        {"trial": trial_id(number), "number": number, "params": {}, "origin": "sobol"} for number in numbers
    ]
    return {"at": AT, "event": Event.BATCH_PLANNED, "batch": batch, "proposals": trials, "retries": []}


def ended(event: Event, number: int) -> Mapping[str, Any]:
    """The event of a trial's end."""
    more = {"metrics": {}, "cause": "error", "message": "", "attempt": 1}
    return {"at": AT, "event": event, "trial": trial_id(number), **more}


def by_a_whole_look(study: Study) -> list[str]:
    """The trials that have not ended, by number."""
    return [trial.id for trial in study.trials.values() if trial.state not in ENDED]


def test_what_is_in_flight_follows_plans_ends_and_returns() -> None:
    """By hand: six trials in two batches, three of which end, and two of these go on."""
    study = Study()
    steps: list[tuple[Mapping[str, Any], list[int]]] = [
        (planned("0000", 0, 1, 2, 3), [0, 1, 2, 3]),
        (ended(Event.TRIAL_COMPLETED, 1), [0, 2, 3]),
        (ended(Event.TRIAL_FAILED, 0), [2, 3]),
        (ended(Event.ATTEMPT_ENDED, 3), [2, 3]),
        (planned("0001", 4, 5), [2, 3, 4, 5]),
        (ended(Event.TRIAL_STOPPED, 4), [2, 3, 5]),
        (ended(Event.TRIAL_REOPENED, 0), [0, 2, 3, 5]),
        (ended(Event.TRIAL_THAWED, 4), [0, 2, 3, 4, 5]),
    ]
    for event, numbers in steps:
        apply(study, event)
        expected = [trial_id(number) for number in numbers]
        assert expected == [trial.id for trial in study.in_flight] == by_a_whole_look(study)
    assert [trial.number for trial in study.in_state(TrialState.INTERRUPTED)] == [0, 3, 4]
    assert [trial.number for trial in study.in_state(TrialState.INTERRUPTED, TrialState.COMPLETED)] == [
        0,
        1,
        3,
        4,
    ]
