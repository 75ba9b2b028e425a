"""What strategies ask of the models: the next points, what to measure again, bounds of a value.

Everything here runs under `hpo.models.guard`, so that a failure of the numbers is a `FitError`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hpo.models.acquisition import Acquisition, is_noisy, make_acquisition
from hpo.models.acquisition_search import AcquisitionSearch
from hpo.models.feasibility import fit_feasibility
from hpo.models.feasibility_prior import prior_at_points
from hpo.models.gp import Array
from hpo.models.guard import guarded
from hpo.models.history import History, Origin, Proposal
from hpo.models.posterior import Draws, Posterior
from hpo.models.reference_point import References, infer_references
from hpo.models.surrogate import Surrogate, by_rank, fit_surrogate
from hpo.models.user_prior import user_prior
from hpo.pareto import front
from hpo.space.space import Point

_DRAWS = {1: 64, 2: 32, 3: 12}  # joint draws by the number of objectives; cells get dear with three and more
_DRAWS_BEYOND = 8
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
    """

    acquisition: str
    beta: float = 4.0


def model_points(history: History, count: int, settings: AcquisitionSettings) -> tuple[list[Point], str]:
    """The points of the largest acquisition value, each given those before it.

    Args:
        history: at least one observation, at least one dimension.
        count: how many are wanted.
        settings: what to look for.

    Returns:
        At most `count` rounded points that nobody proposed or told, and what is worth recording of the fit.

    Raises:
        FitError: no surrogate could be fitted.
    """
    with guarded():
        return _model_points(history, count, settings)


def _model_points(history: History, count: int, settings: AcquisitionSettings) -> tuple[list[Point], str]:
    surrogate = fit_surrogate(history)
    prior = history.feasibility_prior and prior_at_points(history.feasibility_prior, history.space)
    feasibility = fit_feasibility(history, prior)
    references = infer_references(surrogate, list(history.objectives.values()))
    acquisition = _acquisition(history, surrogate, references, count, settings)

    belief = user_prior(history)

    def score(X: Tensor) -> Tensor:
        value = acquisition(X)
        if feasibility is not None:
            value = value + feasibility.log_weight(X)
        return value if belief is None else value + belief(X)

    on_front = front([observation.values for observation in history.observations])
    anchors = [history.observations[index].point for index in on_front]
    taken, chosen = set(history.taken), list[Point]()
    for number in range(count):
        acquisition.set_reference_point(references.of_trial(history.asked + number))
        search = AcquisitionSearch(history.space, anchors, history.derived_seed("search", number))
        best = search.best(score, taken)[:1]
        if not best:
            break
        chosen += best
        taken.add(history.space.key(best[0]))
        if number + 1 < count:
            acquisition.add(torch.tensor(best, dtype=torch.float64))
    return chosen, surrogate.note


def _acquisition(
    history: History, surrogate: Surrogate, references: References, count: int, settings: AcquisitionSettings
) -> Acquisition:
    """The acquisition function, with the observed points that matter and the pending ones there."""
    there = promising(surrogate, history.derived_seed("promising"))
    observed = len(there)
    if history.pending:
        there = torch.cat([there, torch.tensor(history.pending, dtype=torch.float64)])
    normals = _normals(history, len(there) + count)
    if settings.acquisition == "ucb":
        normals = torch.zeros(1, len(there) + count, 1, dtype=torch.float64)
    elif not is_noisy(settings.acquisition):
        normals[:, :observed] = 0.0
    seed = history.derived_seed("weights")
    draws = Draws(surrogate, there, normals)
    return make_acquisition(settings.acquisition, draws, references.near, seed, settings.beta)


def promising(surrogate: Surrogate, seed: int) -> Tensor:
    """The observed points (b x d) that are on the front in some joint draw: only they bound a gain.

    Args:
        surrogate: fitted to n points; of many, those of the first Pareto ranks are looked at.
    """
    from botorch.utils.multi_objective.pareto import is_non_dominated

    X, m = torch.from_numpy(surrogate.X), len(surrogate.data)
    processes = [Posterior(surrogate, output) for output in range(m)]
    if len(X) > _MOST_PROMISING:
        means = np.column_stack([process.mean(X)[:, 0].numpy() for process in processes])
        X = X[sorted(by_rank([tuple(row) for row in (-means).tolist()], _MOST_PROMISING))]
    generator = torch.Generator().manual_seed(seed)
    draws = []
    for process in processes:
        mean, root = process.joint(X)
        normals = torch.randn(len(X), _PRUNING_DRAWS, generator=generator, dtype=torch.float64)
        draws.append((mean + root @ normals).T)
    on_front = is_non_dominated(torch.stack(draws, -1)).any(0)  # S x n to n; draws are finite
    return X[on_front]


def _normals(history: History, points: int) -> Tensor:
    """Standard normal draws, S x points x m, quasi-random where the library's dimensions allow."""
    from botorch.utils.sampling import draw_sobol_normal_samples

    m = len(history.objectives)
    draws, seed = _DRAWS.get(m, _DRAWS_BEYOND), history.derived_seed("draws")
    draws = min(draws, max(_FEWEST_DRAWS, _MOST_DRAWN // points))
    flat = draw_sobol_normal_samples(points * m, draws, seed=seed, dtype=torch.float64)
    return flat.reshape(draws, points, m)


def replicates(history: History, count: int, most: int) -> list[Proposal]:
    """Front points to be measured again, with other seeds, as noise decides whether they are on the front.

    Args:
        history: at least two observations, at least one dimension.
        count: how many proposals are wanted in all.
        most: measurements that one configuration may get; 1 for never a second.

    Returns:
        The least certain of the believed front first; often none.

    Raises:
        FitError: no surrogate could be fitted.
    """
    slots = sum((history.asked + offset) % _EVERY == _EVERY - 1 for offset in range(count))
    if most < 2 or not slots:
        return []
    with guarded():
        return _undecided(history, most)[:slots]


def _undecided(history: History, most: int) -> list[Proposal]:
    """Every configuration of the believed front that noise leaves undecided, the least certain first."""
    surrogate = fit_surrogate(history)
    pairs = zip(surrogate.data, surrogate.processes, strict=True)
    if not any(rows.noise.any() or process.tau2 > _LEARNED for rows, process in pairs):
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
    for output, transform in enumerate(surrogate.transforms):
        mean, deviation = Posterior(surrogate, output).posterior(torch.from_numpy(surrogate.X))
        low, high = (transform.to_gain(mean[:, 0] + sign * deviation) for sign in (-1, 1))
        means.append(transform.to_gain(mean[:, 0]).numpy())
        deviations.append((high - low).numpy() / 2)
    return np.column_stack(means), np.column_stack(deviations)


def confidence_bounds(history: History) -> Callable[[Point, float], tuple[float, float]]:
    """Bounds of the one objective of a study, in its own unit turned so that more is better.

    Args:
        history: at least two observations, at least one dimension.

    Returns:
        (point of the unit cube, width) -> mean - width deviation, mean + width deviation. It may raise what
        this function raises.

    Raises:
        FitError: no surrogate could be fitted.
    """
    with guarded():
        surrogate = fit_surrogate(history)
        posterior = Posterior(surrogate, 0)
    transform = surrogate.transforms[0]

    def bounds(point: Point, width: float) -> tuple[float, float]:
        with guarded():
            mean, deviation = posterior.posterior(torch.tensor([point], dtype=torch.float64))
        ends = mean[:, 0] + width * torch.stack([-deviation[0], deviation[0]])
        lower, upper = (transform.to_gain(ends) * transform.unit + transform.level).tolist()
        return lower, upper

    return bounds
