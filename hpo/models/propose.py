"""What strategies ask of the models: the next points, what to measure again, bounds of a value.

Everything here runs under `hpo.models.guard`, so that a failure of the numbers is a `FitError`.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from botorch.models import ModelListGP
from torch import Tensor

from hpo.errors import FitError
from hpo.models.acquisition import Task, Weighted, make_acquisition
from hpo.models.acquisition_search import AcquisitionSearch
from hpo.models.distances import Array
from hpo.models.early.cost import cost_weight
from hpo.models.feasibility import fit_feasibility
from hpo.models.feasibility_prior import prior_at_points
from hpo.models.gp import Model
from hpo.models.guard import guarded
from hpo.models.history import History, Origin, Proposal
from hpo.models.lognehvi import joint_draws
from hpo.models.posterior import Posterior
from hpo.models.reference_point import infer_references, unreached
from hpo.models.surrogate import Surrogate, by_rank, fit_surrogate
from hpo.models.user_prior import user_prior
from hpo.pareto import front
from hpo.space.space import Point

# joint draws by the number of objectives; cells get dear with three and four, and beyond there are none
_DRAWS = {1: 64, 2: 32, 3: 12, 4: 8}
_DRAWS_BEYOND = 32
# Draws times the points there: a long front is well known and has many cells, so fewer draws of it will do.
_MOST_DRAWN = 640
_FEWEST_DRAWS = 8
_PRUNING_DRAWS = 64
_MOST_PROMISING = 100  # rows by Pareto rank that are looked at for the front of a draw
_EVERY = 4  # one trial in four at most is a replicate
_DECIDES = 0.02  # of the front's range: a posterior standard deviation above it is worth a trial
_LEARNED = 1e-4  # of a learned noise variance, ten times the prior's median: less is no evidence of noise


@dataclass(frozen=True)
class AcquisitionSettings:
    """What is looked for.

    Args:
        acquisition: a name of `hpo.models.acquisition`.
        beta: of an upper confidence bound: how many variances count.
        per_gpu_second: whether to divide by the GPU-seconds that are foretold of a point.
    """

    acquisition: str
    beta: float = 4.0
    per_gpu_second: bool = False


class ModelPoints:
    """The points of the largest acquisition value, each given those before it.

    Args:
        history: at least one observation, at least one dimension.
        settings: what to look for.

    Raises:
        FitError: no surrogate could be fitted.
    """

    def __init__(self, history: History, settings: AcquisitionSettings) -> None:
        self._settings = settings
        with guarded():
            self._surrogate = fit_surrogate(history)
            self._references = infer_references(self._surrogate, list(history.objectives.values()))
            prior = history.feasibility_prior and prior_at_points(history.feasibility_prior, history.space)
            feasibility = fit_feasibility(history, prior)
        cost, undivided = cost_weight(history) if settings.per_gpu_second else (None, "")
        weights = (feasibility, user_prior(history), cost)
        self._weights = [weight for weight in weights if weight is not None]
        on_front = front([observation.values for observation in history.observations])
        self._anchors = [history.observations[index].point for index in on_front]
        far = unreached(self._surrogate, history.objectives)
        beyond = f"no result reaches the threshold of {', '.join(far)}" if far else ""
        self.note = "; ".join(filter(None, (self._surrogate.note, beyond, undivided)))

    def next(self, history: History) -> Point | None:
        """The rounded point that nobody proposed or told, for the next trial.

        Args:
            history: with the same results as at first, and what has been proposed since among the pending.

        Returns:
            None where there is none.

        Raises:
            FitError: the numbers failed.
        """
        with guarded():
            acquisition = self._acquisition(history)
            search = AcquisitionSearch(history.space, self._anchors, history.derived_seed("search"))
            best = search.best(lambda X: acquisition(X.unsqueeze(-2)), history.taken)
        return best[0] if best else None

    def _acquisition(self, history: History) -> Weighted:
        """The acquisition function, with the observed points that matter and the pending ones there."""
        there = promising(self._surrogate, history.derived_seed("promising"))
        processes = list(self._surrogate.processes.values())
        pending = torch.tensor(history.pending, dtype=torch.float64) if history.pending else None
        task = Task(
            processes=processes,
            there=there,
            observed=torch.from_numpy(self._surrogate.X),
            reference=torch.from_numpy(self._references.of_trial(history.asked)),
            draws=_count_of_draws(len(processes), len(there) + len(history.pending)),
            seed=history.derived_seed("draws"),
            beta=self._settings.beta,
            pending=pending,
        )
        kind = self._settings.acquisition
        return Weighted(kind, make_acquisition(kind, task), self._weights)


def promising(surrogate: Surrogate, seed: int) -> Tensor:
    """The observed points (b x d) that are on the front in some joint draw: only they bound a gain.

    Args:
        surrogate: fitted to n points; of many, those of the first Pareto ranks are looked at.
    """
    from botorch.utils.multi_objective.pareto import is_non_dominated

    X, processes = torch.from_numpy(surrogate.X), list(surrogate.processes.values())
    if len(X) > _MOST_PROMISING:
        means = np.column_stack([Posterior(process).mean(X)[:, 0].numpy() for process in processes])
        X = X[sorted(by_rank([tuple(row) for row in (-means).tolist()], _MOST_PROMISING))]
    generator = torch.Generator().manual_seed(seed)
    shape = (_PRUNING_DRAWS, len(X), len(processes))
    normals = torch.randn(shape, generator=generator, dtype=torch.float64)
    _, F = joint_draws(processes, X, normals)
    on_front = is_non_dominated(F).any(0)  # S x n to n; draws are finite
    return X[on_front]


def _count_of_draws(m: int, points: int) -> int:
    return min(_DRAWS.get(m, _DRAWS_BEYOND), max(_FEWEST_DRAWS, _MOST_DRAWN // points))


def replicate(history: History, most: int) -> Proposal | None:
    """A front point to be measured again, with another seed, where noise decides whether it is on the front.

    Args:
        history: at least two observations, at least one dimension.
        most: measurements that one configuration may get; 1 for never a second.

    Returns:
        The least certain of the believed front; often none, as one trial in `_EVERY` at most is a replicate.

    Raises:
        FitError: no surrogate could be fitted.
    """
    if most < 2 or history.asked % _EVERY != _EVERY - 1:
        return None
    with guarded():
        return next(iter(_undecided(history, most)), None)


def _undecided(history: History, most: int) -> list[Proposal]:
    """Every configuration of the believed front that noise leaves undecided, the least certain first."""
    surrogate = fit_surrogate(history)
    noises = [process.likelihood for process in surrogate.processes.values()]
    if not any(bool(own.told.any()) or float(own.noise) > _LEARNED for own in noises):
        return []
    U, S = _gains_and_deviations(surrogate)
    best = front((-U).tolist())
    span = np.ptp(U[best], axis=0) if len(best) > 1 else np.ptp(U, axis=0)
    unsure = (S / np.where(span > 0, span, 1.0)).max(1)
    measured = [*(observation.point for observation in history.observations), *history.pending]
    again = []
    for index in sorted(best, key=lambda index: -unsure[index]):
        point = tuple(surrogate.X[index].tolist())
        if unsure[index] > _DECIDES and measured.count(point) < most:
            again.append(Proposal(history.space.from_unit(point), Origin.REPLICATE, "noise decides"))
    return again


def _gains_and_deviations(surrogate: Surrogate) -> tuple[Array, Array]:
    """Posterior means and standard deviations of the observed points in the gains' units, n x m each."""
    means, deviations = [], []
    for process in surrogate.processes.values():
        transform = process.transform
        mean, deviation = Posterior(process).posterior(torch.from_numpy(surrogate.X))
        low, high = (transform.to_gain(mean[:, 0] + sign * deviation) for sign in (-1, 1))
        means.append(transform.to_gain(mean[:, 0]).numpy())
        deviations.append((high - low).numpy() / 2)
    return np.column_stack(means), np.column_stack(deviations)


