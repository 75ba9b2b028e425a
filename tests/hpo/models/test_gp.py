"""The Gaussian process: gradients, closed forms, noise and choices."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from gpytorch.mlls import ExactMarginalLogLikelihood
from processes import PLAIN

from hpo.models.distances import distances
from hpo.models.fit import density_closure, fit, fit_best, searched
from hpo.models.gp import Data, ObjectiveGP
from hpo.models.guard import guarded
from hpo.models.kernel import Form, MixedKernel


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As proposing does it: contended BLAS threads make small factorisations slow."""
    with guarded():
        yield


def data(n: int = 12, choices: tuple[int, ...] = (2,)) -> Data:
    rng = np.random.default_rng(0)  # one for each call: what other tests have drawn must not matter
    X = rng.random((n, 3))
    X[:, 2] = rng.integers(0, 3, n) / 3 + 1 / 6
    y = np.sin(5 * X[:, 0]) + X[:, 1] + (X[:, 2] > 0.5)
    noise, counts = rng.random(n) * 0.01, rng.integers(1, 4, n).astype(float)
    return Data(X, (y - y.mean()) / y.std(), noise, counts, rng.random(n) * 0.02, choices)


def plain(X: np.ndarray, y: np.ndarray, noise: float = 0.0, choices: tuple[int, ...] = ()) -> Data:
    n = len(y)
    return Data(X, (y - y.mean()) / y.std(), np.full(n, noise), np.ones(n), np.zeros(n), choices)


def fitted(own: Data) -> ObjectiveGP:
    return fit_best(lambda form: own.process(form, PLAIN))[0]


def test_data_do_not_depend_on_what_was_drawn_before() -> None:
    assert data().y.tolist() == data().y.tolist()


def test_matern_has_its_closed_form() -> None:
    """At distance 1 in units of the length scale: 2 (1 + sqrt 5 + 5/3) exp(-sqrt 5) with variance 2."""
    kernel = MixedKernel(3).double().with_scales(np.array([0.3, 1.0, 1.0]), 2.0).requires_grad_(False)
    there = torch.tensor([[0.0, 0.0, 0.0]]).double(), torch.tensor([[0.3, 0.0, 0.0]]).double()
    expected = 2 * (1 + math.sqrt(5) + 5 / 3) * math.exp(-math.sqrt(5))
    assert float(kernel(*there).to_dense()) == pytest.approx(expected)


def test_all_values_of_an_unordered_choice_are_equally_far_apart() -> None:
    levels = np.array([[1 / 6], [3 / 6], [5 / 6]])
    D = distances(levels, levels, np.array([True]))[..., 0]
    assert D.tolist() == (1 - np.eye(3)).tolist()


@pytest.mark.parametrize("form", Form)
def test_the_kernel_is_that_of_the_distances_in_every_shape_that_gpytorch_asks_for(form: Form) -> None:
    """A second method: the formula in NumPy; all pairs, a batch, and the diagonal."""
    own, ell = data(), np.array([0.4, 0.9, 1.3])
    kernel = MixedKernel(3, own.choices, form).double().with_scales(ell, 1.7).requires_grad_(False)
    squared = distances(own.X, own.X, np.array([False, False, True])) @ (1 / ell**2)
    root = np.sqrt(5 * squared)
    matern = (1 + root + root**2 / 3) * np.exp(-root)
    expected = 1.7 * (matern if form is Form.MATERN else np.exp(-squared / 2))
    X = torch.from_numpy(own.X)
    batch = torch.stack([X, X.flip(0)])
    assert kernel(X).to_dense().numpy() == pytest.approx(expected)
    assert kernel(batch).to_dense()[1].numpy() == pytest.approx(expected[::-1, ::-1])
    assert kernel(X, X.flip(0), diag=True).numpy() == pytest.approx(np.diag(expected[:, ::-1]))


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("choices", [(2,), ()], ids=["a choice", "numbers"])
def test_the_closure_is_gpytorchs_likelihood_and_its_slopes_those_of_autograd(
    form: Form, choices: tuple[int, ...]
) -> None:
    """A second method: `ExactMarginalLogLikelihood` and automatic differentiation, up to a constant."""
    model = data(choices=choices).process(form, PLAIN)
    mll, gaps = ExactMarginalLogLikelihood(model.likelihood, model), []
    for step in (0.0, 0.3):
        with torch.no_grad():
            for parameter in searched(model).values():
                parameter.copy_(torch.linspace(-0.9, step, parameter.numel()).reshape(parameter.shape))
        value, slopes = density_closure(model)()
        total = -mll(model(*model.train_inputs), model.train_targets) * 12
        expected = torch.autograd.grad(total, list(searched(model).values()))
        assert torch.cat([own.flatten() for own in slopes]).tolist() == pytest.approx(
            torch.cat([own.flatten() for own in expected]).tolist(), rel=1e-9, abs=1e-9
        )
        gaps.append(float(total.detach() - value))
    assert gaps[0] == pytest.approx(gaps[1], abs=1e-9)


