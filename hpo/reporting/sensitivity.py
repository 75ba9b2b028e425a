"""What the fitted surrogate says: Sobol indices with their uncertainty, slices, and whether to believe it.

Indices are those of the posterior mean over the whole search space, every coordinate uniform and independent
(constraints are passed over), on the scale that the surrogate lives on: of a logarithm where it models one.
That the surrogate itself is not certain shows in the indices of draws from its posterior: each is fixed at a
few hundred points of the space and foretold from there.

References:
    [Saltelli2010] A. Saltelli et al. Variance based sensitivity analysis of model output. Computer Physics
        Communications 181, 2010.
    [Iwanaga2022] T. Iwanaga, W. Usher, J. Herman. Toward SALib 2.0. Socio-Environmental Systems Modelling 4,
        2022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from SALib.analyze import sobol as analysing
from SALib.sample import sobol as sampling
from torch import Tensor

from hpo.models.diagnostics import Bin, Diagnostics, calibration, diagnose, in_own_unit
from hpo.models.distances import Array
from hpo.models.gp import ObjectiveGP
from hpo.models.guard import guarded
from hpo.models.history import History
from hpo.models.posterior import Posterior
from hpo.models.reference_point import unreached
from hpo.models.surrogate import fit_surrogate
from hpo.objectives import Objective
from hpo.space.parameters import Choice
from hpo.space.space import Point, SearchSpace

_DRAWS = 32
_FIXED = 256  # points of the space at which a draw is fixed
_MOST_PRODUCTS = 40_000_000  # points of the indices times rows of the process, each some ten operations
_BASE = (256, 4096)  # least and most base points of the indices
_CHUNK = 2048
_SLICE_POINTS = 61
_Z = 1.959964


@dataclass(frozen=True)
class Indices:
    """Sobol indices of d parameters.

    Args:
        names: the parameters.
        first: d first-order indices: the share of the variance that each explains by itself.
        total: d total indices: the share that would be left if all others were known.
        first_range: d x 2, the central 95% over draws from the posterior; widened by the sampling error.
        total_range: d x 2, the same.
        log: whether they are of the objective's logarithm.
    """

    names: list[str]
    first: Array
    total: Array
    first_range: Array
    total_range: Array
    log: bool
    evaluations: int


@dataclass(frozen=True)
class Slice:
    """The posterior along one parameter, the others held: medians and the central 95% of the function."""

    values: list[object]
    middle: list[float]
    lower: list[float]
    upper: list[float]


@dataclass(frozen=True)
class Sensitivity:
    """See `hpo.reporting.analysis.Analysis`."""

    trust: Mapping[str, Diagnostics]
    calibration: Sequence[Bin]
    indices: Mapping[str, Indices]
    slices: Mapping[str, Mapping[str, Slice]]
    notes: Sequence[str]


def ask(history: History, anchor: Point | None) -> Sensitivity:
    """Everything about the surrogate of a study.

    Args:
        history: results of at least two configurations, at least one dimension.
        anchor: the point that slices go through; None: the middle of the space.

    Raises:
        FitError: no surrogate could be fitted.
    """
    through = anchor or history.space.near((0.5,) * len(history.space))
    with guarded():
        surrogate = fit_surrogate(history)
        trust = diagnose(history)
        indices = {name: indices_of(process, history.space) for name, process in surrogate.processes.items()}
        slices = {
            name: _slices(process, history.space, history.objectives[name], through)
            for name, process in surrogate.processes.items()
        }
    notes = [
        f"No result reaches the threshold of {name} ({history.objectives[name].threshold:g})."
        for name in unreached(surrogate, history.objectives)
    ]
    if len(surrogate.X) < len({own.point for own in history.observations}):
        kept, every = len(surrogate.X), len(history.observations)
        notes.append(
            f"The surrogate stands on {kept} of the {every} results: the better half by Pareto rank."
        )
    return Sensitivity(trust, calibration(history), indices, slices, notes)


def indices_of(process: ObjectiveGP, space: SearchSpace, seed: int = 0) -> Indices:
    """Sobol indices of one objective's posterior [Saltelli2010], by SALib [Iwanaga2022].

    Args:
        process: fitted.
        space: what was searched; at least one dimension.
        seed: of the points and the draws.
    """
    names, rows = list(space.dimensions), len(process.rows)
    problem = {"num_vars": len(names), "names": names, "bounds": [[0.0, 1.0]] * len(names)}
    base = _BASE[1]
    while base > _BASE[0] and base * (len(names) + 2) * (rows + _FIXED) > _MOST_PRODUCTS:
        base //= 2
    units: Array = sampling.sample(problem, base, calc_second_order=False, seed=seed)
    X = torch.from_numpy(_rounded(units, space))
    mean, draws = _mean_and_draws(process, space, X, seed)
    own = _analysed(problem, mean, seed)
    each = [_analysed(problem, column, seed, resamples=2) for column in draws.T]
    first, total = own["S1"], own["ST"]
    return Indices(
        names=names,
        first=first,
        total=total,
        first_range=_range([one["S1"] for one in each], first, own["S1_conf"]),
        total_range=_range([one["ST"] for one in each], total, own["ST_conf"]),
        log=process.transform.log,
        evaluations=len(X),
    )


def _rounded(units: Array, space: SearchSpace) -> Array:
    """Every coordinate in the middle of its cell, as proposals are."""
    if not space.conditions and all(own.levels is None for own in space.dimensions.values()):
        return units
    return np.array([space.round(row) for row in units.tolist()], dtype=np.float64)


def _analysed(
    problem: Mapping[str, object], values: Array, seed: int, resamples: int = 100
) -> dict[str, Array]:
    """S1, ST and their bootstrap half-widths; all 0 for values that do not vary."""
    d = len(problem["names"])  # type: ignore[arg-type]
    if float(values.std()) < 1e-9:
        return {name: np.zeros(d) for name in ("S1", "ST", "S1_conf", "ST_conf")}
    found: dict[str, Array] = analysing.analyze(
        problem, values, calc_second_order=False, num_resamples=resamples, seed=seed
    )
    return found


def _range(drawn: Sequence[Array], value: Array, sampling_error: Array) -> Array:
    low, high = np.percentile(np.stack(drawn), [2.5, 97.5], axis=0)
    ends = np.stack(
        [np.minimum(low, value) - sampling_error, np.maximum(high, value) + sampling_error], axis=1
    )
    clipped: Array = np.clip(ends, 0.0, 1.0)
    return clipped


def _mean_and_draws(process: ObjectiveGP, space: SearchSpace, X: Tensor, seed: int) -> tuple[Array, Array]:
    """The posterior mean (k) and draws (k x S) at X (k x d)."""
    posterior = Posterior(process)
    mean = torch.cat([posterior.mean(part)[:, 0] for part in torch.split(X, _CHUNK)])
    engine = torch.quasirandom.SobolEngine(X.shape[1], scramble=True, seed=seed)  # type: ignore[no-untyped-call]
    units = engine.draw(_FIXED, dtype=torch.float64)
    fixed = torch.from_numpy(np.unique(_rounded(units.numpy(), space), axis=0))
    middle, root = posterior.joint(fixed)
    generator = torch.Generator().manual_seed(seed)
    normals = torch.randn(len(fixed), _DRAWS, generator=generator, dtype=torch.float64)
    posterior.extend(fixed, middle + root @ normals)
    drawn = torch.cat([posterior.mean(part) for part in torch.split(X, _CHUNK)])
    return mean.numpy(), drawn.numpy()


def _slices(
    process: ObjectiveGP, space: SearchSpace, objective: Objective, through: Point
) -> dict[str, Slice]:
    posterior, transform = Posterior(process), process.transform
    found = {}
    for place, (name, own) in enumerate(space.dimensions.items()):
        discrete = own.levels is not None and own.levels <= _SLICE_POINTS
        along: list[float] = np.linspace(0.0, 1.0, _SLICE_POINTS).tolist()
        if discrete:
            along = [own.grid.unit(level) for level in range(own.levels or 0)]
        X = np.tile(np.array(through, dtype=np.float64), (len(along), 1))
        X[:, place] = along
        mean, deviation = posterior.posterior(torch.from_numpy(X))
        ends = [
            in_own_unit(transform, objective, (mean[:, 0] + z * deviation).numpy()) for z in (-_Z, 0.0, _Z)
        ]
        lower, upper = np.minimum(ends[0], ends[2]), np.maximum(ends[0], ends[2])
        values: list[object] = [own.from_unit(unit) for unit in along]
        values = [str(value) for value in values] if isinstance(own, Choice) else values
        found[name] = Slice(values, ends[1].tolist(), lower.tolist(), upper.tolist())
    return found
