"""Which parameters matter, against functions whose indices are known in closed form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from hpo.models.diagnostics import Bin
from hpo.optimizer import Optimizer

pytestmark = pytest.mark.slow  # they load SALib and fit to 200 points

A, B = 7.0, 0.1


def ishigami(x: float, y: float, z: float) -> float:
    """sin x + 7 sin^2 y + 0.1 z^4 sin x, over [-pi, pi] each."""
    return math.sin(x) + A * math.sin(y) ** 2 + B * z**4 * math.sin(x)


def closed_form() -> tuple[list[float], list[float]]:
    """First-order and total indices [Ishigami and Homma 1990]."""
    one = 0.5 * (1 + B * math.pi**4 / 5) ** 2
    two = A**2 / 8
    both = B**2 * math.pi**8 * (1 / 18 - 1 / 50)
    variance = one + two + both
    return [one / variance, two / variance, 0.0], [
        (one + both) / variance,
        two / variance,
        both / variance,
    ]


def told(strategy: str) -> Optimizer:
    """An optimiser that knows Ishigami's function at 200 points."""
    own = Optimizer(dict.fromkeys("xyz", f"interval({-math.pi}, {math.pi})"), {"f": "min"}, strategy, seed=1)
    for params in own.ask(200):
        own.tell(params, {"f": ishigami(*(float(params[name]) for name in "xyz"))})
    return own


@pytest.mark.parametrize("strategy", ["sobol", "random"])
def test_indices_of_ishigami_are_within_five_hundredths(strategy: str) -> None:
    """Of the closed form, first-order and total, from 200 points; which also lies within their ranges."""
    from hpo.reporting.sensitivity import ask

    indices = ask(told(strategy).history, None).indices["f"]
    first, total = closed_form()
    assert indices.first.tolist() == pytest.approx(first, abs=0.05)
    assert indices.total.tolist() == pytest.approx(total, abs=0.05)
    for value, ends in zip([*first, *total], [*indices.first_range, *indices.total_range], strict=True):
        assert ends[0] - 0.01 <= value <= ends[1] + 0.01


def test_slices_follow_the_function() -> None:
    """Through the middle, where x = z = 0, the function is 7 sin^2 y along y and sin x along x."""
    from hpo.reporting.sensitivity import ask

    slices = ask(told("sobol").history, None).slices["f"]
    for name, expected in (("y", lambda v: A * math.sin(v) ** 2), ("x", math.sin)):
        line: Any = slices[name]
        wrong = [abs(m - expected(float(v))) for v, m in zip(line.values, line.middle, strict=True)]
        inside = [
            low <= expected(float(v)) <= up
            for v, low, up in zip(line.values, line.lower, line.upper, strict=True)
        ]
        assert max(wrong) < 1.0  # of a function that spans 18
        assert np.mean(inside) > 0.8


def test_choice_that_does_everything_has_every_share() -> None:
    """f is 1 for one of three values and 0 for the others; the number beside it does nothing."""
    from hpo.reporting.forest import forests
    from hpo.reporting.sensitivity import ask

    own = Optimizer({"kind": "choice(a, b, c)", "idle": "interval(0, 1)"}, {"f": "min"}, "random", seed=0)
    for params in own.ask(40):
        own.tell(params, {"f": float(params["kind"] == "a")})
    indices = ask(own.history, None).indices["f"]
    shares = dict(zip(indices.names, indices.total.tolist(), strict=True))
    assert shares == pytest.approx({"kind": 1.0, "idle": 0.0}, abs=0.05)
    forest = forests(own.history)["f"]
    assert dict(zip(forest.names, forest.importance, strict=True))["kind"] > 0.7
    assert abs(dict(zip(forest.names, forest.importance, strict=True))["idle"]) < 0.1
    assert forest.r2 > 0.8


def test_objective_that_does_not_vary_has_no_shares() -> None:
    """All indices are 0, and the forest is not asked."""
    from hpo.reporting.forest import forests
    from hpo.reporting.sensitivity import ask

    own = Optimizer({"x": "interval(0, 1)", "y": "interval(0, 1)"}, {"f": "min"}, "random", seed=0)
    for params in own.ask(12):
        own.tell(params, {"f": 3.0})
    assert ask(own.history, None).indices["f"].total.tolist() == [0.0, 0.0]
    assert forests(own.history) == {}


@pytest.mark.parametrize(
    ("share", "count", "low", "high"),
    [(0.5, 10, 0.2366, 0.7634), (0.8, 10, 0.4902, 0.9433), (0.0, 5, 0.0, 0.4345)],
)
def test_intervals_of_shares_are_wilsons(share: float, count: int, low: float, high: float) -> None:
    """Tabled values of Wilson's interval, without correction for continuity."""
    from hpo.reporting.figures.model import calibration_figure, wilson

    assert wilson(share, count) == pytest.approx((low, high), abs=1e-4)
    assert calibration_figure([Bin(0.0, 1.0, count, 0.5, share)]).data[0].y == (share,)
