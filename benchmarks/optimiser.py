"""Optimisers side by side on known problems: `python -m benchmarks.optimiser --help`.

Every run (problem, optimiser, seed) is a process of its own on one thread, and one line of the results file.
A run that is there already, by the same version of the optimiser, is not repeated: so a stopped benchmark goes
on where it was. The protocol is in `benchmarks.run`, the page is made by `benchmarks.page`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.peers import PEERS, peer_version
from benchmarks.problems import PROBLEMS

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
RUNS = RESULTS / "runs.jsonl"
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
_KEY = ("problem", "peer", "version", "seed", "trials", "batch")

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


def append(path: Path, record: Record) -> None:
    """Add one line, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(record, separators=(",", ":")) + "\n")


def without(records: Iterable[Record], peers: Collection[str], problems: Collection[str]) -> list[Record]:
    """The records that stay when these optimisers' runs on these problems are to be done again."""
    return [own for own in records if own["peer"] not in peers or own["problem"] not in problems]


def rewrite(path: Path, records: Iterable[Record]) -> None:
    """Replace the file, whole or not at all."""
    fresh = path.with_suffix(".tmp")
    fresh.write_text("".join(json.dumps(own, separators=(",", ":")) + "\n" for own in records))
    fresh.replace(path)


def in_process(module: str, settings: Record, limit_s: float) -> Record:
    """The record that `python -m module SETTINGS` prints, or the settings with an `error`."""
    command = [sys.executable, "-W", "ignore", "-m", module, json.dumps(settings)]
    started = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | _ONE_THREAD, capture_output=True, text=True, timeout=limit_s
        )
        record: Record = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        record = {**settings, "error": f"over {limit_s:g} s"}
    except (json.JSONDecodeError, IndexError):
        record = {**settings, "error": (done.stderr.strip().splitlines() or ["no output"])[-1][:300]}
    return record | {"wall_s": round(time.monotonic() - started, 1)}


def run_all(todo: Sequence[Record], run: Callable[[Record], Record], path: Path, jobs: int) -> None:
    """Run what is to do, `jobs` at a time, and append each record as soon as it is known."""
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(jobs) as pool:
        task = progress.add_task("runs", total=len(todo))
        waiting = [pool.submit(run, settings) for settings in todo]
        try:
            for future in as_completed(waiting):
                record = future.result()
                append(path, record)
                console.print(_line(record), style="red" if "error" in record else "dim", highlight=False)
                progress.advance(task)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise


def _line(record: Record) -> str:
    named = " ".join(str(record[name]) for name in ("problem", "peer", "seed"))
    told = record.get("error") or f"{record.get('curve', [float('nan')])[-1]:.4g}"
    return f"{named}: {told} in {record['wall_s']:.0f} s"


def plan(options: argparse.Namespace, done: Iterable[Record]) -> list[Record]:
    """The settings of the runs that are not done, seed by seed."""
    have = {key(own) for own in done}
    settings = [
        {"problem": problem, "peer": peer, "seed": seed, "trials": options.trials, "batch": options.batch}
        for seed in options.seeds
        for problem in options.problems
        for peer in options.peers
    ]
    return [own for own in settings if key(own | {"version": peer_version(own["peer"])}) not in have]


def names_of(known: Collection[str]) -> Callable[[str], list[str]]:
    """An argument's type: names with commas between them, each one known."""

    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(
                f"expected some of {', '.join(known)}, got {', '.join(unknown)}"
            )
        return names

    return parse


def seeds_of(text: str) -> list[int]:
    """A count, or the seeds themselves with commas between them."""
    return [int(part) for part in text.split(",") if part] if "," in text else list(range(int(text)))


def parser() -> argparse.ArgumentParser:
    """The options."""
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    problems, peers = list(PROBLEMS), list(PEERS)
    own.add_argument("--problems", type=names_of(problems), default=problems, help=", ".join(problems))
    own.add_argument("--peers", type=names_of(peers), default=peers, help=", ".join(peers))
    own.add_argument("--seeds", type=seeds_of, default=seeds_of("5"), help="how many, or which: 0,3 or 4,")
    own.add_argument("--trials", type=int, default=50)
    own.add_argument("--batch", type=int, default=4)
    own.add_argument("--jobs", type=int, default=1, help="runs at the same time, one thread each")
    own.add_argument("--limit", type=float, default=3600.0, help="seconds a run may take")
    own.add_argument("--out", type=Path, default=RUNS, help="the results file")
    own.add_argument("--redo", type=names_of(peers), default=[], help="optimisers to run again")
    own.add_argument("--table", action="store_true", help="only make the page, from all results")
    return own


def main() -> None:
    """Run what is missing, then make the page."""
    options = parser().parse_args()
    if not options.table:
        if options.redo:
            rewrite(options.out, without(read_records(options.out), options.redo, options.problems))
        absent = [peer for peer in options.peers if not peer_version(peer)]
        if absent:
            Console(stderr=True).print(f"not installed, left out: {', '.join(absent)}", style="yellow")
            options.peers = [peer for peer in options.peers if peer not in absent]
        todo = plan(options, read_records(options.out))
        run_all(todo, lambda own: in_process("benchmarks.run", own, options.limit), options.out, options.jobs)


if __name__ == "__main__":
    main()
