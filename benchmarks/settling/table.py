"""What rules saved and what they missed, as docs/early_stopping.md has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.records import Record, key
from benchmarks.settling.cases import CASES
from benchmarks.settling.rules import RULES
from benchmarks.settling.trace import RULE, settle_stop

RUN = ("problem", "seed", "trials", "batch")  # what tells runs apart
BOLD_SETTINGS = (3, 0.01)
BOLD = "settle={}, least_gain={}".format(*BOLD_SETTINGS)  # follows from the same looks
ALL_RULES = (RULE, BOLD, *(name for rules in RULES.values() for name in rules))


@dataclass(frozen=True)
class Outcome:
    """What came of a rule in one run.

    Args:
        stop: after how many trials it ended the run.
        saved: share of the run's seconds that came after.
        missed: by how much the whole run was better, in the unit of its score.
    """

    stop: int
    saved: float
    missed: float


def outcome(trace: Record, stop: int) -> Outcome:
    """Of a rule that ends a recorded run after so many trials."""
    seconds, curve = trace["seconds"], trace["curve"]
    return Outcome(stop, sum(seconds[stop:]) / sum(seconds), abs(curve[-1] - curve[stop - 1]))


def runs_on(records: Sequence[Record], problem: str) -> dict[int, Record]:
    """The runs on a problem by seed; the last record of each counts."""
    return {own["seed"]: own for own in records if own["problem"] == problem and own["peer"] == "ours"}


def outcomes(records: Sequence[Record], problem: str, rule: str) -> list[Outcome]:
    """Of a rule in all runs on a problem that it was asked about, by seed."""
    traces = runs_on(records, problem)
    if rule == BOLD:
        return [outcome(traces[seed], bold_stop(traces[seed])) for seed in sorted(traces)]
    these = {key(own, RUN) for own in traces.values()}
    stops = {
        own["seed"]: own["stops"][rule] for own in records if rule in own["stops"] and key(own, RUN) in these
    }
    return [outcome(traces[seed], stops[seed]) for seed in sorted(traces.keys() & stops.keys())]


def bold_stop(trace: Record) -> int:
    """After how many trials of a recorded run the bolder settings would have ended it."""
    return settle_stop(trace["looks"], trace["batch"], trace["trials"], *BOLD_SETTINGS)


def cell(own: Sequence[Outcome]) -> str:
    """Trials of each seed, the mean share that was saved and the mean of what was missed; "" without any."""
    if not own:
        return ""
    saved, missed = fmean(each.saved for each in own), fmean(each.missed for each in own)
    return f"{' '.join(str(each.stop) for each in own)}: {100 * saved:.0f}%, {missed:.2g}"


def row(records: Sequence[Record], problem: str) -> str:
    """A problem: the mean score of the whole runs, and every rule."""
    ends = [own["curve"][-1] for own in runs_on(records, problem).values()]
    cells = [cell(outcomes(records, problem, rule)) for rule in ALL_RULES]
    return f"| {problem} | {fmean(ends):.3g} | {' | '.join(cells)} |"


def table(records: Sequence[Record]) -> str:
    """A row a problem that has runs."""
    ran = {own["problem"] for own in records if own["peer"] == "ours"}
    head = f"| problem | score of the whole run | {' | '.join(ALL_RULES)} |"
    lines = [row(records, problem) for problem in CASES if problem in ran]
    return "\n".join([head, "|---" * (2 + len(ALL_RULES)) + "|", *lines])
