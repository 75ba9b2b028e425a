"""How well final values are foretold from rungs: `python -m benchmarks.fidelity.foretelling --help`.

So many trials have gone to their ends, or as successive halving lets them; 30 others have reached a rung.
Log density of their final values as they will be measured, share of these within the 90% intervals, root of
the mean squared error and mean width of the intervals. Beside ours the multi-fidelity processes of BoTorch,
`SingleTaskMultiFidelityGP`, with its linear truncated and its downsampling kernels.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskMultiFidelityGP
from botorch.models.transforms import Standardize
from gpytorch.mlls import ExactMarginalLogLikelihood
from scipy.stats import norm

from benchmarks.fidelity import study
from benchmarks.fidelity.families import FAMILIES, curves
from benchmarks.problems.problem import Array
from benchmarks.problems.qlora import SPACE
from hpo.models.early.curves import CurveModel
from hpo.models.guard import guarded
from hpo.models.history import Curve
from hpo.models.surrogate import choices_of
from hpo.space.space import parse_space
from jobs.recipes.recorded import load

SHARES = [1 / 9, 1 / 3]
ASKED = 30
RECORDED = ("demo", "instructions")
Z90 = 1.6449


@dataclass(frozen=True)
class Forecast:
    """Of one final value as it will be measured: a normal one, and its 90% interval."""

    mean: float
    deviation: float
    lower: float
    upper: float


Foretell = Callable[[Array, Sequence[float]], Forecast]  # of a point, and what it measured so far


def curve_of(point: Array, losses: Sequence[float], errors: Sequence[float]) -> Curve:
    """A curve up to its last value that is there."""
    rungs = [
        (share, (float(loss),), (float(error),))
        for share, loss, error in zip([*SHARES, 1.0], losses, errors, strict=False)
        if not math.isnan(loss)
    ]
    return Curve(tuple(point.tolist()), tuple(rungs))


def recorded(name: str, count: int, seed: int) -> tuple[Array, Array, Array, tuple[int, ...]]:
    """So many trials of a table of real fine-tunes, drawn by chance: as `curves`, and the choices."""
    table = load(study.TABLES / f"{name}.jsonl.gz")
    space = parse_space({key: study.expression(own) for key, own in table.parameters.items()})
    drawn = np.random.default_rng(seed).permutation(len(table.trials))[:count]
    trials = [table.trials[place] for place in drawn]
    at = [int(np.abs(np.array(table.rungs) - share).argmin()) for share in (*SHARES, 1.0)]
    losses = [[trial.measured[place].metrics["eval_loss"] for place in at] for trial in trials]
    X = np.array([space.to_unit(dict(trial.params)) for trial in trials])
    Y = np.array([[loss.value for loss in row] for row in losses])
    E = np.array([[loss.standard_error or 0.0 for loss in row] for row in losses])
    return X, Y, E, choices_of(space)


def ours(X: Array, Y: Array, E: Array, choices: tuple[int, ...]) -> Foretell:
    """`hpo.models.early.curves`."""
    model = CurveModel([curve_of(*row) for row in zip(X, Y, E, strict=True)], choices)

    def foretell(point: Array, losses: Sequence[float]) -> Forecast:
        [found] = model.foretold([curve_of(point, losses, E[0].tolist())])
        return Forecast(found.means[0], found.deviations[0], found.lower[0], found.upper[0])

    return foretell


def botorch(linear_truncated: bool) -> Callable[[Array, Array, Array, tuple[int, ...]], Foretell]:
    """The process of BoTorch over (x, s)."""

    def fitted(X: Array, Y: Array, E: Array, choices: tuple[int, ...]) -> Foretell:
        shares = [*SHARES, 1.0]
        known = [(row, place) for row, place in np.ndindex(*Y.shape) if not math.isnan(Y[row, place])]
        inputs = torch.tensor(np.array([[*X[row], shares[place]] for row, place in known]))
        values = torch.tensor([[Y[row, place]] for row, place in known], dtype=torch.float64)
        model = SingleTaskMultiFidelityGP(
            inputs,
            values,
            data_fidelities=[X.shape[1]],
            linear_truncated=linear_truncated,
            outcome_transform=Standardize(1),
        )
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))

        def foretell(point: Array, losses: Sequence[float]) -> Forecast:
            asked = [[*point, share] for share in (*SHARES[: len(losses)], 1.0)]
            with torch.no_grad():
                posterior = model.posterior(torch.tensor(np.array(asked)), observation_noise=True)
                mean = posterior.mean[:, 0].numpy()
                C = posterior.distribution.covariance_matrix.numpy()  # type: ignore[union-attr]
            weights = np.linalg.solve(C[:-1, :-1], C[:-1, -1])
            centre = float(mean[-1] + weights @ (np.array(losses) - mean[:-1]))
            deviation = math.sqrt(max(float(C[-1, -1] - weights @ C[:-1, -1]), 1e-12))
            return Forecast(centre, deviation, centre - Z90 * deviation, centre + Z90 * deviation)

        return foretell

    return fitted


MODELS = {"ours": ours, "linear truncated": botorch(True), "downsampling": botorch(False)}


def halved(Y: Array) -> Array:
    """What is known where three in five go on at each rung."""
    known = Y.copy()
    for place in range(Y.shape[1] - 1):
        there = np.flatnonzero(~np.isnan(known[:, place]))
        behind = there[np.argsort(known[there, place])][math.ceil(0.6 * len(there)) :]
        known[behind, place + 1 :] = np.nan
    return known


def measured(family: str, model: str, trials: int, seed: int, *, stopped: bool) -> list[list[float]]:
    """Rows of rung, log density, held, squared error, width and CPU seconds of the model."""
    if family in RECORDED:
        X, Y, E, choices = recorded(family, trials + ASKED, seed)
    else:
        X, Y, E = curves(family, trials + ASKED, SHARES, seed)
        choices = choices_of(parse_space(SPACE))
    known = halved(Y[:trials]) if stopped else Y[:trials]
    asked = halved(Y[trials:]) if stopped else Y[trials:]
    began = time.process_time()
    foretell = MODELS[model](X[:trials], known, E[:trials], choices)
    rows = []
    for rung in range(len(SHARES)):
        for place in range(ASKED):
            losses = asked[place, : rung + 1].tolist()
            if any(map(math.isnan, losses)):
                continue
            own, end = foretell(X[trials + place], losses), float(Y[trials + place, -1])
            density = float(norm.logpdf(end, own.mean, own.deviation))
            held = float(own.lower <= end <= own.upper)
            rows.append([rung, density, held, (own.mean - end) ** 2, own.upper - own.lower])
    seconds = time.process_time() - began
    return [[*row, seconds] for row in rows]


def main() -> None:
    """Measure and print a table."""
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument("--trials", type=int, nargs="*", default=[16, 40])
    own.add_argument("--seeds", type=int, nargs="*", default=[10, 11, 12], help="0 to 2 made the model")
    own.add_argument("--families", nargs="*", choices=[*FAMILIES, *RECORDED], default=[*FAMILIES, *RECORDED])
    own.add_argument("--models", nargs="*", choices=list(MODELS), default=list(MODELS))
    options = own.parse_args()
    print("| curves | trials | who ends | model | rung | log density | 90% hold | error | width | CPU s |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for family in options.families:
        for trials in options.trials:
            for stopped in (False, True):
                for model in options.models:
                    _print(family, model, trials, options.seeds, stopped=stopped)


def _print(family: str, model: str, trials: int, seeds: Sequence[int], *, stopped: bool) -> None:
    with guarded():
        each = [measured(family, model, trials, seed, stopped=stopped) for seed in seeds]
    rows = np.array([row for own in each for row in own])
    for rung, share in enumerate(SHARES):
        own = rows[rows[:, 0] == rung]
        density, held, squared, width, seconds = own[:, 1:].mean(0)
        numbers = (
            f"{density:.2f} | {100 * held:.0f}% | {math.sqrt(squared):.3f} | {width:.3f} | {seconds:.1f}"
        )
        who = "two in five" if stopped else "none"
        print(f"| {family} | {trials} | {who} | {model} | {share:.2f} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
