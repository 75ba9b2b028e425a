"""The acquisition functions that can be chosen: by hand, by simulation, beside BoTorch and end to end."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from botorch import acquisition as botorch_acquisition
from botorch.acquisition import multi_objective
from botorch.acquisition.multi_objective.parego import qLogNParEGO
from botorch.models import ModelListGP
from botorch.optim import optimize_acqf
from processes import process
from tiers import quick
from torch import Tensor
from torch.utils import cpp_extension

from hpo.errors import InputError
from hpo.models.acquisition import Task, Weighted, in_model_units, make_acquisition
from hpo.models.gp import ObjectiveGP
from hpo.models.guard import guarded
from hpo.models.lognehvi import LogNoisyExpectedHypervolumeImprovement, LogRayHypervolumeImprovement
from hpo.models.transforms import make_transform
from hpo.optimizer import Optimizer, Origin
from hpo.pareto import hypervolume
from hpo.records import Params
from hpo.strategies.bo import ONE, SEVERAL

X = np.array([[0.1, 0.2], [0.4, 0.9], [0.6, 0.3], [0.9, 0.7], [0.25, 0.55]])
Y = np.array([[0.0, 1.0], [0.7, 0.3], [0.5, 0.6], [1.0, -0.2], [-0.5, -0.5]])
SPACE = {"x": "interval(0, 1)", "y": "interval(0, 1)"}
CLASSES = {
    "lognehvi": LogNoisyExpectedHypervolumeImprovement,
    "lognei": LogNoisyExpectedHypervolumeImprovement,
    "qlognehvi": multi_objective.qLogNoisyExpectedHypervolumeImprovement,
    "qlogehvi": multi_objective.qLogExpectedHypervolumeImprovement,
    "qnehvi": multi_objective.qNoisyExpectedHypervolumeImprovement,
    "qehvi": multi_objective.qExpectedHypervolumeImprovement,
    "qlognparego": qLogNParEGO,
    "qlognei": botorch_acquisition.qLogNoisyExpectedImprovement,
    "qlogei": botorch_acquisition.qLogExpectedImprovement,
    "qucb": botorch_acquisition.qUpperConfidenceBound,
    "ucb": botorch_acquisition.qUpperConfidenceBound,
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with guarded():
        yield


def processes(m: int, tau2: float = 1e-6) -> list[ObjectiveGP]:
    """Five points of two dimensions; noise variance `tau2`."""
    return [process(X, column.tolist(), [0.4, 0.6], 1.1, tau2, 0.1) for column in Y.T[:m]]


def task(m: int, tau2: float = 1e-6, pending: Tensor | None = None) -> Task:
    there = torch.from_numpy(X)
    reference = torch.full((m,), -0.8, dtype=torch.float64)
    return Task(processes(m, tau2), there, there, reference, draws=128, seed=3, beta=9.0, pending=pending)


def objectives_of(kind: str) -> int:
    return 1 if kind in ONE else 2


def candidates(k: int = 6) -> Tensor:
    return torch.tensor(np.random.default_rng(3).random((k, 1, 2)))


@pytest.mark.parametrize("kind", [*ONE, *SEVERAL])
def test_a_name_of_botorch_is_botorchs_class(kind: str) -> None:
    assert type(make_acquisition(kind, task(objectives_of(kind)))) is CLASSES[kind]


@pytest.mark.parametrize("kind", ["qlognehvi", "qlogehvi"])
def test_nothing_is_compiled_on_a_login_node(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No compiler is asked for a kernel, and none that an earlier process had made is loaded."""
    monkeypatch.setattr(cpp_extension, "load", lambda **_: pytest.fail("a compiler was asked"))
    make_acquisition(kind, task(objectives_of(kind)))
    assert multi_objective.logei._C is None


@pytest.mark.parametrize(("ours", "theirs"), [("lognehvi", "qlognehvi"), ("lognei", "qlognei")])
@pytest.mark.parametrize(
    "pending", [None, torch.tensor([[0.5, 0.5], [0.8, 0.1]]).double()], ids=["", "pending"]
)
def test_the_closed_form_ranks_points_as_botorchs_sampling_does(
    ours: str, theirs: str, pending: Tensor | None
) -> None:
    """With pending points BoTorch counts their gain too, so the two differ by a constant."""
    x = candidates(40)
    own = make_acquisition(ours, task(objectives_of(ours), 0.05, pending))(x)
    other = make_acquisition(theirs, task(objectives_of(ours), 0.05, pending))(x)
    assert float(np.corrcoef(own.exp(), other.exp())[0, 1]) > 0.97


@pytest.mark.parametrize(
    "pending", [None, torch.tensor([[0.5, 0.5], [0.8, 0.1]]).double()], ids=["", "pending"]
)
def test_random_directions_rank_points_as_the_closed_form_does(pending: Tensor | None) -> None:
    """A hypervolume is a mean over directions: with two objectives the cells are the second method."""
    x, given = candidates(40), task(2, 0.05, pending)
    along = LogRayHypervolumeImprovement(
        ModelListGP(*given.processes), given.reference, given.there, 128, 3, pending, rays=128
    )(x)
    cells = make_acquisition("lognehvi", given)(x)
    assert float(np.corrcoef(along.exp(), cells.exp())[0, 1]) > 0.97


