"""Transforms, pooling and the reference point of a surrogate."""

import math

import numpy as np
import pytest
import torch

from hpo.models.gp import pooled
from hpo.models.reference_point import References, infer_references
from hpo.models.surrogate import by_rank, fit_surrogate
from hpo.models.transforms import ObjectiveTransform, log_is_possible, make_transform, skewness
from hpo.objectives import Direction, Objective
from hpo.optimizer import Optimizer

MIN = Objective(Direction.MIN)


def modelled(transform: ObjectiveTransform, values: np.ndarray) -> np.ndarray:
    own: np.ndarray = transform(torch.from_numpy(values))[0].numpy()
    return own


def test_transforms_centre_and_scale() -> None:
    values = np.array([1.0, 2.0, 6.0])
    transform = make_transform(values, log=False)
    assert modelled(transform, values).mean() == pytest.approx(0)
    assert modelled(transform, values).std() == pytest.approx(1)


def test_standard_errors_follow_the_transform() -> None:
    """Of the logarithm, to first order, the error is the relative one."""
    values = np.array([1.0, 10.0, 100.0])
    transform = make_transform(values, log=True)
    variances = transform(torch.from_numpy(values), torch.tensor([0.1, 1.0, 10.0]).double().square())[1]
    assert variances is not None
    assert variances.sqrt().tolist() == pytest.approx([0.1 / np.log(values).std()] * 3)


def test_equal_values_are_scaled_by_one() -> None:
    assert make_transform(np.full(5, 0.1 + 0.2), log=False).scale == 1.0


def test_skewness_of_one_high_value_among_three() -> None:
    """Of 0, 0, 1: third moment 2/27, standard deviation sqrt(2)/3, ratio 1/sqrt(2)."""
    assert skewness(np.array([0.0, 0.0, 1.0])) == pytest.approx(1 / math.sqrt(2))


@pytest.mark.parametrize(
    ("values", "threshold", "possible"),
    [
        ([1.0, 1.0, 1.0, 50.0], None, True),
        ([0.0, 1.0, 1.0, 50.0], None, False),
        ([1.0, 2.0, 3.0, 4.0], None, False),
        ([1.0, 1.0, 1.0, 50.0], -1.0, False),
        ([-1.0, -1.0, -1.0, -50.0], None, True),
        ([-1.0, 1.0, 1.0, 50.0], None, False),
        ([1.0, 1.0, 50.0], None, False),
    ],
)
def test_logarithms_need_positive_skewed_values(
    values: list[float], threshold: float | None, possible: bool
) -> None:
    assert log_is_possible(-np.array(values), Objective(Direction.MIN, threshold)) is possible


def test_repeated_points_become_one_row() -> None:
    """Known errors 1 and 2 weigh 4 to 1: mean 1.2, variance 1 / (1 + 1/4) = 0.8."""
    X, y, noise, counts, told = pooled(
        [(0.5,), (0.2,), (0.5,)], np.array([1.0, 7.0, 2.0]), np.array([1.0, math.nan, 2.0]), np.zeros(3)
    )
    assert X.tolist() == [[0.5], [0.2]]
    assert y == pytest.approx([1.2, 7.0])
    assert told == pytest.approx([0.8, 0.0])
    assert noise == pytest.approx([0.0, 0.0])
    assert counts.tolist() == [2.0, 1.0]


def test_a_doubt_of_what_is_foretold_stands_beside_the_error_of_what_was_measured() -> None:
    """Variances 1 and 3 + 1 = 4 weigh 4 to 1: mean 1.2, of the errors 16/25 + 1/25, of the doubts 3/25."""
    _, y, noise, counts, told = pooled(
        [(0.5,), (0.5,)], np.array([1.0, 2.0]), np.ones(2), np.array([0.0, math.sqrt(3)])
    )
    assert y == pytest.approx([1.2])
    assert told == pytest.approx([17 / 25])
    assert noise == pytest.approx([3 / 25])
    assert counts.tolist() == [2.0]


def test_times_over_magnitudes_are_modelled_by_their_logarithm_and_that_is_recorded() -> None:
    optimizer = Optimizer({"x": "interval(0, 1)"}, {"loss": "min", "seconds": "min"}, initial=2)
    for index in range(12):
        x = index / 11
        optimizer.tell({"x": x}, {"loss": (x - 0.4) ** 2 - 1, "seconds": 10 ** (4 * x)})
    surrogate = fit_surrogate(optimizer.history)
    assert [own.log for own in surrogate.transforms] == [False, True]
    assert surrogate.note == "logarithm of seconds"


def test_the_reference_point_is_a_threshold_where_there_is_one() -> None:
    optimizer = Optimizer(
        {"x": "interval(0, 1)"}, {"a": {"direction": "max", "threshold": 3.0}, "b": "min"}, initial=2
    )
    for x in (0.0, 0.5, 1.0):
        optimizer.tell({"x": x}, {"a": 4 * x, "b": x})
    surrogate = fit_surrogate(optimizer.history)
    near = infer_references(surrogate, list(optimizer.objectives.values())).near
    first, second = surrogate.transforms
    assert near[0] == pytest.approx(float(first.gained(np.array(3.0))))
    assert near[1] < second.gained(np.array(-1.0)), "beyond the worst value of the front"


def test_both_reference_points_follow_from_the_front() -> None:
    """Front (0, 4), (2, 0) beside (4, 8), minimised: worst 2 and 4, ranges 2 and 4 (half of all: 2 and 4).

    So near is at 2.02 and 4.04, far at 2 + 3 x 2 and 4 + 3 x 4; every third trial is for the far one.
    """
    optimizer = Optimizer({"x": "interval(0, 1)"}, {"a": "min", "b": "min"}, initial=2)
    for x, a, b in ((0.0, 0.0, 4.0), (0.5, 2.0, 0.0), (1.0, 4.0, 8.0)):
        optimizer.tell({"x": x}, {"a": a, "b": b})
    surrogate = fit_surrogate(optimizer.history)
    found = infer_references(surrogate, list(optimizer.objectives.values()))
    own = [
        [-(u * t.unit + t.level) for u, t in zip(point, surrogate.transforms, strict=True)]
        for point in (found.near, found.far)
    ]
    assert own[0] == pytest.approx([2.02, 4.04])
    assert own[1] == pytest.approx([8.0, 16.0])
    assert [found.of_trial(number) is found.far for number in range(6)] == [False, False, True] * 2


@pytest.mark.parametrize(("objectives", "far"), [(2, 1 / 3), (3, 1 / 2), (4, 1 / 2)])
def test_with_many_objectives_more_trials_are_for_the_far_reference(objectives: int, far: float) -> None:
    found = References(np.zeros(objectives), np.ones(objectives))
    trials = [found.of_trial(number) is found.far for number in range(60)]
    assert sum(trials) / 60 == pytest.approx(far)
    assert not all(trials[:4]), "a batch of 4 has some for either"
    assert any(trials[:4])


def test_ranks_come_front_by_front() -> None:
    """Fronts: (0, 3), (3, 0); then (1, 4), (4, 1); then (5, 5)."""
    rows = [(5.0, 5.0), (1.0, 4.0), (0.0, 3.0), (4.0, 1.0), (3.0, 0.0)]
    assert set(by_rank(rows, 2)) == {2, 4}
    assert set(by_rank(rows, 4)) == {1, 2, 3, 4}
    assert by_rank([(3.0,), (1.0,), (2.0,)], 2) == [1, 2]
