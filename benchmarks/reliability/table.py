"""The fault suite's numbers as Markdown: each fault, how often it was injected, and what came of its runs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from benchmarks.records import Record
from benchmarks.reliability.faults import FAULTS
from benchmarks.table import rows_of

LISTS = ("lost", "twice", "scratch")
_HEAD = (
    "fault",
    "times",
    "trials lost",
    "results counted twice",
    "studies not finished",
    "from scratch despite a checkpoint",
    "left in the queue",
    "seconds",
)
_TEXT = """Each run is a study of 24 synthetic trials (mean 4 s, log-normal, sigma 0.5), or of as many
external programs, on a one-machine Slurm cluster of its own, 4 nodes of 2 pretended GPUs, with 1 to 4 faults.
Study, cluster, faults and their moments are drawn from the run's seed and the faults that were known then.
A controller that a fault killed is started again with the same command; one that ends by itself is not. A run
counts for every fault in it, so the lines overlap and the last one does not add them up. Seconds are of the
whole study, median and longest."""


def section(records: Sequence[Record]) -> str:
    """The part of the page.

    Args:
        records: of `inject.run_plan`.
    """
    runs = sorted(records, key=lambda run: int(run["seed"]))
    parts = ["## Random faults", _TEXT, _summary(runs), rows_of(_HEAD, _rows(runs))]
    if noted := _unusual(runs):
        parts += ["Runs in which something was not as it should be:", noted]
    if ghosts := sum(run.get("ghosts", 0) for run in runs):
        parts.append(
            f"A slurmctld that was killed with signal 9 has forgotten its last seconds: {ghosts} tasks that "
            "had ended still showed as running 90 s after their study, without a process on any node. That "
            "is its own affair, and not counted above."
        )
    if missed := _missed(runs):
        parts += [missed]
    return "\n\n".join(parts)


def _summary(runs: Sequence[Record]) -> str:
    injected = sum(own["injected"] for run in runs for own in run["faults"])
    trials = sum(run.get("completed", 0) for run in runs)
    cancelled = sum(len(run.get("cancelled", ())) for run in runs)
    seeds = f"seeds {seed_ranges([int(run['seed']) for run in runs])}" if runs else "none"
    spared = sum(not any(own["injected"] for own in run["faults"]) for run in runs)
    bo = sum("strategy=bo" in run["options"] for run in runs)
    return (
        f"{len(runs)} runs ({seeds}; {bo} with `strategy=bo`, the others with `sobol`; {spared} ended before "
        f"their fault), {injected} faults, "
        f"{sum(run['starts'] for run in runs)} controllers, {trials} trials completed in "
        f"{sum(run.get('attempts', 0) for run in runs)} attempts, {cancelled} cancelled by `scancel` as "
        f"they should be. Results unlike an undisturbed trial's: {_count(runs, 'wrong')}; attempts of whose "
        f"end the journal says nothing: {_count(runs, 'unexplained')}."
    )


def seed_ranges(seeds: Sequence[int]) -> str:
    """Rising seeds as ranges: 0 to 4, 7."""
    first = [seed for seed in seeds if seed - 1 not in seeds]
    last = [seed for seed in seeds if seed + 1 not in seeds]
    pairs = zip(first, last, strict=True)
    return ", ".join(str(low) if low == high else f"{low} to {high}" for low, high in pairs)


def _rows(runs: Sequence[Record]) -> Iterable[Sequence[str]]:
    for name, fault in FAULTS.items():
        found = [
            run for run in runs if any(own["fault"] == name and own["injected"] for own in run["faults"])
        ]
        times = sum(own["fault"] == name and own["injected"] for run in runs for own in run["faults"])
        yield [fault.title, str(times), *_outcomes(found)]
    times = sum(own["injected"] for run in runs for own in run["faults"])
    yield ["**all runs**", str(times), *_outcomes(runs)]


def _outcomes(runs: Sequence[Record]) -> list[str]:
    if not runs:
        return ["-"] * 6
    seconds = [run["seconds"] for run in runs]
    lost, twice, scratch = (str(_count(runs, name)) for name in LISTS)
    unfinished = str(sum(not run["finished"] for run in runs))
    left = str(sum(abs(run.get("left", 0)) for run in runs))
    return [lost, twice, unfinished, scratch, left, f"{statistics.median(seconds):.0f}, {max(seconds):.0f}"]


def _count(runs: Sequence[Record], name: str) -> int:
    return sum(len(run.get(name, ())) for run in runs)


def _unusual(runs: Sequence[Record]) -> str:
    from benchmarks.reliability.inject import describe, is_clean

    return "\n".join(f"- {describe(run)}" for run in runs if not is_clean(run))


def _missed(runs: Sequence[Record]) -> str:
    found = [own for run in runs for own in run["faults"] if not own["injected"]]
    if not found:
        return ""
    notes = {str(own["note"]): sum(own["note"] == other["note"] for other in found) for own in found}
    told = "; ".join(f"{note}: {times}" for note, times in notes.items())
    return f"Drawn but not injected, and not counted above: {len(found)} ({told})."
