"""The benchmark's numbers as Markdown: scores, leads, costs, failures, beliefs, asks at many trials."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

from benchmarks.peers import BELIEVERS, PEERS
from benchmarks.problems import PROBLEMS, make
from benchmarks.scores import AT, STRONGEST, Record, Results, Spread

LABELS = {
    "ours": "**ours**",
    "old": "ours before",
    "ax": "Ax",
    "optuna_gp": "Optuna GPSampler",
    "optuna_tpe_multivariate": "Optuna TPE, multivariate",
    "optuna_tpe": "Optuna TPE",
    "optuna_nsga2": "Optuna NSGA-II",
    "smac": "SMAC",
    "sobol": "Sobol",
    "random": "random",
    "right_belief": "a good belief",
    "wrong_belief": "a misleading one",
}
SIDE_BY_SIDE = ("ours", "old", *STRONGEST)


def rows_of(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """A Markdown table: columns of words, then numbers to the right."""
    lines = [head, ["---"] * words + ["---:"] * (len(head) - words), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def titled(problem: str) -> str:
    """The name of a problem, and whether less is better."""
    return f"{problem} (regret)" if make(problem).is_regret else problem


def problem_table(problems: Sequence[str]) -> str:
    """What the problems are."""
    rows = []
    for name in problems:
        problem = make(name)
        kinds = [PROBLEMS[name].kind, str(len(problem.objectives)), str(len(problem.space))]
        rows.append([f"`{name}`", *kinds])
    return rows_of(["problem", "kind", "objectives", "parameters"], rows, words=2)


def score_table(results: Results, trials: int) -> str:
    """Scores of every optimiser on every problem, the best in bold, and the means of hypervolumes."""

    def cell(problem: str, peer: str) -> str:
        own = results.at(problem, peer, trials)
        if own is None:
            return "-"
        return f"**{own}**" if results.best(problem, trials, results.peers) == peer else str(own)

    rows = [
        [titled(problem), *(cell(problem, peer) for peer in results.peers)] for problem in results.problems
    ]
    if common := _common(results):
        means = [_mean(results, common, peer, trials) for peer in results.peers]
        rows.append([f"mean of {len(common)} without regret", *means])
    return rows_of(["", *(LABELS[peer] for peer in results.peers)], rows)


def _common(results: Results) -> list[str]:
    """The problems scored by a hypervolume that all of those side by side have run on."""
    peers = [peer for peer in SIDE_BY_SIDE if peer in results.peers]
    scored = [name for name in results.problems if not make(name).is_regret]
    return [name for name in scored if all(results.of(name, peer) for peer in peers)]


def _mean(results: Results, problems: Sequence[str], peer: str, trials: int) -> str:
    means = [own.mean for name in problems if (own := results.at(name, peer, trials))]
    return f"{statistics.fmean(means):.3f}" if len(means) == len(problems) else "-"


def lead_table(results: Results) -> str:
    """How far ours is ahead of itself before, and of the better of the strongest peers, on each problem."""
    rows = []
    for problem in results.problems:
        if not results.of(problem, "ours"):
            continue
        cells = [str(results.lead(problem, trials, "old") or "-") for trials in AT]
        for trials in AT:
            peer = results.best(problem, trials, STRONGEST)
            ahead = results.lead(problem, trials, peer)
            cells.append(f"{ahead} ({LABELS[peer]})" if ahead and peer else "-")
        seeds = "/".join(str(len(results.of(problem, peer))) for peer in SIDE_BY_SIDE)
        rows.append([titled(problem), *cells, seeds])
    head = [f"over {other}, n={trials}" for other in ("before", "best peer") for trials in AT]
    return rows_of(["", *head, "seeds"], rows) if rows else ""


def cost_table(results: Results) -> str:
    """CPU seconds of an ask, mean over runs and asks, and the largest memory."""

    def cell(own: Spread | None) -> str:
        return f"{own.mean:.2f}" if own else "-"

    rows = _by_problem(results, lambda problem, peer: cell(results.cpu_s(problem, peer)))
    rows.append(["peak MiB", *(f"{results.memory_mib(peer):.0f}" for peer in results.peers)])
    return rows_of(["", *(LABELS[peer] for peer in results.peers)], rows)


def failure_table(results: Results) -> str:
    """The share of proposals after the initial design that failed, where any did."""

    def cell(problem: str, peer: str) -> str:
        return str(results.failing(problem, peer) or "-")

    failing = [
        problem
        for problem in results.problems
        if any(own["failed"] for peer in results.peers for own in results.of(problem, peer))
    ]
    rows = [[problem, *(cell(problem, peer) for peer in results.peers)] for problem in failing]
    return rows_of(["", *(LABELS[peer] for peer in results.peers)], rows) if rows else ""


def _by_problem(results: Results, cell: Callable[[str, str], str]) -> list[list[str]]:
    return [[problem, *(cell(problem, peer) for peer in results.peers)] for problem in results.problems]


def belief_table(results: Results, without: str) -> str:
    """Scores without and with beliefs.

    Args:
        without: the optimiser that has none.
    """
    beliefs = [peer for peer in BELIEVERS if peer in results.peers]
    problems = [name for name in results.problems if any(results.of(name, peer) for peer in beliefs)]

    def cells(problem: str, trials: int) -> list[str]:
        scores = [results.at(problem, peer, trials) for peer in (without, *beliefs)]
        return [str(own or "-") for own in scores]

    rows = [[titled(name), *(cell for trials in AT for cell in cells(name, trials))] for name in problems]
    names = ["none", *(LABELS[peer] for peer in beliefs)]
    head = [f"{name}, n={trials}" for trials in AT for name in names]
    return rows_of(["", *head], rows) if rows else ""


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
