"""The benchmark's numbers as Markdown: scores, our distance to the best peer, costs, asks at many trials."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.peers import PEERS
from benchmarks.problems import PROBLEMS, make

Record = dict[str, Any]
AT = (30, 50)  # trials

LABELS = {
    "ours": "**ours**",
    "ax": "Ax",
    "optuna_gp": "Optuna GPSampler",
    "optuna_tpe_multivariate": "Optuna TPE, multivariate",
    "optuna_tpe": "Optuna TPE",
    "optuna_nsga2": "Optuna NSGA-II",
    "smac": "SMAC",
    "sobol": "Sobol",
    "random": "random",
}


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


class Results:
    """The curves of complete runs, the last of each (problem, optimiser, seed).

    Args:
        records: of `benchmarks.run`, in the order they were written; those with an error are left out.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self.runs: dict[tuple[str, str], dict[int, Record]] = {}
        for own in records:
            if "curve" in own:
                self.runs.setdefault((own["problem"], own["peer"]), {})[own["seed"]] = own
        self.problems = [name for name in PROBLEMS if any(problem == name for problem, _ in self.runs)]
        self.peers = [name for name in PEERS if any(peer == name for _, peer in self.runs)]

    def of(self, problem: str, peer: str) -> list[Record]:
        """The runs, by seed."""
        return [own for _, own in sorted(self.runs.get((problem, peer), {}).items())]

    def at(self, problem: str, peer: str, trials: int) -> Spread | None:
        """The score after so many trials; None where no run got there."""
        scores = [own["curve"][trials - 1] for own in self.of(problem, peer) if len(own["curve"]) >= trials]
        return spread(scores) if scores else None

    def mean_curve(self, problem: str, peer: str) -> list[float]:
        """The mean of the score after every trial; empty without runs."""
        curves = [own["curve"] for own in self.of(problem, peer)]
        return [statistics.fmean(scores) for scores in zip(*curves, strict=False)]

    def best(self, problem: str, trials: int, *, of_peers: bool = False) -> str | None:
        """Who has the best mean; with `of_peers`, of all but ours."""
        means = {
            peer: spread.mean
            for peer in self.peers
            if not (of_peers and peer == "ours") and (spread := self.at(problem, peer, trials))
        }
        if not means:
            return None
        best = min if make(problem).is_regret else max
        return best(means, key=means.__getitem__)

    def beside_best(self, problem: str, trials: int) -> tuple[Spread, Spread, str] | None:
        """The score of ours, that of the best peer and the peer's name; None while one is missing."""
        peer, ours = self.best(problem, trials, of_peers=True), self.at(problem, "ours", trials)
        best = None if peer is None else self.at(problem, peer, trials)
        return None if peer is None or ours is None or best is None else (ours, best, peer)


def rows_of(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """A Markdown table: columns of words, then numbers to the right."""
    lines = [head, ["---"] * words + ["---:"] * (len(head) - words), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def score_table(results: Results, trials: int) -> str:
    """Scores of every optimiser on every problem, the best in bold."""
    titles = [f"{name} (regret)" if make(name).is_regret else name for name in results.problems]

    def cell(problem: str, peer: str) -> str:
        own = results.at(problem, peer, trials)
        if own is None:
            return "-"
        return f"**{own}**" if results.best(problem, trials) == peer else str(own)

    rows = [[LABELS[peer], *(cell(name, peer) for name in results.problems)] for peer in results.peers]
    return rows_of(["", *titles], rows)


def is_level(ours: Spread, other: Spread, *, is_regret: bool) -> bool:
    """Whether ours is at least as good within one standard error of the difference."""
    behind = ours.mean - other.mean if is_regret else other.mean - ours.mean
    errors = [0.0 if math.isnan(own.error) else own.error for own in (ours, other)]
    return behind <= math.hypot(*errors)


def trials_to_reach(curve: Sequence[float], level: float, *, is_regret: bool) -> int | None:
    """After how many trials the curve is first as good as the level; None where it never is."""
    for number, score in enumerate(curve, 1):
        if score <= level if is_regret else score >= level:
            return number
    return None


def comparison(results: Results) -> str:
    """Ours against the best peer on each problem; empty without runs of ours."""
    rows: list[list[str]] = []
    reached: list[int] = []
    for problem in results.problems:
        regret = make(problem).is_regret
        pairs = [pair for trials in AT if (pair := results.beside_best(problem, trials))]
        if len(pairs) < len(AT):
            continue
        row = [problem]
        for ours, best, peer in pairs:
            level = "yes" if is_level(ours, best, is_regret=regret) else "**no**"
            row += [str(ours), f"{best} ({LABELS[peer]})", level]
        number = trials_to_reach(results.mean_curve(problem, "ours"), pairs[-1][1].mean, is_regret=regret)
        reached.append(number or AT[-1] + 1)
        rows.append([*row, str(number or f"over {AT[-1]}")])
    if not rows:
        return ""
    head = ["problem"]
    for trials in AT:
        head += [f"ours, n={trials}", "best peer", "level"]
    mean = f"{statistics.fmean(reached):.1f}" + (", over 50 counted as 51" if max(reached) > AT[-1] else "")
    return rows_of([*head, "trials to reach it"], [*rows, ["mean", *[""] * 6, mean]])


def cost_table(results: Results) -> str:
    """CPU seconds of an ask, mean over runs and asks, and the largest memory."""

    def cell(problem: str, peer: str) -> str:
        asks = [seconds for own in results.of(problem, peer) for seconds in own["ask_cpu_s"]]
        return f"{statistics.fmean(asks):.2f}" if asks else "-"

    def memory(peer: str) -> str:
        runs = [own["peak_rss_mib"] for name in results.problems for own in results.of(name, peer)]
        return f"{max(runs):.0f}"

    rows = [
        [LABELS[peer], *(cell(name, peer) for name in results.problems), memory(peer)]
        for peer in results.peers
    ]
    return rows_of(["", *results.problems, "peak MiB"], rows)


def failure_table(results: Results, problem: str = "qlora") -> str:
    """The share of proposals after the initial design that failed, and of those in it."""
    rows = []
    for peer in results.peers:
        runs = results.of(problem, peer)
        if not runs:
            continue
        later = spread([own["failed"] / (own["trials"] - 10) for own in runs])
        first = spread([own["failed_initial"] / 10 for own in runs])
        rows.append([LABELS[peer], str(first), str(later)])
    return rows_of(["", "of the first 10", "after them"], rows)


def scaling_table(records: Iterable[Record], problem: str) -> str:
    """CPU seconds of an ask of 4 and peak memory, by the trials told; empty without records."""
    known = {(own["peer"], own["told"]): own for own in records if own["problem"] == problem}
    sizes = sorted({told for _, told in known})

    def cell(peer: str, told: int) -> str:
        own = known.get((peer, told))
        if own is None or "error" in own:
            return "-" if own is None else "failed"
        if "ask_cpu_s" not in own:
            return f"over {own['over_s']:g}"
        return f"{own['ask_cpu_s']:.2f} s, {own['peak_rss_mib']:.0f} MiB"

    rows = [
        [LABELS[peer], *(cell(peer, told) for told in sizes)]
        for peer in PEERS
        if any(own == peer for own, _ in known)
    ]
    return rows_of(["", *(f"n={told}" for told in sizes)], rows) if rows else ""
