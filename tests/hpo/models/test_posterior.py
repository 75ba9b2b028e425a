"""The closed-form gain against botorch's own Monte Carlo, and against worked values."""

import math

import numpy as np
import pytest
import torch
from botorch.acquisition.multi_objective.analytic import ExpectedHypervolumeImprovement
from botorch.models.deterministic import GenericDeterministicModel
from botorch.utils.multi_objective.box_decompositions.non_dominated import FastNondominatedPartitioning
from torch import Tensor

from hpo.models.acquisition import LogEHVI, cells
from hpo.models.gp import Data, Hyperparameters
from hpo.models.posterior import Draws, Posterior
from hpo.models.surrogate import Surrogate
from hpo.models.transforms import Transform

X = np.array([[0.1, 0.2], [0.4, 0.9], [0.6, 0.3], [0.9, 0.7], [0.25, 0.55]])
Y = np.array([[0.0, 1.0], [0.7, 0.3], [0.5, 0.6], [1.0, -0.2], [-0.5, -0.5]])


def surrogate(m: int, tau2: float = 1e-6) -> Surrogate:
    flags = np.zeros(2, dtype=bool)
    columns = np.column_stack([Y, Y[:, :1] * Y[:, 1:]])[:, :m]
    data = tuple(Data(X, column, np.zeros(5), np.ones(5), flags) for column in columns.T)
    process = Hyperparameters(np.array([0.4, 0.6]), 1.1, tau2, 0.1)
    plain = Transform(1, False, 0.0, 1.0, 0.0, 1.0)
    return Surrogate(X, data, (process,) * m, (plain,) * m, (False,) * m, columns)


def gain_of(own: Surrogate, normals: Tensor) -> LogEHVI:
    """The gain over the observed points, from the reference point (-0.8, ...)."""
    draws = Draws(own, torch.from_numpy(X), normals)
    return LogEHVI(draws, np.full(normals.shape[-1], -0.8))


def candidates(k: int = 6) -> Tensor:
    return torch.tensor(np.random.default_rng(3).random((k, 2)))


class AnalyticPosterior:
    """Hands our normal posterior to botorch's analytic acquisition functions."""

    def __init__(self, own: Surrogate, x: Tensor) -> None:
        pairs = [Posterior(own, output).posterior(x) for output in range(len(own.data))]
        self.mean = torch.stack([mean[:, 0] for mean, _ in pairs], -1)
        self.variance = torch.stack([deviation**2 for _, deviation in pairs], -1)


def test_without_noise_the_gain_is_the_analytic_hypervolume_improvement() -> None:
    own, x = surrogate(2), candidates()
    ours = gain_of(own, torch.zeros(1, 5, 2, dtype=torch.float64))(x)
    model = GenericDeterministicModel(lambda _: torch.zeros(1, 2), num_outputs=2)
    best = torch.from_numpy(Y)
    partitioning = FastNondominatedPartitioning(ref_point=torch.full((2,), -0.8, dtype=torch.float64), Y=best)
    theirs = ExpectedHypervolumeImprovement(model, [-0.8, -0.8], partitioning).double()  # type: ignore[arg-type]
    posterior = AnalyticPosterior(own, x)
    model.posterior = lambda _, posterior_transform=None: _unsqueezed(posterior)  # type: ignore[method-assign,assignment,misc]
    expected = theirs(x.unsqueeze(1)).log()
    assert ours.tolist() == pytest.approx(expected.tolist(), abs=2e-3)


def _unsqueezed(posterior: AnalyticPosterior) -> AnalyticPosterior:
    again = AnalyticPosterior.__new__(AnalyticPosterior)
    again.mean, again.variance = posterior.mean.unsqueeze(1), posterior.variance.unsqueeze(1)
    return again


