"""The search for the largest value of an acquisition function over a mixed space.

Every point that decides is a rounded one. Good rounded candidates start a few gradient ascents in the
continuous coordinates and in those of numbers with many levels; the ends are rounded, and a local search
over neighbouring levels and other choices follows; the continuous coordinates are polished once more at last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from hpo.models.distances import Array
from hpo.models.history import derive_seed
from hpo.space.sampling import sobol_points
from hpo.space.space import Choice, Point, SearchSpace

Score = Callable[[Tensor], Tensor]  # k x d points to k values, more is better, differentiable

_CANDIDATES = 192  # space-filling ones
_EDGES = 96  # on faces, edges and corners, where a gain often is largest and space-filling points never are
_MUTANTS = 96  # near the points of the front
_STARTS = 4
_ASCENT_STEPS = 25
_ENOUGH = 1e-5  # relative rise of the sum of log gains below which an ascent ends
_LOCAL_ROUNDS = 12
_FEWEST_ALLOWED = 64
_SMOOTH_LEVELS = 7  # from so many levels on, a number is moved by gradients first


class AcquisitionSearch:
    """Searches one space.

    Args:
        space: with at least one dimension.
        anchors: points worth searching around, such as the observed front.
    """

    def __init__(self, space: SearchSpace, anchors: Sequence[Point], seed: int) -> None:
        self._space = space
        self._anchors = np.array(list(anchors), dtype=np.float64).reshape(len(anchors), len(space))
        self._seed = seed
        self._dimensions = list(space.dimensions.values())
        self._levels = [
            None if each.levels is None else np.array([each.grid.unit(index) for index in range(each.levels)])
            for each in self._dimensions
        ]
        self._continuous = np.array([levels is None for levels in self._levels])
        self._smooth = np.array(
            [
                levels is None or (not isinstance(dimension, Choice) and len(levels) >= _SMOOTH_LEVELS)
                for dimension, levels in zip(self._dimensions, self._levels, strict=True)
            ]
        )

    def best(self, score: Score, taken: Set[Point]) -> list[Point]:
        """Rounded points of large score that are not taken, the best first; none if none was met.

        Args:
            score: what to maximise.
            taken: keys (see `SearchSpace.key`) of points that must not be returned.
        """
        candidates = self._candidates()
        values = _evaluate(score, candidates)
        starts = candidates[np.argsort(-values, kind="stable")[:_STARTS]]
        ends = self._moved_to_allowed(self.rounded(self._ascend(score, starts, self._smooth)))
        ends = self._local_search(score, np.concatenate([starts, ends]))
        if self._continuous.any() and not self._continuous.all():
            polished = self._ascend(score, ends[:2], self._continuous)
            ends = np.concatenate([ends, self._moved_to_allowed(polished)])
        pool = np.concatenate([ends, candidates])
        order = np.argsort(-np.concatenate([_evaluate(score, ends), values]), kind="stable")
        points = (tuple(row) for row in pool[order].tolist())
        return [point for point in points if self._space.key(point) not in taken]

    def peak(self, score: Score, points: Sequence[Point] = ()) -> float:
        """The largest value among these points and the candidates: a lower bound of the largest of all."""
        X = self._candidates()
        if points:
            X = np.concatenate([X, np.array(points, dtype=np.float64)])
        return float(_evaluate(score, X).max())

    def rounded(self, X: Array) -> Array:
        """k x d points with every coordinate in the middle of its cell."""
        X = X.clip(0.0, 1.0)
        for column, levels in enumerate(self._levels):
            if levels is not None:
                grid = self._dimensions[column].grid
                X[:, column] = [levels[grid.index(unit)] for unit in X[:, column].tolist()]
        return X

    def _moved_to_allowed(self, X: Array) -> Array:
        """Rounded rows moved to the nearest that the space's conditions and constraints allow."""
        if self._space.plain:
            return X
        return np.array([self._space.near(tuple(row)) for row in X.tolist()])

    def _allowed(self, X: Array) -> Array:
        """The rounded rows that are allowed; where these are few, others are moved to allowed points."""
        if self._space.plain:
            return X
        rows = [self._space.round(tuple(row)) for row in X.tolist()]
        allowed = self._space.allowed(rows)
        kept = [row for row, fine in zip(rows, allowed, strict=True) if fine]
        others = [row for row, fine in zip(rows, allowed, strict=True) if not fine]
        kept += [self._space.near(row) for row in others[: max(0, _FEWEST_ALLOWED - len(kept))]]
        return np.array(kept)

    def _candidates(self) -> Array:
        """Rounded allowed rows: some spread over the space, some on its edges, some near the anchors."""
        d, rng = len(self._space), np.random.default_rng(self._seed)
        sobol = sobol_points(d, derive_seed(self._seed, "candidates"), 0)
        spread = np.array([next(sobol) for _ in range(_CANDIDATES + _EDGES)])
        if self._smooth.any():
            edges = spread[_CANDIDATES:]  # a view
            at_end = self._smooth & (rng.random(edges.shape) < 0.5)
            edges[at_end] = edges[at_end].round()
        if not len(self._anchors):
            return self._allowed(self.rounded(spread))
        near = self._anchors[rng.integers(len(self._anchors), size=_MUTANTS)].copy()
        width = np.exp(rng.uniform(np.log(0.01), np.log(0.3), size=(_MUTANTS, 1)))
        moved = rng.random((_MUTANTS, d)) < max(2.0 / d, 0.3)
        near = np.where(moved, near + width * rng.standard_normal((_MUTANTS, d)), near)
        return self._allowed(self.rounded(np.concatenate([spread, near])))

    def _ascend(self, score: Score, X: Array, free: Array) -> Array:
        """L-BFGS-B from every row at once in the free coordinates."""
        if not free.any():
            return X
        columns = np.flatnonzero(free)
        shape = (len(X), len(columns))

        def negative(flat: Array) -> tuple[float, Array]:
            moved = torch.from_numpy(X.copy())
            moved[:, columns] = torch.from_numpy(flat.reshape(shape))
            moved.requires_grad_(True)
            total = -score(moved).sum()
            (slope,) = torch.autograd.grad(total, moved)
            return float(total.detach()), slope[:, columns].numpy().ravel()

        bounds = [(0.0, 1.0)] * (shape[0] * shape[1])
        start = X[:, columns].ravel()
        options = {"maxiter": _ASCENT_STEPS, "maxfun": 2 * _ASCENT_STEPS, "ftol": _ENOUGH}
        result = minimize(negative, start, method="L-BFGS-B", jac=True, bounds=bounds, options=options)
        ends = X.copy()
        ends[:, columns] = result.x.reshape(shape)
        return ends

    def _local_search(self, score: Score, X: Array) -> Array:
        """Move every row to its best neighbour until none is better; the rows, best first."""
        values = _evaluate(score, X)
        keep = np.argsort(-values, kind="stable")[:_STARTS]
        X, values = X[keep], values[keep]
        if self._continuous.all():
            return X
        active = np.ones(len(X), dtype=bool)
        for _ in range(_LOCAL_ROUNDS):
            blocks = [self._neighbours(row) if on else row[None] for row, on in zip(X, active, strict=True)]
            ends = np.cumsum([len(block) for block in blocks])
            scores = np.split(_evaluate(score, np.concatenate(blocks)), ends[:-1])
            for index, (block, worth) in enumerate(zip(blocks, scores, strict=True)):
                top = int(worth.argmax())
                active[index] &= bool(worth[top] > values[index])
                if active[index]:
                    X[index], values[index] = block[top], worth[top]
            if not active.any():
                break
        return X[np.argsort(-values, kind="stable")]

    def _neighbours(self, row: Array) -> Array:
        """The row with one discrete coordinate changed: next levels of a number, any other choice."""
        rows = [row]
        for column, levels in enumerate(self._levels):
            if levels is None:
                continue
            at = int(np.abs(levels - row[column]).argmin())
            ordered = not isinstance(self._dimensions[column], Choice) or len(levels) > 16
            steps = (at - 2, at - 1, at + 1, at + 2) if ordered else range(len(levels))
            for index in steps:
                if 0 <= index < len(levels) and index != at:
                    changed = row.copy()
                    changed[column] = levels[index]
                    rows.append(changed)
        if self._space.plain:
            return np.array(rows)
        # a change may switch another parameter off
        moved = [self._space.round(tuple(changed.tolist())) for changed in rows[1:]]
        kept = [point for point, fine in zip(moved, self._space.allowed(moved), strict=True) if fine]
        return np.array([row, *kept])


def _evaluate(score: Score, X: Array) -> Array:
    with torch.no_grad():
        values = score(torch.from_numpy(np.ascontiguousarray(X))).numpy()
    return np.where(np.isnan(values), -np.inf, values)
