"""From a history to the model's next points: fit, build the acquisition function, search."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from hpo.acquisition import Gain, Process
from hpo.feasibility import fit_feasibility
from hpo.gp import FitError
from hpo.history import History
from hpo.pareto import front
from hpo.search import MixedSearch
from hpo.space import Point
from hpo.surrogate import Surrogate, fit_surrogate

_DRAWS = {1: 64, 2: 32, 3: 12}  # joint draws by the number of objectives; cells get dear with three and more
_DRAWS_BEYOND = 8
_PRUNING_DRAWS = 64
# Every fourth trial counts the ends of the front for more. Normalised hypervolume after 50 trials, never,
# every fourth, every second: ZDT1 0.946, 0.987, 0.989; DTLZ2 0.821, 0.803, 0.640.
_FAR_EVERY = 4


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch and the BLAS of NumPy and SciPy to one thread each.

    Small factorisations on contended cores are a thousand times slower with two; even idle ones took 2.7
    times the CPU seconds of one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def model_points(history: History, count: int) -> tuple[list[Point], str]:
    """The points of the largest expected gain, each given those before it.

    Args:
        history: at least one observation, at least one dimension.
        count: how many are wanted.

    Returns:
        At most `count` rounded points that nobody proposed or told, and what is worth recording of the fit.

    Raises:
        FitError: no surrogate could be fitted.
    """
    with one_thread():
        try:
            return _model_points(history, count)
        except LinAlgError as error:
            raise FitError(f"a covariance matrix could not be factorised: {error}") from error


def _model_points(history: History, count: int) -> tuple[list[Point], str]:
    surrogate = fit_surrogate(history)
    feasibility = fit_feasibility(history)
    there = promising(surrogate, history.derived_seed("promising"))
    if history.pending:
        there = torch.cat([there, torch.tensor(history.pending, dtype=torch.float64)])
    gain = Gain(surrogate, there, _normals(history, len(there) + count))

    def score(X: Tensor) -> Tensor:
        value = gain(X)
        return value if feasibility is None else value + feasibility.log_weight(X)

    best = front([own.values for own in history.observations])
    anchors = [history.observations[index].point for index in best]
    taken, chosen = set(history.taken), list[Point]()
    for number in range(count):
        far = (history.asked + number) % _FAR_EVERY == _FAR_EVERY - 1
        gain.refer(surrogate.far_reference if far else surrogate.reference)
        found = MixedSearch(history.space, anchors, history.derived_seed("search", number)).best(score, taken)
        if not found:
            break
        chosen.append(found[0])
        taken.add(history.space.key(found[0]))
        if number + 1 < count:
            gain.add(torch.tensor(found[:1], dtype=torch.float64))
    return chosen, surrogate.note


def promising(surrogate: Surrogate, seed: int) -> Tensor:
    """The observed points (b x d) that are on the front in some joint draw: only they bound a gain.

    Args:
        surrogate: fitted to n points.
        seed: of the draws.
    """
    from botorch.utils.multi_objective.pareto import is_non_dominated

    X, m = torch.from_numpy(surrogate.data[0].X), len(surrogate.data)
    generator = torch.Generator().manual_seed(seed)
    draws = []
    for output in range(m):
        mean, root = Process(surrogate, output).joint(X)
        normals = torch.randn(len(X), _PRUNING_DRAWS, generator=generator, dtype=torch.float64)
        draws.append((mean + root @ normals).T)
    on_front = is_non_dominated(torch.stack(draws, -1)).any(0)  # S x n to n; draws are finite
    return X[on_front]


def _normals(history: History, points: int) -> Tensor:
    """Standard normal draws, S x points x m, quasi-random where the library's dimensions allow."""
    from botorch.utils.sampling import draw_sobol_normal_samples

    m = len(history.objectives)
    draws, seed = _DRAWS.get(m, _DRAWS_BEYOND), history.derived_seed("draws")
    flat = draw_sobol_normal_samples(points * m, draws, seed=seed, dtype=torch.float64)
    return flat.reshape(draws, points, m)