def fitted_model(history: History, names: list[str]) -> Model:
    """A copy of the processes in this order of the objectives, for any use of BoTorch.

    Raises:
        FitError: no results, a space of one point, or values that no process could be fitted to.
    """
    if not history.observations or not len(history.space):
        raise FitError("a model needs a result and a parameter that varies")
    with guarded():
        processes = fit_surrogate(history).processes
        # without what BoTorch has cached, which cannot always be copied
        copies = [deepcopy(processes[name].train().eval()).requires_grad_(True) for name in names]
    return copies[0] if len(copies) == 1 else ModelListGP(*copies)


def confidence_bounds(history: History) -> Callable[[Point, float], tuple[float, float]]:
    """Bounds of the one objective of a study, in its own unit turned so that more is better.

    Args:
        history: at least two observations, at least one dimension.

    Returns:
        (point of the unit cube, width) -> mean - width deviation, mean + width deviation. It is asked
        thousands of times, so whoever asks is under the guard already; a point asked again costs nothing.

    Raises:
        FitError: no surrogate could be fitted.
    """
    with guarded():
        [process] = fit_surrogate(history).processes.values()
        posterior = Posterior(process)

    @cache
    def normal(point: Point) -> tuple[Tensor, Tensor]:
        mean, deviation = posterior.posterior(torch.tensor([point], dtype=torch.float64))
        return mean[:, 0], deviation

    def bounds(point: Point, width: float) -> tuple[float, float]:
        mean, deviation = normal(point)
        ends = mean + width * torch.cat([-deviation, deviation])
        lower, upper = process.transform.untransform(ends)[0].tolist()
        return lower, upper

    return bounds