def test_one_objective_without_noise_is_expected_improvement() -> None:
    own, x = surrogate(1), candidates()
    ours = gain_of(own, torch.zeros(1, 5, 1, dtype=torch.float64))(x)
    mean, deviation = Posterior(own, 0).posterior(x)
    z = (mean[:, 0] - 1.0) / deviation
    normal = torch.distributions.Normal(0, 1)
    expected = deviation * (z * normal.cdf(z) + normal.log_prob(z).exp())
    assert ours.exp().tolist() == pytest.approx(expected.tolist(), rel=1e-2)


@pytest.mark.parametrize("m", [2, 3])
def test_the_gain_is_the_mean_of_simulated_hypervolume_improvements(m: int) -> None:
    """A second method: draw the candidate's values, measure each hypervolume, average."""
    from hpo.pareto import hypervolume

    own, x = surrogate(m), candidates(1)
    ours = gain_of(own, torch.zeros(1, 5, m, dtype=torch.float64))(x).exp()
    posterior = AnalyticPosterior(own, x)
    generator = torch.Generator().manual_seed(0)
    draws = posterior.mean + posterior.variance.sqrt() * torch.randn(
        20_000, m, generator=generator, dtype=torch.float64
    )
    told = [
        tuple(-value for value in row) for row in np.column_stack([own.data[k].y for k in range(m)]).tolist()
    ]
    reference = (0.8,) * m
    before = hypervolume(told, reference)
    gains = [
        hypervolume([*told, tuple(-v for v in row)], reference) - before for row in draws.tolist()[:4000]
    ]
    error = float(np.std(gains)) / math.sqrt(len(gains))
    assert float(ours) == pytest.approx(float(np.mean(gains)), abs=4 * error)


def test_the_gain_has_a_gradient_where_it_is_tiny() -> None:
    """Where the plain improvement would underflow to 0, the logarithm still says which way to go."""
    own = surrogate(2)
    x = torch.tensor([[0.25001, 0.55001]], dtype=torch.float64, requires_grad=True)
    value = gain_of(own, torch.zeros(1, 5, 2, dtype=torch.float64))(x)
    value.sum().backward()
    assert -math.inf < value.item() < -50
    assert x.grad is not None
    assert bool(torch.isfinite(x.grad).all())
    assert float(x.grad.abs().max()) > 0


def test_a_point_that_is_there_brings_next_to_nothing_more() -> None:
    own, x = surrogate(2), candidates(1)
    normals = torch.randn(16, 6, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gain = gain_of(own, normals)
    before = float(gain(x))
    gain.add(x)
    assert float(gain(x)) < before - 3


def test_draws_at_noisy_points_spread_as_their_posterior() -> None:
    own = surrogate(1, tau2=0.3)
    process = Posterior(own, 0)
    mean, deviation = process.posterior(torch.from_numpy(X))
    centre, root = process.joint(torch.from_numpy(X))
    assert (root @ root.T).diagonal().sqrt().tolist() == pytest.approx(deviation.tolist(), rel=1e-6)
    assert centre.tolist() == mean.tolist()
    assert float(deviation.min()) > 0.1


def test_a_further_reference_point_makes_every_gain_larger() -> None:
    own, x = surrogate(2), candidates()
    gain = gain_of(own, torch.zeros(1, 5, 2, dtype=torch.float64))
    near = gain(x)
    gain.set_reference_point(np.full(2, -3.0))
    assert bool((gain(x) > near).all())


def test_cells_fill_what_is_not_dominated() -> None:
    """Front (1, 2), (2, 1) over (0, 0), cut at 3: 9 minus the dominated 3 leaves 6."""
    lower, upper = cells(
        torch.tensor([[[1.0, 2.0], [2.0, 1.0], [0.5, 0.5]]]).double(), torch.zeros(2).double()
    )
    widths = (upper.clamp_max(3.0) - lower).clamp_min(0)
    assert float(widths.prod(-1).sum()) == pytest.approx(6.0)


def test_nothing_above_the_reference_leaves_one_cell() -> None:
    lower, upper = cells(torch.tensor([[[-1.0, 5.0]]]).double(), torch.zeros(2).double())
    assert (upper.clamp_max(3.0) - lower).clamp_min(0).prod(-1).sum() == pytest.approx(9.0)
