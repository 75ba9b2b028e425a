"""The Gaussian process: gradients, closed forms, noise and choices."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from hpo.models.gp import (
    Data,
    Hyperparameters,
    Kernel,
    _objective,
    covariance,
    distances,
    fit,
    leave_one_out,
    matern,
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As proposing does it: contended BLAS threads make small factorisations slow."""
    with threadpool_limits(1):
        yield


PLAIN = np.zeros(3, dtype=bool)


def data(n: int = 12, hamming: tuple[bool, ...] = (False, False, True)) -> Data:
    rng = np.random.default_rng(0)  # one for each call: what other tests have drawn must not matter
    X = rng.random((n, 3))
    X[:, 2] = rng.integers(0, 3, n) / 3 + 1 / 6
    y = np.sin(5 * X[:, 0]) + X[:, 1] + (X[:, 2] > 0.5)
    noise, counts = rng.random(n) * 0.01, rng.integers(1, 4, n).astype(float)
    return Data(X, (y - y.mean()) / y.std(), noise, counts, np.array(hamming))


def test_data_do_not_depend_on_what_was_drawn_before() -> None:
    assert data().y.tolist() == data().y.tolist()


def test_matern_has_its_closed_form() -> None:
    """At distance 1 in units of the length scale: (1 + sqrt 5 + 5/3) exp(-sqrt 5)."""
    D = distances(np.array([[0.0, 0.0, 0.0]]), np.array([[0.3, 0.0, 0.0]]), PLAIN)
    expected = (1 + math.sqrt(5) + 5 / 3) * math.exp(-math.sqrt(5))
    assert matern(D, np.array([0.3, 1.0, 1.0])) == pytest.approx(expected)


def test_all_values_of_an_unordered_choice_are_equally_far_apart() -> None:
    levels = np.array([[1 / 6], [3 / 6], [5 / 6]])
    D = distances(levels, levels, np.array([True]))[..., 0]
    assert D.tolist() == (1 - np.eye(3)).tolist()


@pytest.mark.parametrize("kernel", Kernel)
@pytest.mark.parametrize("choice", [True, False], ids=["a choice", "numbers"])
def test_the_gradient_is_that_of_the_value(kernel: Kernel, choice: bool) -> None:
    own = data(hamming=(False, False, choice))
    D = distances(own.X, own.X, own.hamming)
    theta = np.log([0.4, 0.9, 1.3, 0.8, 0.02])
    _, gradient = _objective(theta, own, D, kernel)
    for index in range(len(theta)):
        step = np.eye(len(theta))[index] * 1e-6
        slope = (
            _objective(theta + step, own, D, kernel)[0] - _objective(theta - step, own, D, kernel)[0]
        ) / 2e-6
        assert gradient[index] == pytest.approx(slope, rel=1e-4, abs=1e-5)


def test_an_irrelevant_coordinate_gets_a_longer_scale() -> None:
    X = np.random.default_rng(0).random((25, 2))
    y = np.sin(6 * X[:, 0])
    found, _ = fit(Data(X, (y - y.mean()) / y.std(), np.zeros(25), np.ones(25), np.zeros(2, dtype=bool)))
    assert found.ell[1] > 2 * found.ell[0]


def test_a_polynomial_is_taken_for_smooth_and_for_smoother_where_there_are_no_choices() -> None:
    """The last coordinate is the same in all rows: only what is thought beforehand differs."""
    X = np.column_stack([np.random.default_rng(5).random((24, 3)), np.full(24, 0.5)])
    y = X[:, 0] ** 2 - X[:, 0] * X[:, 1] + X[:, 2]
    y = (y - y.mean()) / y.std()

    def found(choice: bool) -> Hyperparameters:
        flags = np.array([False, False, False, choice])
        return fit(Data(X, y, np.zeros(24), np.ones(24), flags))[0]

    plain, mixed = found(choice=False), found(choice=True)
    assert plain.kernel is mixed.kernel is Kernel.SQUARED_EXPONENTIAL
    assert plain.ell[3] > 2 * mixed.ell[3]  # the data say nothing of it
    assert plain.sigma2 >= mixed.sigma2  # both may be at their bound


def test_noise_is_found_in_noise_and_not_in_a_smooth_curve() -> None:
    X = np.linspace(0, 1, 40)[:, None]
    smooth = np.sin(6 * X[:, 0])
    noisy = smooth + 0.3 * np.random.default_rng(0).standard_normal(40)

    def learned(y: np.ndarray, noise: float = 0.0) -> float:
        own = Data(X, y, np.full(40, noise), np.ones(40), np.zeros(1, dtype=bool))
        return fit(own)[0].tau2

    assert learned(smooth) < 1e-3
    assert learned(noisy) == pytest.approx(0.09, rel=0.6)
    assert learned(noisy, noise=0.09) < 0.03, "known noise must not be learned a second time"


def test_left_out_predictions_are_those_of_a_process_without_the_row() -> None:
    """A second method: condition on the other rows, one after another."""
    own = data()
    found, _ = fit(own)
    means, deviations = leave_one_out(own, found)
    for index in range(len(own.y)):
        rest = np.arange(len(own.y)) != index
        K = found.sigma2 * covariance(distances(own.X, own.X, own.hamming), found.ell, found.kernel)
        K += np.diag(own.noise + found.tau2 / own.counts + 1e-8 * found.sigma2)
        weights = np.linalg.solve(K[np.ix_(rest, rest)], K[rest, index])
        assert means[index] == pytest.approx(found.mean + weights @ (own.y[rest] - found.mean), rel=1e-6)
        assert deviations[index] ** 2 == pytest.approx(K[index, index] - weights @ K[rest, index], rel=1e-4)
