"""What `Optimizer.model` hands out, in the hands of BoTorch."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from botorch.acquisition.multi_objective import qLogNoisyExpectedHypervolumeImprovement
from botorch.cross_validation import batch_cross_validation, gen_loo_cv_folds
from botorch.fit import fit_gpytorch_mll
from botorch.models import ModelListGP, SingleTaskGP
from botorch.optim import optimize_acqf
from gpytorch.mlls import ExactMarginalLogLikelihood

from hpo.errors import FitError
from hpo.models.guard import guarded
from hpo.optimizer import Optimizer
from hpo.records import Params


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with guarded():
        yield


def measured(params: Params) -> dict[str, float]:
    x, z = float(params["x"]), float(params["z"])
    return {"seconds": 10 ** (2 * x - z), "loss": (x - 0.3) ** 2 + z}


def optimizer(count: int = 12, names: tuple[str, ...] = ("seconds", "loss")) -> Optimizer:
    """The second of two objectives first in the alphabet, the first one skewed."""
    own = Optimizer({"x": "interval(0, 1)", "z": "interval(0, 1)"}, dict.fromkeys(names, "min"))
    for params in Optimizer(own.space, own.objectives, "sobol", seed=3).ask(count):
        own.tell(params, {name: measured(params)[name] for name in names})
    return own


def test_it_foretells_the_objectives_in_their_order_turned_so_that_more_is_better() -> None:
    own = optimizer(20)
    model = own.model()
    assert isinstance(model, ModelListGP)
    params = {"x": 0.4, "z": 0.5}
    means = model.posterior(torch.tensor([own.space.to_unit(params)]).double()).mean.flatten()
    assert [-float(mean) for mean in means] == pytest.approx(list(measured(params).values()), rel=0.05)


def test_one_objective_is_a_single_task_gp() -> None:
    assert isinstance(optimizer(names=("loss",)).model(), SingleTaskGP)


def test_botorch_searches_with_it() -> None:
    """The documented lines: qLogNEHVI and optimize_acqf; the least loss is at x = 0.3, z = 0."""
    own = optimizer()
    model: Any = own.model()
    X = model.models[0].train_inputs[0]
    gain = qLogNoisyExpectedHypervolumeImprovement(model, [-50.0, -1.0], X)
    bounds = torch.tensor([[0.0, 0.0], [1.0, 1.0]]).double()
    torch.manual_seed(0)
    few: dict[str, Any] = {"maxiter": 15}
    points, _ = optimize_acqf(gain, bounds, q=1, num_restarts=1, raw_samples=16, options=few)
    assert own.space.from_unit(tuple(points[0].tolist()))["z"] == pytest.approx(0, abs=0.1)


def test_botorch_leaves_rows_out_and_fits_again() -> None:
    loss: Any = optimizer(10, ("loss",)).model()
    X = loss.train_inputs[0]
    Y, _ = loss.outcome_transform.untransform(loss.train_targets.unsqueeze(-1))
    left_out: Any = batch_cross_validation(type(loss), ExactMarginalLogLikelihood, gen_loo_cv_folds(X, Y))
    error = (left_out.posterior.mean - left_out.observed_Y).square().mean()
    assert float(1 - error / Y.var()) > 0.8


def test_it_can_be_fitted_again_by_botorch_and_ends_where_it_was() -> None:
    """A second method: automatic differentiation, from the scales found."""
    model: Any = optimizer(names=("loss",)).model()
    before = model.covar_module.lengthscale.detach().clone()
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    assert model.covar_module.lengthscale.flatten().tolist() == pytest.approx(
        before.flatten().tolist(), rel=0.1
    )


def test_it_can_be_told_more() -> None:
    model: Any = optimizer(names=("loss",)).model()
    x = torch.tensor([[0.9, 0.9]]).double()
    model.posterior(x)
    told = model.condition_on_observations(x, torch.tensor([[-3.0]]).double())
    assert float(told.posterior(x).mean.detach()) == pytest.approx(-3.0, abs=0.05)


def test_what_is_done_to_it_changes_no_proposal() -> None:
    own, other = optimizer(), optimizer()
    model: Any = own.model()
    with torch.no_grad():
        model.models[0].covar_module.raw_lengthscale.fill_(math.log(9.0))
    assert own.ask() == other.ask()
    assert float(own.model().models[0].covar_module.lengthscale[0, 0]) != pytest.approx(9.0)  # type: ignore[union-attr,index]


def test_after_a_related_study_it_still_takes_points_of_this_space() -> None:
    own = optimizer(6)
    source = Optimizer(own.space, own.objectives, "sobol", seed=8).ask(12)
    own.learn_from([(params, {k: 2 * v for k, v in measured(params).items()}) for params in source])
    assert own.model().posterior(torch.full((3, 1, 2), 0.5).double()).mean.shape == (3, 1, 2)


def test_nothing_told_is_no_model() -> None:
    with pytest.raises(FitError, match="needs a result"):
        Optimizer({"x": "interval(0, 1)"}, {"a": "min"}).model()
