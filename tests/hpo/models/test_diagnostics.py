"""Leave-one-out checks: against worked values, by refitting by hand, and on functions of known processes."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from hpo.errors import FitError
from hpo.models.diagnostics import calibration, diagnose
from hpo.models.guard import guarded
from hpo.models.kernel import MixedKernel
from hpo.models.surrogate import fit_surrogate
from hpo.optimizer import Optimizer

SPACE = {"x": "interval(0, 1)", "w": "interval(0, 1)"}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with guarded():
        yield


def told(rows: dict[float, float], objective: str = "min") -> Optimizer:
    own = Optimizer({"x": "interval(0, 1)"}, {"y": objective})
    for x, y in rows.items():
        own.tell({"x": x}, {"y": y})
    return own


def drawn(seed: int, n: int = 40, noise: float = 0.1) -> Optimizer:
    """Noisy values of a function drawn from a Matern process with length scales 0.4 and 0.8, mean 5."""
    rng = np.random.default_rng(seed)
    X = rng.random((n, 2))  # of w, x: the order of the coordinates
    kernel = MixedKernel(2).double().with_scales(np.array([0.4, 0.8]), 1.0).requires_grad_(False)
    K = kernel(torch.from_numpy(X)).to_dense().numpy() + 1e-9 * np.eye(n)
    y = 5 + np.linalg.cholesky(K) @ rng.standard_normal(n) + noise * rng.standard_normal(n)
    own = Optimizer(SPACE, {"y": "max"})
    for (w, x), value in zip(X.tolist(), y.tolist(), strict=True):
        own.tell({"w": w, "x": x}, {"y": value})
    return own


@pytest.mark.parametrize("objective", ["min", "max"])
def test_two_results_by_hand(objective: str) -> None:
    """Values 2 and 6 are -1 and 1, mean 0: each is foretold from the other as its kernel share of it."""
    own = told({0.2: 2.0, 0.6: 6.0}, objective)
    found = diagnose(own.history)["y"]
    process = fit_surrogate(own.history).processes["y"]
    ends = torch.tensor([[0.2]]).double(), torch.tensor([[0.6]]).double()
    k = float(process.covar_module(*ends).to_dense())
    total = float(process.covar_module.outputscale) + float(process.likelihood.noise)
    assert float(process.mean_module.constant) == pytest.approx(0, abs=1e-9)
    assert found.observed.tolist() == pytest.approx([2.0, 6.0])
    assert found.predicted.tolist() == pytest.approx([4 + 2 * k / total, 4 - 2 * k / total])
    assert found.deviations.tolist() == pytest.approx([2 * math.sqrt(total - k**2 / total)] * 2)
    assert found.q2 == pytest.approx(1 - (1 + k / total) ** 2)
    assert found.coverage == float(1 + k / total <= 1.959964 * math.sqrt(total - k**2 / total))


def test_ends_are_the_prediction_and_two_deviations() -> None:
    found = diagnose(drawn(0, 20).history)["y"]
    assert (found.upper - found.predicted).tolist() == pytest.approx((1.959964 * found.deviations).tolist())
    assert (found.predicted - found.lower).tolist() == pytest.approx((1.959964 * found.deviations).tolist())
    inside = (found.lower <= found.observed) & (found.observed <= found.upper)
    assert found.coverage == pytest.approx(inside.mean())
    assert found.points.shape == (20, 2)


@pytest.mark.slow
def test_intervals_hold_what_they_promise_on_draws_of_a_process() -> None:
    """480 rows in all: 95% within four binomial errors, more of them than for one, as rows are correlated."""
    found = [diagnose(drawn(seed).history)["y"] for seed in range(12)]
    share = np.mean([own.coverage for own in found])
    assert share == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 480))


def test_what_was_drawn_is_found_again() -> None:
    """Noise of 0.1 beside a signal of 1; x, with the longer length scale, matters less than w."""
    found = [diagnose(drawn(seed).history)["y"] for seed in range(6)]
    assert np.median([own.noise for own in found]) == pytest.approx(0.1, rel=0.5)
    assert np.median([own.q2 for own in found]) > 0.6
    scales = [own.length_scales for own in found]
    assert all(set(own) == {"w", "x"} for own in scales)
    assert np.median([own["x"] / own["w"] for own in scales]) > 1


def test_values_without_structure_explain_nothing() -> None:
    rng = np.random.default_rng(0)
    found = diagnose(told(dict(enumerate_unit(rng.standard_normal(30)))).history)["y"]
    assert found.q2 < 0.3
    assert found.coverage > 0.8


def enumerate_unit(values: np.ndarray) -> Iterator[tuple[float, float]]:
    yield from zip(np.linspace(0, 1, len(values)).tolist(), values.tolist(), strict=True)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_logarithm_gives_medians_and_intervals_of_one_sign(sign: int) -> None:
    """Over four magnitudes: lower, median, upper in order, their ratios alike, all of one sign."""
    rng = np.random.default_rng(1)
    rows = {x: sign * 10 ** (4 * x + 0.1 * rng.standard_normal()) for x in np.linspace(0, 1, 20).tolist()}
    found = diagnose(told(rows, "min" if sign > 0 else "max").history)["y"]
    assert found.log
    assert found.observed.tolist() == pytest.approx(list(rows.values()))
    assert (found.lower < found.predicted).all()
    assert (found.predicted < found.upper).all()
    assert (np.sign([found.lower, found.upper]) == sign).all()
    assert (found.predicted**2).tolist() == pytest.approx((found.lower * found.upper).tolist())
    assert found.q2 > 0.9


def test_each_objective_has_its_own_and_equal_values_have_no_q2() -> None:
    own = Optimizer({"x": "interval(0, 1)"}, {"a": "min", "b": "max"})
    for x in (0.1, 0.4, 0.6, 0.9):
        own.tell({"x": x}, {"a": x**2, "b": 3.0})
    found = own.history
    assert list(diagnose(found)) == ["a", "b"]
    assert math.isnan(diagnose(found)["b"].q2)
    assert diagnose(found)["b"].predicted.tolist() == pytest.approx([3.0] * 4)


def test_repeated_measurements_are_left_out_together() -> None:
    own = told({0.1: 1.0, 0.5: 2.0, 0.9: 4.0})
    own.tell({"x": 0.5}, {"y": 2.4})
    found = diagnose(own.history)["y"]
    assert sorted(found.observed.tolist()) == pytest.approx([1.0, 2.2, 4.0])


def test_rows_of_earlier_studies_are_no_part_of_it() -> None:
    """A related study of a shifted loss helps the predictions, whose rows are this study's own."""
    rows = {x: math.sin(6 * x) for x in (0.05, 0.35, 0.6, 0.9)}
    own, helped = told(rows), told(rows)
    helped.learn_from([({"x": x}, {"y": math.sin(6 * x) + 4}) for x in np.linspace(0, 1, 15).tolist()])
    alone, found = diagnose(own.history)["y"], diagnose(helped.history)["y"]
    assert fit_surrogate(helped.history).joint == ("y",)
    assert found.points.tolist() == alone.points.tolist()
    assert found.observed.tolist() == pytest.approx(list(rows.values()))
    assert found.q2 > max(alone.q2, 0.9)
    assert list(found.length_scales) == ["x"]


