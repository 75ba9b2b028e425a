"""The numbers that a report shows, against hand-worked ones."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from hpo.errors import InputError
from hpo.objectives import Direction, Objective
from hpo.records import Cause, Metric
from hpo.reporting.choosing import MetricLimit, knee, parse_limits, picks
from hpo.reporting.convergence import convergence
from hpo.reporting.costs import card_costs, improvements, price_of, total_money
from hpo.reporting.figures.labels import CHARACTER, place_labels
from hpo.reporting.figures.parameters import some_of
from hpo.reporting.figures.style import tellings
from hpo.reporting.sections.blocks import rounded, short
from hpo.reporting.spans import Span, at_work, in_lanes, interruptions, utilisation
from hpo.study.state import AttemptEnd, Batch, Study, Trial, TrialState

START = datetime(2026, 1, 1, tzinfo=UTC)
BOTH = {"loss": Objective(Direction.MIN), "accuracy": Objective(Direction.MAX)}


def finished(rows: Sequence[Mapping[str, float]], lost_hours: float = 0.0) -> Study:
    """A study of one-hour trials on one card, one after the other; before the last, hours that were lost."""
    study = Study(name="s", created_at=START.isoformat(), batches={"0": Batch("0", [])})
    for number, row in enumerate(rows):
        at = (START + timedelta(hours=number + 1)).isoformat()
        trial = Trial(f"{number:04d}", number, {"rank": number}, "sobol", "0", at, TrialState.COMPLETED)
        trial.metrics = {name: Metric(value) for name, value in row.items()}
        trial.ended_at = at
        study.trials[trial.id] = trial
        if lost_hours and number == len(rows) - 1:
            study.ends.append(ended(trial.id, 3600 * lost_hours, Cause.PREEMPTED, at))
        study.ends.append(ended(trial.id, 3600.0, None, at))
    return study


def ended(trial: str, seconds: float, cause: Cause | None, at: str) -> AttemptEnd:
    """The end of an attempt on one card."""
    return AttemptEnd(trial, 1, "0", cause, "", "n", 0, seconds, 1, 0.0 if cause else seconds, at)


def test_hypervolume_after_each_result_is_hand_worked() -> None:
    """To minimise: (1, 3), (3, 1), (2, 2), (3, 3). The front spans 2, so the reference is 3.2 in both.

    The areas are 2.2 x 0.2 = 0.44, 0.2 x 2 more, the square from (2, 2) to (3, 3) more, then no more.
    """
    rows = [(1.0, -3.0), (3.0, -1.0), (2.0, -2.0), (3.0, -3.0)]
    own = convergence(finished([{"loss": x, "accuracy": y} for x, y in rows]), BOTH)
    assert own.reference == pytest.approx((3.2, 3.2))
    assert own.volumes == pytest.approx([0.44, 0.84, 1.84, 1.84])
    assert own.counted == [1, 2, 3, 4]
    assert own.last_gain() == 3
    assert own.incumbents(1) == [3.0, 1.0, 1.0, 1.0]
    assert own.hours == [1.0, 2.0, 3.0, 4.0]


def test_lost_hours_count_as_spent() -> None:
    """The third result came after two useful hours and half a lost one, and took one itself."""
    own = convergence(finished([{"loss": 3.0}, {"loss": 2.0}, {"loss": 1.0}], 0.5), {"loss": BOTH["loss"]})
    assert own.gpu_hours == [1.0, 2.0, 3.5]


def test_no_result_is_no_advance() -> None:
    """Empty series, and nothing that last grew."""
    own = convergence(finished([]), BOTH)
    assert (own.volumes, own.last_gain()) == ([], None)


@pytest.mark.parametrize(
    ("rows", "place"),
    [
        ([(0.0, 10.0), (1.0, 2.0), (10.0, 0.0)], 1),  # sums of the scaled values: 1, 0.3, 1
        ([(0.0, 10.0), (4.0, 4.0), (1.0, 5.0), (10.0, 0.0)], 2),  # 1, 0.8, 0.6, 1
        ([(0.0, 2.0), (1.0, 1.0), (2.0, 0.0)], None),  # on a line
        ([(0.0, 2.0), (1.5, 1.5), (2.0, 0.0)], None),  # bulges away from the ideal
        ([(0.0, 1.0), (1.0, 0.0)], None),
        ([(1.0,)] * 3, None),
        ([(1.0, 1.0)] * 3, None),
        ([(0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (0.2, 0.2, 0.0)], 2),
    ],
)
def test_knee_is_hand_worked(rows: list[tuple[float, ...]], place: int | None) -> None:
    """The smallest sum of the values scaled over the front."""
    assert knee(rows) == place


def test_limits_are_read_and_met() -> None:
    """A metric, a comparison, a number; a trial that did not measure it does not meet it."""
    [limit] = parse_limits(["train_seconds <= 7.2e3"], [])
    assert limit == MetricLimit("train_seconds", "<=", 7200.0)
    trial = finished([{"train_seconds": 7200.0}]).trials["0000"]
    assert limit.met_by(trial)
    assert not MetricLimit("train_seconds", "<", 7200.0).met_by(trial)
    assert not MetricLimit("loss", "<", 7200.0).met_by(trial)


def test_wrong_limits_are_told_together() -> None:
    """One message with each text, what was expected, and the metrics that there are."""
    with pytest.raises(InputError) as told:
        parse_limits(["two hours", "seconds<=1..2", "memory<=3", "loss<2"], ["loss", "train_seconds"])
    texts = [text for _, text in told.value.problems]
    assert texts == [
        "expected METRIC<=NUMBER (or >=, <, >), got 'two hours'",
        "expected METRIC<=NUMBER (or >=, <, >), got 'seconds<=1..2'",
        "expected a metric of the trials (loss, train_seconds), got memory",
    ]


def test_pick_under_a_limit_is_the_best_of_those_that_meet_it() -> None:
    """The smallest loss of all is the second's, within the limit the third's; nobody takes 1 s."""
    rows = [(3.0, 0.1, 10.0), (1.0, 0.9, 90.0), (2.0, 0.5, 20.0)]
    study = finished([{"loss": x, "accuracy": y, "seconds": s} for x, y, s in rows])
    trials = list(study.trials.values())
    assert {name: own.number for name, own in picks(trials, BOTH, []).items()} == {"loss": 1, "accuracy": 1}
    within = picks(trials, BOTH, [MetricLimit("seconds", "<=", 20.0)])
    assert {name: own.number for name, own in within.items()} == {"loss": 2, "accuracy": 2}
    limited = picks(trials, BOTH, [MetricLimit("accuracy", ">=", 0.5)])
    assert {name: own.number for name, own in limited.items()} == {"loss": 1}
    assert picks(trials, BOTH, [MetricLimit("seconds", "<=", 1.0)]) == {}


def span(
    start: float, end: float, outcome: str = "completed", useful: float | None = None, device: str = ""
) -> Span:
    """An attempt on one card."""
    used = end - start if useful is None else useful
    return Span("0", 1, "n", start, end, outcome, "", used, 1, device)


def test_attempts_beside_each_other_have_different_lanes() -> None:
    """0-10 has the first; 5-8 the second, which 8-12 takes over; at 10 the first is free again."""
    placed = in_lanes([span(0, 10), span(5, 8), span(8, 12), span(10, 11)])
    assert [(own.start, own.lane) for own in placed] == [(0, 0), (5, 1), (8, 1), (10, 0)]


def test_a_completed_attempt_has_lost_nothing_whatever_the_epoch() -> None:
    start = 1_795_361_015.123456
    seconds = 33.3000001
    assert start + seconds - start > seconds  # what rounding makes of it
    assert span(start, start + seconds, useful=seconds).lost == 0.0
    assert span(start, start + seconds, useful=30.0).lost == pytest.approx(3.3, abs=1e-5)


def test_utilisation_is_hand_worked() -> None:
    """18 card-seconds within 12 seconds in which two were the most at once: 18 / 24."""
    spans = [span(0, 10), span(5, 8), span(8, 12), span(10, 11)]
    assert at_work(spans) == [(0, 1), (5, 2), (8, 2), (10, 2), (11, 1), (12, 0)]
    assert utilisation(spans) == pytest.approx(0.75)
    assert utilisation([]) is None
    assert utilisation([span(3, 3)]) is None


def test_interruptions_are_counted_by_cause() -> None:
    """Those after which the trial goes on; a divergence is none."""
    spans = [span(0, 1, "preempted"), span(1, 2, "preempted"), span(2, 3, "lost"), span(3, 4, "diverged")]
    assert interruptions(spans) == {"preempted": 2, "lost": 1}


def test_cost_by_kind_of_card_is_hand_worked() -> None:
    """Two V100-hours of which half an hour lost, at 1.5; one A100-hour at 4; an unknown card has no price."""
    hour = 3600.0
    spans = [
        span(0, hour, device="Tesla V100"),
        span(0, hour, "preempted", useful=hour / 2, device="Tesla V100"),
        span(0, hour, device="NVIDIA A100"),
    ]
    rows = card_costs(spans, {"v100": 1.5, "A100": 4})
    assert [(row.device, row.useful, row.lost, row.money) for row in rows] == [
        ("Tesla V100", 1.5, 0.5, 3.0),
        ("NVIDIA A100", 1.0, 0.0, 4.0),
    ]
    assert total_money(rows) == 7.0
    assert total_money(card_costs([*spans, span(0, 1)], {"V100": 1.5, "A100": 4})) is None
    assert total_money(card_costs(spans, 2.0)) == 6.0
    assert total_money(card_costs(spans, None)) is None
    assert price_of("Tesla V100-SXM2", {"V100": 1, "V100-SXM2": 2}) == 2


def test_improvement_is_since_the_untuned_model_or_the_first_result() -> None:
    """From 4 to 3 is a quarter; without an untuned accuracy, from 0.5 to 0.6 is a fifth."""
    study = finished([{"loss": 3.5, "accuracy": 0.5}, {"loss": 3.0, "accuracy": 0.6}])
    study.baseline = {"loss": 4.0}
    told = [(own.since, own.gain, own.percent) for own in improvements(study, BOTH)]
    assert told[0] == ("the untuned model", 1.0, 25.0)
    assert told[1] == ("trial 0000, the first result", pytest.approx(0.1), pytest.approx(20.0))
    assert improvements(finished([]), BOTH) == []


def test_labels_neither_overlap_nor_leave_the_area_nor_cover_points() -> None:
    """Sixty points crowded into a corner: whatever was placed is free, and most of it was placed."""
    draw = random.Random(0)
    points = [(draw.uniform(0, 700), draw.uniform(0, 300)) for _ in range(40)]
    others = [(draw.uniform(0, 700), draw.uniform(0, 300)) for _ in range(60)]
    texts = ["(0.001, 16, all)"] * len(points)
    offsets = place_labels(points, others, texts, (860.0, 400.0), 11.0)
    half = (len(texts[0]) * 11 * CHARACTER[0] / 2, 11 * CHARACTER[1] / 2)
    centres = [(x + o[0], y + o[1]) for (x, y), o in zip(points, offsets, strict=True) if o]
    assert len(centres) >= 15
    for index, (x, y) in enumerate(centres):
        assert half[0] <= x <= 860 - half[0]
        assert half[1] <= y <= 400 - half[1]
        apart = [abs(x - u) >= 2 * half[0] or abs(y - v) >= 2 * half[1] for u, v in centres[:index]]
        clear = [abs(x - u) > half[0] or abs(y - v) > half[1] for u, v in [*points, *others]]
        assert all(apart)
        assert all(clear)


def test_numbers_of_figures_keep_the_digits_that_can_be_seen() -> None:
    """Five of each, more where values hardly differ; texts, gaps and whole numbers stay."""
    assert rounded([1.23456789, 1e-5 / 3, None, "a", 7, 2.0]) == [1.2346, 3.3333e-06, None, "a", 7, 2]
    assert rounded([1000.0123456, 1000.0223456]) == [1000.012346, 1000.022346]
    assert rounded([0.1 + 0.2] * 2) == [0.3, 0.3]
    assert rounded([math.inf, -0.0, 1e300]) == [math.inf, 0, 1e300]


def test_every_list_of_a_figure_is_shortened() -> None:
    """However deep, and nothing else is touched."""
    tree = {"data": [{"x": [1 / 3, 2 / 3], "name": "n", "marker": {"size": [2.0]}}], "width": 1 / 3}
    assert short(tree) == {
        "data": [{"x": [0.33333, 0.66667], "name": "n", "marker": {"size": [2]}}],
        "width": 1 / 3,
    }


def test_some_of_many_trials_are_evenly_chosen_beside_the_front() -> None:
    """Of ten, six: 3 and 4 are on the front; of the eight others places 0, 7/3, 14/3 and 7, cut off."""
    study = finished([{"loss": 1.0, "accuracy": 0.5}] * 10)
    assert some_of(study, {"0003", "0004"}, 6) == {"0000", "0002", "0003", "0004", "0006", "0009"}
    assert some_of(study, set(), 10) == set(study.trials)


def test_what_hovering_tells_is_said_once_for_each_trial() -> None:
    """Names once, then a head, a cause and values; what a trial does not have is empty, markup is escaped."""
    study = finished([{"loss": 1.23456}, {"loss": 1.0}])
    last = study.trials["0001"]
    last.state, last.cause, last.message = TrialState.FAILED, Cause.DIVERGED, "<b>nan"
    last.metrics, last.params = {}, {"rank": 1, "kind": "<i>"}
    assert tellings(study) == {
        "names": ["rank", "kind", "<i>loss</i>"],
        "trials": {
            0: ["trial 0000  completed, initial design", "", "0", "", "1.235"],
            1: [
                "trial 0001  failed, initial design",
                "diverged: &lt;b&gt;nan",
                "1",
                "&lt;i&gt;",
                "",
            ],
        },
    }
