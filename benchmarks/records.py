"""The results: one JSON line a run, and the process that a run is.

Ours change with every commit and peers with their versions, so they have files of their own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
ASKS = "scaling.jsonl"
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
_KEY = ("problem", "peer", "version", "seed", "trials", "batch")

# `benchmarks` is imported from here before the other checkout comes first
_START = (
    "import runpy, sys, benchmarks; sys.path.insert(0, sys.argv.pop(1)); "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)
CHECKOUTS = ("ours", "old")  # optimisers that are this project's, of this checkout and of another

Record = dict[str, Any]


def read_records(path: Path) -> list[Record]:
    """The records of a file, a torn last line left out; none where there is no file."""
    records: list[Record] = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def key(record: Record, names: Sequence[str] = _KEY) -> tuple[Any, ...]:
    """What two records share if one makes the other superfluous."""
    return tuple(record.get(name) for name in names)


def file_of(peer: str) -> str:
    """The name of the results file of an optimiser: ours changes with every commit, so it has its own."""
    if peer.endswith("_belief"):
        return "beliefs.jsonl"
    return f"{peer}.jsonl" if peer in CHECKOUTS else "peers.jsonl"


def read_runs(folder: Path) -> list[Record]:
    """The runs of all results files, those that failed included."""
    return [own for name in (*CHECKOUTS, "_belief", "") for own in read_records(folder / file_of(name))]


def commit_of(checkout: Path) -> str:
    """The commit of a checkout, with a + where files differ from it; empty where git cannot tell."""
    asked = ["git", "-C", str(checkout), "describe", "--always", "--dirty=+", "--exclude=*", "--abbrev=7"]
    return subprocess.run(asked, capture_output=True, text=True).stdout.strip()


def append(path: Path, record: Record) -> None:
    """Add one line, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(record, separators=(",", ":")) + "\n")


def forget(path: Path, runs: Iterable[Record]) -> None:
    """Take runs out of a file: the records that agree with one of `runs` in all it says."""
    unwanted = list(runs)
    lines = [
        json.dumps(own, separators=(",", ":"))
        for own in read_records(path)
        if not any(all(own.get(name) == run[name] for name in run) for run in unwanted)
    ]
    if unwanted and path.exists():
        fresh = path.with_suffix(".tmp")
        fresh.write_text("".join(line + "\n" for line in lines))
        fresh.replace(path)


def in_process(module: str, settings: Record, limit_s: float, checkout: Path = ROOT) -> Record:
    """The record that `python -m module SETTINGS` prints, or the settings with an `error`.

    Args:
        checkout: whose `hpo` is imported; benchmarks are of this one.
    """
    start = [sys.executable, "-W", "ignore", "-c", _START, str(checkout), module]
    command = [*start, json.dumps(settings)]
    started = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | _ONE_THREAD, capture_output=True, text=True, timeout=limit_s
        )
    except subprocess.TimeoutExpired:
        record: Record = {**settings, "error": f"over {limit_s:g} s"}
    else:
        if done.returncode in (0, -signal.SIGPROF):  # that signal ends an ask of `benchmarks.scaling`
            record = json.loads(done.stdout.splitlines()[-1])
        else:
            record = {**settings, "error": (done.stderr.strip().splitlines() or ["no output"])[-1][:300]}
    return record | {"wall_s": round(time.monotonic() - started, 1)}