def test_an_irrelevant_coordinate_gets_a_longer_scale() -> None:
    X = np.random.default_rng(0).random((25, 2))
    found = fitted(plain(X, np.sin(6 * X[:, 0]))).covar_module.lengthscale.flatten()
    assert found[1] > 2 * found[0]


def test_a_polynomial_is_taken_for_smooth_and_for_smoother_where_there_are_no_choices() -> None:
    """The last coordinate is the same in all rows: only what is thought beforehand differs."""
    X = np.column_stack([np.random.default_rng(5).random((24, 3)), np.full(24, 0.5)])
    y = X[:, 0] ** 2 - X[:, 0] * X[:, 1] + X[:, 2]
    without, mixed = (fitted(plain(X, y, choices=own)).covar_module for own in ((), (3,)))
    assert without.form is mixed.form is Form.SQUARED_EXPONENTIAL
    assert without.lengthscale[0, 3] > 2 * mixed.lengthscale[0, 3]  # the data say nothing of it
    assert without.outputscale >= mixed.outputscale  # both may be at their bound


def test_noise_is_found_in_noise_and_not_in_a_smooth_curve() -> None:
    X = np.linspace(0, 1, 40)[:, None]
    smooth = np.sin(6 * X[:, 0])
    noisy = smooth + 0.3 * np.random.default_rng(0).standard_normal(40)

    def learned(y: np.ndarray, noise: float = 0.0) -> float:
        n = len(y)
        own = Data(X, y, np.full(n, noise), np.ones(n), np.zeros(n))
        return float(fitted(own).likelihood.noise)

    assert learned(smooth) < 1e-3
    assert learned(noisy) == pytest.approx(0.09, rel=0.6)
    assert learned(noisy, noise=0.09) < 0.03, "known noise must not be learned a second time"


def test_of_standard_errors_that_all_rows_share_little_is_taken_for_noise() -> None:
    """Errors of half the spread: once each row errs by itself, once all err alike, which only shifts them."""
    rng = np.random.default_rng(1)
    X = rng.random((40, 1))
    smooth = np.sin(6 * X[:, 0])
    error = 0.35

    def share(y: np.ndarray) -> float:
        own = Data(X, y, np.zeros(40), np.ones(40), np.full(40, error**2))
        return float(fitted(own).likelihood.share)

    assert share(smooth + error * rng.standard_normal(40)) > 0.3
    assert share(smooth + error * rng.standard_normal()) < 0.02


def test_noise_of_a_row_is_known_and_learned_and_of_a_new_measurement_learned() -> None:
    """Of a row v + a share of e + tau2 / k; a new measurement adds tau2 to the variance of the function."""
    own = data()
    model = own.process(Form.MATERN, PLAIN)
    fit(model)
    tau2, share = float(model.likelihood.noise), float(model.likelihood.share)
    rows = own.noise + share * own.told + tau2 / own.counts
    assert model.likelihood.rows.tolist() == pytest.approx(rows.tolist())
    X = torch.from_numpy(own.X)  # as many points as rows: which noise is meant does not follow from a shape
    function, measured = model.posterior(X), model.posterior(X, observation_noise=True)
    assert (measured.variance - function.variance).flatten().tolist() == pytest.approx([tau2] * 12)


def test_the_posterior_of_botorch_is_the_textbooks() -> None:
    """A second method: k K^-1 (y - mean) in NumPy [Rasmussen2006, 2.23]."""
    own = data()
    model = fitted(own)
    x = torch.tensor([[0.3, 0.4, 0.5]]).double()
    kernel, rows = model.covar_module, torch.from_numpy(own.X)
    k, K = kernel.forward(x, rows).numpy(), kernel.forward(rows, rows).numpy()
    learned, share = float(model.likelihood.noise), float(model.likelihood.share)
    K += np.diag(own.noise + share * own.told + learned / own.counts)
    mean = float(model.mean_module.constant)
    found = model.posterior(x)
    assert float(found.mean) == pytest.approx(float(mean + k[0] @ np.linalg.solve(K, own.y - mean)))
    variance = float(kernel.outputscale) - float(k[0] @ np.linalg.solve(K, k[0]))
    assert float(found.variance) == pytest.approx(variance, rel=1e-6)
