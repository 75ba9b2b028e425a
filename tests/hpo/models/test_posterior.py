"""The closed-form gain against botorch's own Monte Carlo, and against worked values."""

import math

import numpy as np
import pytest
import torch
from botorch.acquisition.multi_objective.analytic import ExpectedHypervolumeImprovement
from botorch.models import ModelListGP
from botorch.models.deterministic import GenericDeterministicModel
from botorch.utils.multi_objective.box_decompositions.non_dominated import FastNondominatedPartitioning
from processes import process
from torch import Tensor

from hpo.models.gp import ObjectiveGP
from hpo.models.lognehvi import LogNoisyExpectedHypervolumeImprovement, cells, joint_draws
from hpo.models.posterior import Posterior

X = np.array([[0.1, 0.2], [0.4, 0.9], [0.6, 0.3], [0.9, 0.7], [0.25, 0.55]])
Y = np.array([[0.0, 1.0], [0.7, 0.3], [0.5, 0.6], [1.0, -0.2], [-0.5, -0.5]])


def processes(m: int, tau2: float = 1e-6) -> list[ObjectiveGP]:
    columns = np.column_stack([Y, Y[:, :1] * Y[:, 1:]])[:, :m]
    return [process(X, column.tolist(), [0.4, 0.6], 1.1, tau2, 0.1) for column in columns.T]


def gain_of(
    own: list[ObjectiveGP], draws: int = 64, reference: float = -0.8
) -> LogNoisyExpectedHypervolumeImprovement:
    """The gain over the observed points, from the reference point (-0.8, ...)."""
    model = own[0] if len(own) == 1 else ModelListGP(*own)
    bound = torch.full((len(own),), reference, dtype=torch.float64)
    return LogNoisyExpectedHypervolumeImprovement(model, bound, torch.from_numpy(X), draws)


def candidates(k: int = 6) -> Tensor:
    return torch.tensor(np.random.default_rng(3).random((k, 1, 2)))


class AnalyticPosterior:
    """Hands our normal posterior to botorch's analytic acquisition functions."""

    def __init__(self, own: list[ObjectiveGP], x: Tensor) -> None:
        pairs = [Posterior(each).posterior(x.squeeze(1)) for each in own]
        self.mean = torch.stack([mean[:, 0] for mean, _ in pairs], -1)
        self.variance = torch.stack([deviation**2 for _, deviation in pairs], -1)


def test_without_noise_the_gain_is_the_analytic_hypervolume_improvement() -> None:
    own, x = processes(2), candidates()
    ours = gain_of(own)(x)
    model = GenericDeterministicModel(lambda _: torch.zeros(1, 2), num_outputs=2)
    best = torch.from_numpy(Y)
    partitioning = FastNondominatedPartitioning(ref_point=torch.full((2,), -0.8, dtype=torch.float64), Y=best)
    theirs = ExpectedHypervolumeImprovement(model, [-0.8, -0.8], partitioning).double()  # type: ignore[arg-type]
    posterior = AnalyticPosterior(own, x)
    model.posterior = lambda _, posterior_transform=None: _unsqueezed(posterior)  # type: ignore[method-assign,assignment,misc]
    expected = theirs(x).log()
    assert ours.tolist() == pytest.approx(expected.tolist(), abs=2e-3)


def _unsqueezed(posterior: AnalyticPosterior) -> AnalyticPosterior:
    again = AnalyticPosterior.__new__(AnalyticPosterior)
    again.mean, again.variance = posterior.mean.unsqueeze(1), posterior.variance.unsqueeze(1)
    return again


def test_one_objective_without_noise_is_expected_improvement() -> None:
    [own], x = processes(1), candidates()
    ours = gain_of([own])(x)
    mean, deviation = Posterior(own).posterior(x.squeeze(1))
    z = (mean[:, 0] - 1.0) / deviation
    normal = torch.distributions.Normal(0, 1)
    expected = deviation * (z * normal.cdf(z) + normal.log_prob(z).exp())
    assert ours.exp().tolist() == pytest.approx(expected.tolist(), rel=1e-2)


@pytest.mark.parametrize("m", [2, 3])
def test_the_gain_is_the_mean_of_simulated_hypervolume_improvements(m: int) -> None:
    """A second method: draw the candidate's values, measure each hypervolume, average."""
    from hpo.pareto import hypervolume

    own, x = processes(m), candidates(1)
    ours = gain_of(own)(x).exp()
    posterior = AnalyticPosterior(own, x)
    generator = torch.Generator().manual_seed(0)
    draws = posterior.mean + posterior.variance.sqrt() * torch.randn(
        20_000, m, generator=generator, dtype=torch.float64
    )
    told = [
        tuple(-value for value in row)
        for row in np.column_stack([each.train_targets.numpy() for each in own]).tolist()
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
    x = torch.tensor([[[0.25001, 0.55001]]], dtype=torch.float64, requires_grad=True)
    value = gain_of(processes(2), draws=1)(x)
    value.sum().backward()
    assert -math.inf < value.item() < -50
    assert x.grad is not None
    assert bool(torch.isfinite(x.grad).all())
    assert float(x.grad.abs().max()) > 0


def test_a_point_under_way_brings_next_to_nothing_more() -> None:
    x = candidates(1)
    gain = gain_of(processes(2), draws=16)
    before = float(gain(x))
    gain.set_X_pending(x.squeeze(1))
    assert float(gain(x)) < before - 3


def test_draws_at_noisy_points_spread_as_their_posterior() -> None:
    [own] = processes(1, tau2=0.3)
    posterior = Posterior(own)
    mean, deviation = posterior.posterior(torch.from_numpy(X))
    centre, root = posterior.joint(torch.from_numpy(X))
    assert (root @ root.T).diagonal().sqrt().tolist() == pytest.approx(deviation.tolist(), rel=1e-6)
    assert centre.tolist() == mean.tolist()
    assert float(deviation.min()) > 0.1


def test_our_posterior_is_that_of_botorch() -> None:
    """A second method: GPyTorch's own prediction, at the same scales."""
    [own], x = processes(1, tau2=0.01), candidates()
    mean, deviation = Posterior(own).posterior(x.squeeze(1))
    theirs = own.posterior(x)
    assert mean[:, 0].tolist() == pytest.approx(theirs.mean.flatten().tolist(), rel=1e-6)
    assert deviation.tolist() == pytest.approx(theirs.variance.sqrt().flatten().tolist(), rel=1e-6)


def test_draws_are_conditioned_on_as_exact_measurements() -> None:
    """What a posterior foretells where it was extended is the draw."""
    own = processes(2, tau2=0.1)
    normals = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    posteriors, F = joint_draws(own, torch.from_numpy(X), normals)
    for output, posterior in enumerate(posteriors):
        assert posterior.mean(torch.from_numpy(X)).T.numpy() == pytest.approx(
            F[..., output].numpy(), abs=1e-4
        )


def test_a_further_reference_point_makes_every_gain_larger() -> None:
    own, x = processes(2), candidates()
    assert bool((gain_of(own, reference=-3.0)(x) > gain_of(own)(x)).all())


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
