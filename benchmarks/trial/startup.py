"""From the start of the process to the first step: `python -m benchmarks.trial.startup`.

A trial of one step of the demo study, once on an empty cache and then on the full one, in turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.records import RESULTS, Record, append, forget
from benchmarks.table import rows_of
from benchmarks.trial.page import write_part
from benchmarks.trial.scene import circumstances, measured, named, recipe_of, write_trial

FILE = "trial_startup.jsonl"
CACHES = {"cold": "empty cache", "warm": "full cache"}
ASKED = 0.5  # of the cold start


def measure(model: str | None, rounds: int, warm: int, threads: int) -> list[Record]:
    """A cold start and several warm ones on its cache, that several times; says each as it comes."""
    records = []
    recipe = recipe_of(model, {"validation_examples": 1}, {"max_steps": 1})
    for number in range(rounds):
        with tempfile.TemporaryDirectory(prefix="startup-") as folder:
            for place in range(warm + 1):
                write_trial(Path(folder) / "study", f"{place:04}", recipe, Path(folder) / "cache")
                own = measured("benchmarks.trial.ours", [str(Path(folder) / "study"), f"{place:04}"], threads)
                found = {"cache": "warm" if place else "cold", "round": number, "model": named(model)}
                kept = {name: own[name] for name in ("start_seconds", "start_cpu_s", "parts")}
                records.append({**found, **kept, **circumstances(threads)})
                print(f"{found['cache']}: {own['start_seconds']:.1f} s, {own['parts']}", flush=True)
    return records


def section(records: Sequence[Record]) -> str:
    """The part of the page."""
    runs = {cache: [own for own in records if own["cache"] == cache] for cache in CACHES}
    medians = {
        cache: statistics.median(own["start_seconds"] for own in found) for cache, found in runs.items()
    }
    own = records[-1]
    names = list(own["parts"])
    rows = [
        [
            CACHES[cache],
            f"**{medians[cache]:.1f} s**",
            f"{statistics.median(one['start_cpu_s'] for one in found):.1f} s",
            *(f"{statistics.median(one['parts'][name] for one in found):.1f} s" for name in names),
            str(len(found)),
        ]
        for cache, found in runs.items()
    ]
    loads = [one["load"] for one in records]
    about = (
        f"A start with a full cache takes **{medians['warm'] / medians['cold']:.2f}** of one with an empty "
        f"cache ({own['model']} model, {own['threads']} of {own['cores']} cores, load {min(loads):g} to "
        f"{max(loads):g}, commit {own['commit']}). Medians; the parts are those of the same starts."
    )
    return f"{about}\n\n{rows_of(['', 'to the first step', 'CPU', *names, 'starts'], rows)}"


def main() -> int:
    """Measure and record; 1 where the warm start is not short enough."""
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument("--model", help="folder of a model; the demo's if not given")
    own.add_argument("--rounds", type=int, default=3, help="empty caches")
    own.add_argument("--warm", type=int, default=2, help="starts on each cache once it is full")
    own.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    own.add_argument("--out", type=Path, default=RESULTS, help="the folder of the results")
    own.add_argument("--dry", action="store_true", help="record nothing")
    options = own.parse_args()
    records = measure(options.model, options.rounds, options.warm, options.threads)
    print(section(records))
    if not options.dry:
        forget(options.out / FILE, [{"model": named(options.model)}])
        for record in records:
            append(options.out / FILE, record)
        write_part("startup", options.out)
    seconds = {
        cache: statistics.median(one["start_seconds"] for one in records if one["cache"] == cache)
        for cache in CACHES
    }
    return 0 if seconds["warm"] <= ASKED * seconds["cold"] else 1


if __name__ == "__main__":
    sys.exit(main())
