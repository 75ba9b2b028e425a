"""When a study will end and what it will cost, as simulated runs of it came out. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from hpo.formatting import duration
from hpo.records import Record, utc_now

HELD = 0.9  # share of the true ends that the interval is to hold
FEWEST = 19  # runs whose extremes hold so much: of n runs they hold (n - 1) / (n + 1)


@dataclass(frozen=True)
class Spread:
    """What runs came to, in the middle and from one end of the interval to the other."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least `FEWEST` values.

        The next one lies between the k-th smallest and the k-th largest of n with chance
        (n + 1 - 2k) / (n + 1), whatever their distribution.
        """
        ordered, count = sorted(values), len(values)
        k = int((1 - HELD) / 2 * (count + 1) + 1e-9)
        return cls(median(ordered), ordered[k - 1], ordered[count - k])

    def holds(self, value: float) -> bool:
        """Whether a value lies in the interval."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class SimulatedEnds(Record):
    """What simulated runs of a study came to, from its creation: forecast.json.

    Args:
        seconds: until its end, a run each.
        gpu_hours: likewise.
        lost: share of the GPU-hours that preemptions and failures cost, likewise.
        trials: that had ended when this was foretold.
        about: what was assumed.
    """

    seconds: list[float]
    gpu_hours: list[float]
    lost: list[float]
    trials: int
    about: str
    made_at: str = field(default_factory=utc_now)

    def lines(self) -> Iterator[str]:
        """What `plan` says of it."""
        end, hours, lost = Spread.of(self.seconds), Spread.of(self.gpu_hours), Spread.of(self.lost)
        yield f"simulated {len(self.seconds)} times: {self.about}"
        yield f"  end after {duration(end.median)}, 90% within {duration(end.low)} to {duration(end.high)}"
        yield f"  {hours.median:.3g} GPU-hours, 90% within {hours.low:.3g} to {hours.high:.3g}"
        within = f"90% within {lost.low:.1%} to {lost.high:.1%}"
        yield f"  {lost.median:.1%} of them lost to interruptions, {within}"

    def summary(self) -> dict[str, Any]:
        """The same for scripts."""
        each = {"seconds": self.seconds, "gpu_hours": self.gpu_hours, "lost": self.lost}
        spreads = {name: vars(Spread.of(values)) for name, values in each.items()}
        return {"runs": len(self.seconds), "about": self.about, **spreads}