@pytest.mark.parametrize("rows", [{}, {0.5: 1.0}])
def test_fewer_than_two_configurations_are_refused(rows: dict[float, float]) -> None:
    with pytest.raises(FitError, match="two different configurations"):
        diagnose(told(rows).history)


def tried(working: float, seed: int, n: int = 60) -> Optimizer:
    """Trials that work with this probability below a half of x, and never above."""
    own, rng = Optimizer(SPACE, {"y": "min"}), np.random.default_rng(seed)
    for x, w, luck in rng.random((n, 3)).tolist():
        if x < 0.5 and luck < working:
            own.tell({"x": x, "w": w}, {"y": x})
        else:
            own.tell_failure({"x": x, "w": w})
    return own


def test_without_failures_there_is_nothing_to_calibrate() -> None:
    assert calibration(told({0.1: 1.0, 0.2: 2.0}).history) == ()


@pytest.mark.parametrize("working", [1.0, 0.7])
def test_predicted_probabilities_are_near_the_shares_that_worked(working: float) -> None:
    """Over six studies, and every trial is counted once in each."""
    tables = [calibration(tried(working, seed).history) for seed in range(6)]
    assert all(sum(own.count for own in table) == 60 for table in tables)
    assert all(own.low <= own.predicted <= own.high for table in tables for own in table)
    every = [own for table in tables for own in table]
    for low in {own.low for own in every}:
        same = [own for own in every if own.low == low]
        count = sum(own.count for own in same)
        predicted = sum(own.predicted * own.count for own in same) / count
        worked = sum(own.worked * own.count for own in same) / count
        error = math.sqrt(predicted * (1 - predicted) / count)
        assert worked == pytest.approx(predicted, abs=0.1 + 3 * error)
