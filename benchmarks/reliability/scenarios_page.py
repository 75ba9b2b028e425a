"""The tables of the scenarios: ours beside those that were measured for other systems."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

from benchmarks.records import Record
from benchmarks.reliability.scenarios import SCENARIOS
from benchmarks.table import rows_of

# Quoted: measured earlier on the same kind of cluster, 24 trials on 8 GPUs, log-normal sleeps of mean 6 s.
PEERS = ("Hydra + Optuna + submitit", "OmniOpt2", "Optuna 5, worker array", "Ax + submitit", "slurptuna")
QUOTED = {
    "ratio": ("1.95", "7.2", "1.36", "1.56", "1.69"),
    "preempted": (
        "32 / 24",
        "35+ / 15, new study from zero",
        "40 / 32, 8 RUNNING for ever",
        "27 / 24",
        "32 / 24, 5 run twice",
    ),
    "preempted_signal": (
        "sweep dies, or 8 false failures",
        "35+ / 15, new study from zero",
        "40 / 32, 8 RUNNING for ever",
        "loop dies, or 3 false failures",
        "not run",
    ),
    "controller": (
        "40 started, 8 RUNNING for ever",
        "from zero (with its continue flag: 24, 8 repeated)",
        "46 started",
        "36 started, from zero; with snapshots 8 RUNNING for ever",
        "38 started, new study",
    ),
    "task": (
        "sweep dies, 7 finished results dropped",
        "recorded as failed, goes on",
        "RUNNING for ever, 22 of 24",
        "loop dies",
        "retried once, 24",
    ),
    "cost": ("2.6 s, 147 MB", "5 + 27 s, 495 + 532 MB", "8 x 0.2 s", "9.4 s, 451 MB", "3.2 s, 81 MB"),
    "calls": ("3 / 0 / 11", "25 / 287 / 78", "1 / 0 / 0", "24 / 0 / 13", "48 / 0 / 214"),
    "first": ("4.2 s", "18 to 40 s", "1.3 s", "4.6 s", "3.6 s"),
}
TITLES = {
    "ratio": "makespan against a perfect list scheduler",
    "preempted": "one preemption wave, TERM only: executions started / results (24 asked)",
    "preempted_signal": "the same with the user signal on",
    "controller": "kill -9 of the controller, same command again",
    "task": "kill -9 of one task",
    "cost": "controller CPU, peak memory",
    "calls": "sbatch / squeue / sacct calls",
    "first": "first trial starts after",
}

_HEAD = """## The same mishaps, other systems

24 trials on 8 GPUs, log-normal durations of mean 6 s (sigma 0.5).
Ours are measured by `python -m benchmarks.reliability.scenarios`, whose records say how busy the machine was.
The other columns are quoted from an earlier measurement
on the same kind of one-machine cluster under load, and not measured again here:
counts are exact, times good to about 20%.
"RUNNING for ever": never closed in the tool's own record.
"""

_LEGEND = """An execution is an attempt that took up work.
A preempted trial goes on computing until it is killed, 3 s after TERM on this cluster,
and may have its result by then: Slurm starts its task again, which finds it and leaves ("idle starts").
A preempted trial restarts from scratch in all of the other systems;
here it goes on from its checkpoint ("from scratch": attempts that began at step 0 although one was there).
"Twice" are results counted more than once, "wrong" those that an undisturbed trial would not have had.
"Left" are tasks in the queue after the end, "open" trials or attempts without an end in the journal.
Controller CPU includes the client programs that it calls.
"""


def compose(records: list[Record]) -> str:
    """Both tables; empty without records of an undisturbed study.

    Args:
        records: the last of each scenario and seed.
    """
    runs = {name: [own for own in records if own["scenario"] == name] for name in SCENARIOS}
    if not runs["undisturbed"]:
        return ""
    return f"{_HEAD}\n{_beside(runs)}\n\n### Ours in detail\n\n{_LEGEND}\n{_detail(runs)}\n"


def _beside(runs: dict[str, list[Record]]) -> str:
    rows = [
        [TITLES[name], f"**{_ours(name, runs)}**", *quoted]
        for name, quoted in QUOTED.items()
        if _has(name, runs)
    ]
    return rows_of(["", "**Frontrunner**", *PEERS], rows)


def _has(name: str, runs: dict[str, list[Record]]) -> bool:
    return name not in SCENARIOS or bool(runs[name])


def _ours(name: str, runs: dict[str, list[Record]]) -> str:
    if name in SCENARIOS:
        return _distinct(f"{own['started']} / {own['results']}" for own in runs[name])
    calm = runs["undisturbed"]
    if name == "ratio":
        return _spread([own["ratio"] for own in calm], "{:.2f}")
    if name == "cost":
        memory = max(own["peak_mib"] for own in calm) * 2**20 / 1e6
        return f"{_median(calm, 'cpu_s'):.1f} s, {memory:.0f} MB"
    if name == "calls":
        return _distinct(_calls(own) for own in calm)
    return f"{_median(calm, 'first_trial_s'):.1f} s"


def _calls(own: Record) -> str:
    return " / ".join(str(own["calls"].get(name, 0)) for name in ("sbatch", "squeue", "sacct"))


def _median(records: Sequence[Record], name: str) -> float:
    return statistics.median(float(own[name]) for own in records)


def _spread(values: Sequence[float], form: str) -> str:
    middle = form.format(statistics.median(values))
    return (
        f"{middle} ({form.format(min(values))} to {form.format(max(values))})" if len(values) > 1 else middle
    )


def _distinct(texts: Iterable[str]) -> str:
    return "; ".join(sorted(set(texts)))


def _detail(runs: dict[str, list[Record]]) -> str:
    head = ["", "studies", "started / results", "idle starts", "from scratch", "twice, wrong", "left, open"]
    head += ["ended by itself", "makespan / perfect", "controller CPU", "load"]
    rows = [[SCENARIOS[name].title, *_row(found)] for name, found in runs.items() if found]
    return rows_of(head, rows)


def _row(found: list[Record]) -> list[str]:
    def each(form: Callable[[Record], object]) -> str:
        return _distinct(str(form(own)) for own in found)

    def total(name: str) -> str:
        return str(sum(own[name] for own in found))

    return [
        str(len(found)),
        each(lambda own: f"{own['started']} / {own['results']}"),
        each(lambda own: own["idle"]),
        total("scratch"),
        f"{total('twice')}, {total('wrong')}",
        f"{total('left')}, {total('open')}",
        f"{sum(own['finished'] and own['exit'] == 0 for own in found)} of {len(found)}",
        _spread([own["ratio"] for own in found], "{:.2f}"),
        f"{_median(found, 'cpu_s'):.1f} s",
        each(lambda own: f"{own['load']:g}"),
    ]
