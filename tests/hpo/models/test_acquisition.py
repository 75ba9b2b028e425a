"""The acquisition functions that can be chosen: by hand, by simulation and end to end."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hpo.errors import InputError
from hpo.models.acquisition import Scalarised, make_acquisition
from hpo.models.gp import Data, Hyperparameters
from hpo.models.guard import guarded
from hpo.models.posterior import Draws, Posterior
from hpo.models.surrogate import Surrogate, fit_surrogate
from hpo.models.transforms import Transform
from hpo.optimizer import Optimizer, Origin
from hpo.pareto import hypervolume
from hpo.records import Params
from hpo.strategies.bo import ONE, SEVERAL

X = np.array([[0.1, 0.2], [0.4, 0.9], [0.6, 0.3], [0.9, 0.7], [0.25, 0.55]])
Y = np.array([[0.0, 1.0], [0.7, 0.3], [0.5, 0.6], [1.0, -0.2], [-0.5, -0.5]])
REFERENCE = np.array([-0.8, -0.8])
SPACE = {"x": "interval(0, 1)", "y": "interval(0, 1)"}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with guarded():
        yield


def surrogate(m: int = 2, tau2: float = 1e-6) -> Surrogate:
    """Five points of two dimensions; noise variance `tau2`."""
    plain = Transform(1, False, 0.0, 1.0, 0.0, 1.0)
    data = tuple(Data(X, Y[:, k], np.zeros(5), np.ones(5), np.zeros(2, dtype=bool)) for k in range(m))
    process = Hyperparameters(np.array([0.4, 0.6]), 1.1, tau2, 0.1)
    optimizer = Optimizer(SPACE, dict.fromkeys("ab"[:m], "max"))
    for row, values in zip(X.tolist(), Y.tolist(), strict=True):
        optimizer.tell(dict(zip("xy", row, strict=True)), dict(zip("ab"[:m], values, strict=False)))
    fitted = fit_surrogate(optimizer.history)
    own: dict[str, Any] = {
        "data": data,
        "processes": (process,) * m,
        "transforms": (plain,) * m,
        "gained": Y[:, :m],
    }
    return replace(fitted, **own)


def candidates(k: int = 6) -> Tensor:
    return torch.tensor(np.random.default_rng(3).random((k, 2)))


def normals(draws: int, points: int, m: int = 2) -> Tensor:
    return torch.randn(draws, points, m, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def draws_of(own: Surrogate, z: Tensor) -> Draws:
    return Draws(own, torch.from_numpy(X), z)


def test_with_exact_observations_the_noisy_gain_is_the_plain_one() -> None:
    z = normals(16, 6)
    at_means = torch.cat([torch.zeros(16, 5, 2, dtype=torch.float64), z[:, 5:]], dim=1)
    own = surrogate(tau2=1e-9)
    noisy = make_acquisition("qlognehvi", draws_of(own, z), REFERENCE, 0, 4.0)(candidates())
    plain = make_acquisition("qlogehvi", draws_of(own, at_means), REFERENCE, 0, 4.0)(candidates())
    assert noisy.tolist() == pytest.approx(plain.tolist(), abs=0.02)


def test_with_noise_the_two_differ() -> None:
    z = normals(16, 6)
    noisy = make_acquisition("qlognehvi", draws_of(surrogate(tau2=0.3), z), REFERENCE, 0, 4.0)
    plain = make_acquisition("qlogehvi", draws_of(surrogate(tau2=0.3), 0 * z), REFERENCE, 0, 4.0)
    assert float((noisy(candidates()) - plain(candidates())).abs().max()) > 0.1


def test_without_the_logarithm_it_is_the_exponential() -> None:
    z, x = normals(8, 5), candidates()
    log = make_acquisition("qlogehvi", draws_of(surrogate(), z), REFERENCE, 0, 4.0)(x)
    plain = make_acquisition("qehvi", draws_of(surrogate(), z), REFERENCE, 0, 4.0)(x)
    assert plain.tolist() == log.exp().tolist()


def test_an_upper_confidence_bound_by_hand() -> None:
    """Beta 9: the mean and three standard deviations."""
    own, x = surrogate(1), candidates()
    bound = make_acquisition("ucb", draws_of(own, torch.zeros(1, 5, 1).double()), REFERENCE[:1], 0, 9.0)
    mean, deviation = Posterior(own, 0).posterior(x)
    assert bound(x).tolist() == pytest.approx((mean[:, 0] + 3 * deviation).tolist(), abs=1e-4)


def test_a_point_under_way_keeps_its_mean_and_loses_its_spread() -> None:
    own, x = surrogate(1), candidates(1)
    bound = make_acquisition("ucb", draws_of(own, torch.zeros(1, 6, 1).double()), REFERENCE[:1], 0, 4.0)
    mean, deviation = Posterior(own, 0).posterior(x)
    assert float(bound(x)) == pytest.approx(float(mean + 2 * deviation), abs=1e-4)
    bound.add(x)
    assert float(bound(x)) == pytest.approx(float(mean), abs=0.01)


def simulated(own: Surrogate, weights: list[float], x: Tensor) -> tuple[float, float]:
    """A second method: E of what many simulated candidates add to the best scalarised observation.

    Returns:
        The mean and its standard error.
    """
    z = np.random.default_rng(0).standard_normal((200_000, 2))
    pairs = [Posterior(own, k).posterior(x) for k in range(2)]
    values = np.column_stack([float(mean) + float(sd) * z[:, k] for k, (mean, sd) in enumerate(pairs)])
    ideal, span = Y.max(0), np.ptp(Y, axis=0)

    def scalar(rows: np.ndarray) -> np.ndarray:
        missing = np.array(weights) * (ideal - rows) / span
        losses: np.ndarray = missing.max(1) + 0.05 * missing.sum(1)
        return -losses

    gains = np.maximum(scalar(values) - scalar(Y).max(), 0)
    return float(gains.mean()), float(gains.std()) / math.sqrt(len(gains))


def test_a_scalarised_gain_is_the_mean_of_simulated_ones() -> None:
    """At observations without noise, so that 4000 draws stand for the candidate alone."""
    own = surrogate(tau2=1e-9)
    z = torch.cat([torch.zeros(4000, 5, 2, dtype=torch.float64), normals(4000, 1)], dim=1)
    acquisition = make_acquisition("qlognparego", draws_of(own, z), REFERENCE, 7, 4.0)
    assert isinstance(acquisition, Scalarised)
    for x in candidates(3).split(1):
        expected, error = simulated(own, acquisition._weights.tolist(), x)
        spread = error * math.sqrt(200_000 / 4000)
        assert math.exp(float(acquisition(x))) == pytest.approx(expected, abs=4 * spread + 1e-3)


def test_weights_sum_to_one_and_turn_with_every_point() -> None:
    own, x = surrogate(), candidates(3)
    acquisition = make_acquisition("qlognparego", draws_of(own, normals(8, 8)), REFERENCE, 7, 4.0)
    assert isinstance(acquisition, Scalarised)
    seen = [acquisition._weights]
    for row in x[:2].split(1):
        acquisition.add(row)
        seen.append(acquisition._weights)
    assert all(float(own.sum()) == pytest.approx(1) and float(own.min()) > 0 for own in seen)
    assert len({tuple(own.tolist()) for own in seen}) == 3


def test_random_weights_are_uniform_on_the_simplex() -> None:
    """Of two, each is uniform on [0, 1]: mean 1/2, variance 1/12."""
    draws = draws_of(surrogate(), normals(1, 6))
    first = [float(Scalarised(draws, seed)._weights[0]) for seed in range(600)]
    assert np.mean(first) == pytest.approx(0.5, abs=4 / math.sqrt(12 * 600))
    assert np.var(first) == pytest.approx(1 / 12, rel=0.15)


@pytest.mark.parametrize("kind", SEVERAL)
def test_every_worth_has_a_gradient(kind: str) -> None:
    x = candidates().requires_grad_(True)
    value = make_acquisition(kind, draws_of(surrogate(), normals(8, 6)), REFERENCE, 0, 4.0)(x)
    (slope,) = torch.autograd.grad(value.sum(), x)
    assert value.shape == (6,)
    assert bool(torch.isfinite(slope).all())
    assert float(slope.abs().max()) > 0


def losses(params: Params) -> tuple[float, float]:
    """Squared distances to (0.3, 0.6) and (0.7, 0.6): the front is the line between them."""
    x, y = float(params["x"]), float(params["y"])
    return (x - 0.3) ** 2 + (y - 0.6) ** 2, (x - 0.7) ** 2 + (y - 0.6) ** 2


def tuned(
    names: tuple[str, ...], strategy: str, **settings: Any
) -> tuple[list[tuple[float, ...]], Optimizer]:
    """The values of 16 trials, four at a time."""
    optimizer = Optimizer(SPACE, dict.fromkeys(names, "min"), strategy=strategy, seed=1, **settings)
    rows = []
    for _ in range(4):
        for params in optimizer.ask(4):
            rows.append(losses(params)[: len(names)])
            optimizer.tell(params, dict(zip(names, rows[-1], strict=True)))
    return rows, optimizer


@pytest.mark.parametrize("kind", ONE)
def test_each_acquisition_of_one_objective_beats_sobol(kind: str) -> None:
    found, optimizer = tuned(("a",), "bo", acquisition=kind, initial=8)
    assert min(found)[0] < 0.2 * min(tuned(("a",), "sobol")[0])[0]
    assert len(optimizer.history.taken) == 16


@pytest.mark.parametrize("kind", SEVERAL)
def test_each_acquisition_of_two_objectives_beats_sobol(kind: str) -> None:
    found, optimizer = tuned(("a", "b"), "bo", acquisition=kind, initial=8)
    assert hypervolume(found, (0.3, 0.3)) > hypervolume(tuned(("a", "b"), "sobol")[0], (0.3, 0.3))
    assert len(optimizer.history.taken) == 16


@pytest.mark.parametrize("kind", [*SEVERAL, *ONE])
def test_a_batch_is_of_the_model_and_has_no_two_points_alike(kind: str) -> None:
    names = ("a", "b") if kind in SEVERAL else ("a",)
    _, optimizer = tuned(names, "bo", acquisition=kind, initial=16)
    batch = optimizer.propose(5)
    points = {optimizer.space.key(optimizer.space.to_unit(own.params)) for own in batch}
    assert {own.origin for own in batch} == {Origin.MODEL}
    assert len(points) == 5


@pytest.mark.parametrize(
    ("kind", "names"), [*((kind, "ab") for kind in ONE), *((kind, "a") for kind in SEVERAL)]
)
def test_an_acquisition_for_another_number_of_objectives_is_refused(kind: str, names: str) -> None:
    with pytest.raises(InputError) as refused:
        Optimizer(SPACE, dict.fromkeys(names, "min"), acquisition=kind)
    [(key, text)] = refused.value.problems
    assert key == "strategy.acquisition"
    assert kind in text
