"""Records the tables of small trainings: `python -m benchmarks.problems.record digits` (or `trees`), minutes.

Every configuration of the grid is trained once, scikit-learn's own data, halves of it to train on and to
judge by. The second objective is counted and not timed, so that a table does not depend on the machine.
"""

from __future__ import annotations

import csv
import sys
import warnings
from collections.abc import Callable
from typing import Any

import yaml
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from benchmarks.problems.tables import TABLES
from hpo.space.space import parse_space


def digits(params: dict[str, Any]) -> tuple[float, float]:
    """Error and multiplications (in millions) of a network on handwritten digits."""
    X, X_test, y, y_test = _halves(load_digits)
    network = MLPClassifier(
        (params["width"],) * params["layers"],
        learning_rate_init=params["learning_rate"],
        batch_size=params["batch_size"],
        max_iter=params["epochs"],
        random_state=0,
    ).fit(X / 16, y)
    weights = sum(own.size for own in network.coefs_)
    return 1 - float(network.score(X_test / 16, y_test)), 3 * weights * len(X) * params["epochs"] / 1e6


def trees(params: dict[str, Any]) -> tuple[float, float]:
    """Log loss and the number of leaves of boosted trees on a table of cells."""
    X, X_test, y, y_test = _halves(load_breast_cancer)
    boosted = GradientBoostingClassifier(**params, random_state=0).fit(X, y)
    leaves = sum(int(own.get_n_leaves()) for own in boosted.estimators_.ravel())
    return float(log_loss(y_test, boosted.predict_proba(X_test)[:, 1])), float(leaves)


def _halves(load: Callable[..., Any]) -> Any:
    return train_test_split(*load(return_X_y=True), test_size=0.5, random_state=0, shuffle=True)


def record(name: str, train: Callable[[dict[str, Any]], tuple[float, float]]) -> None:
    """Write the table of all configurations of `tables/NAME.yaml`."""
    warnings.simplefilter("ignore")  # few epochs are no mistake here
    described = yaml.safe_load((TABLES / f"{name}.yaml").read_text(encoding="utf-8"))
    space = parse_space(described["space"])
    with (TABLES / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*space.dimensions, *described["objectives"]])
        for point in space.configurations():
            params = space.from_unit(point)
            values = (f"{value:.6g}" for value in train(dict(params)))
            writer.writerow([*(params[key] for key in space.dimensions), *values])


if __name__ == "__main__":
    record(sys.argv[1], {"digits": digits, "trees": trees}[sys.argv[1]])
