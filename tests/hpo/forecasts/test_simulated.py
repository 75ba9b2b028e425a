"""What simulated runs foretell: intervals that hold what they promise, and the text of them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from hpo.forecasts.simulated import FEWEST, SimulatedEnds, Spread


@pytest.mark.parametrize(
    ("count", "low", "high"), [(19, 1, 19), (38, 1, 38), (39, 2, 38), (59, 3, 57), (199, 10, 190)]
)
def test_the_interval_leaves_out_as_many_runs_as_it_may(count: int, low: int, high: int) -> None:
    """The k-th from either end, (n + 1 - 2k) / (n + 1) being 0.9 or just more."""
    values = [float(value) for value in range(count, 0, -1)]
    assert Spread.of(values) == Spread((count + 1) / 2, low, high)
    assert (count + 1 - 2 * low) / (count + 1) >= 0.9 > (count + 1 - 2 * (low + 1)) / (count + 1)


@pytest.mark.parametrize("count", [FEWEST, 50])
def test_the_next_one_is_held_as_often_as_promised(count: int) -> None:
    """Of 4,000 draws of a skewed distribution, within three standard errors of the closed form."""
    chance = random.Random(0)
    draws = [[chance.lognormvariate(0.0, 1.0) for _ in range(count + 1)] for _ in range(4000)]
    held = sum(Spread.of(values[:-1]).holds(values[-1]) for values in draws) / 4000
    k = int(0.05 * (count + 1) + 1e-9)
    assert held == pytest.approx((count + 1 - 2 * k) / (count + 1), abs=3 * (0.09 / 4000) ** 0.5)


def test_what_is_said_and_kept(tmp_path: Path) -> None:
    """Nineteen runs of an hour to nineteen hours."""
    forecast = SimulatedEnds([3600.0 * n for n in range(1, 20)], [2.0] * 19, [0.25] * 19, 0, "8 at once")
    assert list(forecast.lines()) == [
        "simulated 19 times: 8 at once",
        "  end after 10h00m, 90% within 1h00m to 19h00m",
        "  2 GPU-hours, 90% within 2 to 2",
        "  25.0% of them lost to interruptions, 90% within 25.0% to 25.0%",
    ]
    assert forecast.summary()["seconds"] == {"median": 36000.0, "low": 3600.0, "high": 68400.0}
    assert SimulatedEnds.from_json(forecast.to_json()) == forecast
