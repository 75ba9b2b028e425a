"""Transforms, pooling and the reference point of a surrogate."""

import math

import numpy as np
import pytest

from hpo.objectives import Direction, Objective
from hpo.optimizer import Optimizer
from hpo.surrogate import fit_surrogate, log_is_possible, make_transform, pooled, skewness

MIN = Objective(Direction.MIN)


def test_transforms_maximise_centre_and_scale() -> None:
    values = np.array([1.0, 2.0, 6.0])
    transform = make_transform(values, MIN, log=False)
    assert transform(values).mean() == pytest.approx(0)
    assert transform(values).std() == pytest.approx(1)
    assert transform(values)[0] > transform(values)[2], "the least loss is the largest value"


def test_standard_errors_follow_the_transform() -> None:
    """Of the logarithm, to first order, the error is the relative one."""
    values = np.array([1.0, 10.0, 100.0])
    transform = make_transform(values, MIN, log=True)
    errors = transform.error(values, np.array([0.1, 1.0, 10.0]))
    assert errors == pytest.approx(np.full(3, 0.1 / np.log(values).std()))


def test_equal_values_are_scaled_by_one() -> None:
    assert make_transform(np.full(5, 0.1 + 0.2), MIN, log=False).scale == 1.0


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
        ([1.0, 1.0, 50.0], None, False),
    ],
)
def test_logarithms_need_positive_skewed_values(
    values: list[float], threshold: float | None, possible: bool
) -> None:
    assert log_is_possible(np.array(values), Objective(Direction.MIN, threshold)) is possible


def test_repeated_points_become_one_row() -> None:
    """Known errors 1 and 2 weigh 4 to 1: mean 1.2, variance 1 / (1 + 1/4) = 0.8."""
    X, y, noise, counts = pooled(
        [(0.5,), (0.2,), (0.5,)], np.array([1.0, 7.0, 2.0]), np.array([1.0, math.nan, 2.0])
    )
    assert X.tolist() == [[0.5], [0.2]]
    assert y == pytest.approx([1.2, 7.0])
    assert noise == pytest.approx([0.8, 0.0])
    assert counts.tolist() == [2.0, 1.0]


def test_times_over_magnitudes_are_modelled_by_their_logarithm_and_that_is_recorded() -> None:
    optimizer = Optimizer({"x": "interval(0, 1)"}, {"loss": "min", "seconds": "min"}, initial=2)
    for index in range(12):
        x = index / 11
        optimizer.tell({"x": x}, {"loss": (x - 0.4) ** 2 - 1, "seconds": 10 ** (4 * x)})
    surrogate = fit_surrogate(optimizer.history)
    assert [own.log for own in surrogate.transforms] == [False, True]
    assert surrogate.note == "logarithm of objective 2"


def test_the_reference_point_is_a_threshold_where_there_is_one() -> None:
    optimizer = Optimizer(
        {"x": "interval(0, 1)"}, {"a": {"direction": "max", "threshold": 3.0}, "b": "min"}, initial=2
    )
    for x in (0.0, 0.5, 1.0):
        optimizer.tell({"x": x}, {"a": 4 * x, "b": x})
    surrogate = fit_surrogate(optimizer.history)
    assert surrogate.reference[0] == pytest.approx(float(surrogate.transforms[0](np.array(3.0))))
    assert surrogate.reference[1] < surrogate.transforms[1](np.array(1.0)), (
        "beyond the worst value of the front"
    )
