"""A second opinion that shares nothing with the surrogate: permutation importance in a random forest.

What a forest loses in R2 on results that it has not seen, when one parameter's values are shuffled among
them, is twice the parameter's total Sobol index where the forest foretells well [Gregorutti2017]; so half of
the loss can be set beside the surrogate's.

References:
    [Gregorutti2017] B. Gregorutti, B. Michel, P. Saint-Pierre. Correlation and variable importance in random
        forests. Statistics and Computing 27, 2017.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import KFold

from hpo.models.distances import Array
from hpo.models.history import History

FEWEST = 10
MOST = 500
_FOLDS = 5
_TREES = 100
_SHUFFLES = 10


@dataclass(frozen=True)
class Forest:
    """What the forest says of one objective.

    Args:
        names: d parameters.
        importance: half the loss of R2, the mean over the folds; about a total Sobol index.
        deviation: its standard deviation over the folds.
        r2: on results left out; near 0 or below, the forest knows nothing and neither do its importances.
        results: that it was asked about.
    """

    names: list[str]
    importance: Array
    deviation: Array
    r2: float
    results: int


def forests(history: History) -> dict[str, Forest]:
    """The second opinion for each objective; none where there are too few results or all are equal."""
    rows = list(history.observations)
    if len(rows) < FEWEST or not len(history.space):
        return {}
    keep = np.random.default_rng(0).permutation(len(rows))[:MOST]
    X = np.array([rows[place].point for place in keep])
    Y = np.array([rows[place].values for place in keep])
    names = list(history.space.dimensions)
    return {
        name: _forest(X, column, names)
        for name, column in zip(history.objectives, Y.T, strict=True)
        if column.std() > 0
    }


def _forest(X: Array, y: Array, names: list[str]) -> Forest:
    losses, wrong = [], 0.0
    for number, (seen, unseen) in enumerate(KFold(_FOLDS, shuffle=True, random_state=0).split(X)):
        forest = RandomForestRegressor(_TREES, min_samples_leaf=2, random_state=number).fit(X[seen], y[seen])
        # one call for all of it: each has the price of every tree, however few the rows
        stacked = np.concatenate([X[unseen], *_shuffled(X[unseen], number)])
        told = forest.predict(stacked).reshape(1 + len(names) * _SHUFFLES, len(unseen))
        squared = ((told - y[unseen]) ** 2).mean(1)
        wrong += float(squared[0]) * len(unseen)
        losses.append((squared[1:].reshape(len(names), _SHUFFLES).mean(1) - squared[0]) / (2 * y.var()))
    each = np.array(losses)
    r2 = 1.0 - wrong / len(y) / float(y.var())
    return Forest(names, each.mean(0), each.std(0), r2, len(y))


def _shuffled(X: Array, seed: int) -> Iterator[Array]:
    """The rows with one column in another order: each column in turn, `_SHUFFLES` times."""
    generator = np.random.default_rng(seed)
    for column in range(X.shape[1]):
        for _ in range(_SHUFFLES):
            other = X.copy()
            other[:, column] = generator.permutation(X[:, column])
            yield other
