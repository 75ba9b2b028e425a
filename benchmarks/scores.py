"""What came of the runs: means and standard errors by problem, optimiser and number of trials."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.peers import PEERS
from benchmarks.problems import PROBLEMS, make
from benchmarks.run import INITIAL

Record = dict[str, Any]
AT = (20, 30, 50)  # trials
STRONGEST = ("ax", "optuna_gp")  # the peers that ours is measured by


@dataclass(frozen=True)
class Spread:
    """Mean and standard error of `count` values; the error is NaN for one value."""

    mean: float
    error: float
    count: int

    def __str__(self) -> str:
        error = "" if math.isnan(self.error) else f" ±{self.error:.3f}"
        return f"{self.mean:.3f}{error}"


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard error of at least one value."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else math.nan
    return Spread(statistics.fmean(values), error, len(values))


@dataclass(frozen=True)
class Lead:
    """How far one mean is ahead of another, more being better, and the standard error of that difference."""

    by: float
    error: float

    @property
    def is_level(self) -> bool:
        """Whether it is not behind by more than one standard error."""
        return self.by >= -self.error

    def __str__(self) -> str:
        text = f"{self.by:+.3f} ±{self.error:.3f}"
        return text if self.is_level else f"**{text}**"


def lead(ours: Spread, other: Spread, *, is_regret: bool) -> Lead:
    """The lead of ours; one run alone counts as having no error."""
    by = other.mean - ours.mean if is_regret else ours.mean - other.mean
    return Lead(by, math.hypot(*(0.0 if math.isnan(own.error) else own.error for own in (ours, other))))


class Results:
    """Complete runs, the last of each (problem, optimiser, seed).

    Args:
        records: of `benchmarks.run`, in the order they were written; those with an error are left out.
        problems: of which problems; None for all.
        peers: of which optimisers.
    """

    def __init__(
        self,
        records: Iterable[Record],
        problems: Sequence[str] | None = None,
        peers: Sequence[str] = PEERS,
    ) -> None:
        self.runs: dict[tuple[str, str], dict[int, Record]] = {}
        wanted = PROBLEMS if problems is None else problems
        for own in records:
            if "curve" in own and own["problem"] in wanted and own["peer"] in peers:
                self.runs.setdefault((own["problem"], own["peer"]), {})[own["seed"]] = own
        self.problems = [name for name in wanted if any(problem == name for problem, _ in self.runs)]
        self.peers = [name for name in peers if any(peer == name for _, peer in self.runs)]

    def of(self, problem: str, peer: str) -> list[Record]:
        """The runs, by seed."""
        return [own for _, own in sorted(self.runs.get((problem, peer), {}).items())]

    def _spread(self, problem: str, peer: str, value: Callable[[Record], float]) -> Spread | None:
        values = [value(own) for own in self.of(problem, peer)]
        return spread(values) if values else None

    def at(self, problem: str, peer: str, trials: int) -> Spread | None:
        """The score after so many trials; None without runs."""
        return self._spread(problem, peer, lambda own: own["curve"][trials - 1])

    def failing(self, problem: str, peer: str) -> Spread | None:
        """The share of proposals after the initial design that failed."""
        return self._spread(problem, peer, lambda own: own["failed"] / (own["trials"] - INITIAL))

    def cpu_s(self, problem: str, peer: str) -> Spread | None:
        """CPU seconds of an ask after the initial design, mean over the asks of a run."""
        return self._spread(problem, peer, lambda own: statistics.fmean(own["ask_cpu_s"]))

    def memory_mib(self, peer: str) -> float:
        """The largest resident memory of any run; NaN without runs."""
        runs = [own["peak_rss_mib"] for name in self.problems for own in self.of(name, peer)]
        return max(runs, default=math.nan)

    def best(self, problem: str, trials: int, peers: Iterable[str]) -> str | None:
        """Who of these has the best mean."""
        means = {peer: own.mean for peer in peers if (own := self.at(problem, peer, trials))}
        best = min if make(problem).is_regret else max
        return best(means, key=means.__getitem__) if means else None

    def lead(self, problem: str, trials: int, other: str | None) -> Lead | None:
        """Of ours over another, None where one of them has no runs."""
        ours, theirs = self.at(problem, "ours", trials), other and self.at(problem, other, trials)
        return lead(ours, theirs, is_regret=make(problem).is_regret) if ours and theirs else None