def test_an_upper_confidence_bound_by_hand() -> None:
    """Beta 9: the mean and three standard deviations, of 128 quasi-random draws."""
    x = candidates()
    posterior: Any = processes(1)[0].posterior(x)
    expected = posterior.mean.flatten() + 3 * posterior.variance.sqrt().flatten()
    assert make_acquisition("qucb", task(1))(x).tolist() == pytest.approx(expected.tolist(), abs=0.05)


def test_gains_are_those_of_the_own_unit_whatever_is_modelled() -> None:
    """One process of logarithms: BoTorch's improvement in the gain's unit, against simulated values."""
    values = np.array([0.5, 0.8, 1.3, 2.0, 9.0])
    transform = make_transform(values, log=True)
    modelled: Any = transform(torch.from_numpy(values))[0]
    own = process(X, modelled.tolist(), [0.4, 0.6], 1.1, 1e-6, 0.1, transform)
    there, x = torch.from_numpy(X), candidates(1)
    given = Task([own], there, there, torch.zeros(1).double(), 128, 0, 4.0, None)
    found = make_acquisition("qlogei", given)(x).exp()
    posterior: Any = in_model_units(own).posterior(x)
    z = torch.from_numpy(np.random.default_rng(0).standard_normal(100_000))
    drawn = transform.to_gain(posterior.mean.flatten() + posterior.variance.sqrt().flatten() * z)
    expected = (drawn - transform.gained(values).max()).clamp_min(0).mean()
    assert float(found) == pytest.approx(float(expected), rel=0.2)


@pytest.mark.parametrize("kind", [*ONE, *SEVERAL])
def test_every_worth_has_a_gradient(kind: str) -> None:
    x = candidates().requires_grad_(True)
    value = make_acquisition(kind, task(objectives_of(kind)))(x)
    (slope,) = torch.autograd.grad(value.sum(), x)
    assert value.shape == (6,)
    assert bool(torch.isfinite(slope).all())
    assert float(slope.abs().max()) > 0


class Half(torch.nn.Module):
    """Everything has half the weight."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.full((len(x),), 0.5, dtype=x.dtype).log()


@pytest.mark.parametrize(("kind", "logarithm"), [("lognehvi", True), ("qehvi", False)])
def test_a_weight_is_a_factor_of_the_gain(kind: str, logarithm: bool) -> None:
    plain, x = make_acquisition(kind, task(2)), candidates()
    expected = plain(x).exp() / 2 if logarithm else plain(x) / 2
    weighted = Weighted(kind, plain, [Half()])
    found = weighted(x)
    assert (found.exp() if logarithm else found).tolist() == pytest.approx(expected.tolist())
    assert weighted(x[0]).tolist() == pytest.approx(found[:1].tolist())  # q x d, as BoTorch's own take it


def test_the_closed_form_is_optimised_by_botorch() -> None:
    """`optimize_acqf` one point after another, as it sets pending points itself."""
    own = make_acquisition("lognehvi", task(2))
    bounds = torch.tensor([[0.0, 0.0], [1.0, 1.0]]).double()
    torch.manual_seed(0)
    result: Any = optimize_acqf(own, bounds, q=2, num_restarts=2, raw_samples=32, sequential=True)
    found, values = result
    assert found.shape == (2, 2)
    assert float((found[0] - found[1]).abs().max()) > 0.01
    assert float(values[0]) > float(make_acquisition("lognehvi", task(2))(candidates()).max()) - 1e-6


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


@pytest.mark.parametrize("kind", quick(ONE, ["ucb"]))
def test_each_acquisition_of_one_objective_beats_sobol(kind: str) -> None:
    found, optimizer = tuned(("a",), "bo", acquisition=kind, initial=8)
    assert min(found)[0] < 0.2 * min(tuned(("a",), "sobol")[0])[0]
    assert_a_batch_of_the_model(optimizer)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SEVERAL)
def test_each_acquisition_of_two_objectives_beats_sobol(kind: str) -> None:
    found, optimizer = tuned(("a", "b"), "bo", acquisition=kind, initial=8)
    assert hypervolume(found, (0.3, 0.3)) > hypervolume(tuned(("a", "b"), "sobol")[0], (0.3, 0.3))
    assert_a_batch_of_the_model(optimizer)


def assert_a_batch_of_the_model(optimizer: Optimizer) -> None:
    """Of 16 trials no two were alike, nor are the five that come next."""
    assert len(optimizer.history.taken) == 16
    batch = optimizer.propose(5)
    points = {optimizer.space.key(optimizer.space.to_unit(proposal.params)) for proposal in batch}
    assert {proposal.origin for proposal in batch} == {Origin.MODEL}
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
