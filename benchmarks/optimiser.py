"""Optimisers side by side on known problems: `python -m benchmarks.optimiser --help`.

Every run (problem, optimiser, seed) is a process of its own on one thread, and one line of the results. A run
that is there already, by the same version of the optimiser, is not repeated: so a stopped benchmark goes on
where it was. This project's optimiser of another commit is `old`, run from a checkout of it:

    python -m benchmarks.optimiser --half reporting --optimisers ours,old --checkout ../before --seeds 2

The protocol is in `benchmarks.run`, the page is made by `benchmarks.page`. With `scaling` as the first
argument, asks with many trials told are measured instead: see `benchmarks.scaling`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.peers import BELIEVERS, COMPARED, PEERS, peer_version
from benchmarks.problems import HALVES, PROBLEMS
from benchmarks.records import (
    CHECKOUTS,
    RESULTS,
    ROOT,
    Record,
    append,
    commit_of,
    file_of,
    forget,
    in_process,
    key,
    read_runs,
)

DEFAULT = tuple(name for name in COMPARED if name != "old")


def run_all(todo: Sequence[Record], run: Callable[[Record], Record], folder: Path, jobs: int) -> None:
    """Run what is to do, `jobs` at a time, and append each record as soon as it is known."""
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(jobs) as pool:
        task = progress.add_task("runs", total=len(todo))
        waiting = [pool.submit(run, settings) for settings in todo]
        try:
            for future in as_completed(waiting):
                record = future.result()
                append(folder / file_of(record["peer"]), record)
                console.print(_line(record), style="red" if "error" in record else "dim", highlight=False)
                progress.advance(task)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise


def _line(record: Record) -> str:
    named = " ".join(str(record[name]) for name in ("problem", "peer", "seed"))
    told = record.get("error") or f"{record.get('curve', [float('nan')])[-1]:.4g}"
    return f"{named}: {told} in {record['wall_s']:.0f} s"


def wanted(options: argparse.Namespace) -> list[Record]:
    """The settings of the runs that were asked for, seed by seed."""
    return [
        {"problem": problem, "peer": peer, "seed": seed, "trials": options.trials, "batch": options.batch}
        for seed in options.seeds
        for problem in options.problems or HALVES.get(options.half, PROBLEMS)
        for peer in options.peers
    ]


def not_done(runs: Iterable[Record], folder: Path) -> list[Record]:
    """Those without a record of this version of their optimiser."""
    have = {key(own) for own in read_runs(folder)}
    return [own for own in runs if key(own | {"version": peer_version(own["peer"])}) not in have]


def names_of(known: Collection[str]) -> Callable[[str], list[str]]:
    """An argument's type: names with commas between them, each one known."""

    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(known)}, got {', '.join(unknown)}")
        return names

    return parse


def seeds_of(text: str) -> list[int]:
    """A count, or the seeds themselves with commas between them."""
    return [int(part) for part in text.split(",") if part] if "," in text else list(range(int(text)))


def parser() -> argparse.ArgumentParser:
    """The options."""
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    problems, peers = list(PROBLEMS), list(PEERS)
    own.add_argument("--half", choices=list(HALVES), help="the problems of one half")
    own.add_argument("--problems", type=names_of(problems), help=", ".join(problems))
    own.add_argument(
        "--optimisers", dest="peers", type=names_of(peers), default=[*DEFAULT], help=", ".join(peers)
    )
    own.add_argument("--checkout", type=Path, help="where `old` is checked out")
    own.add_argument("--seeds", type=seeds_of, default=seeds_of("5"), help="how many, or which: 0,3 or 4,")
    own.add_argument("--trials", type=int, default=50)
    own.add_argument("--batch", type=int, default=4)
    own.add_argument("--jobs", type=int, default=1, help="runs at the same time, one thread each")
    own.add_argument("--limit", type=float, default=3600.0, help="seconds a run may take")
    own.add_argument("--out", type=Path, default=RESULTS, help="the folder of the results")
    own.add_argument("--redo", type=names_of(peers), default=[], help="optimisers to run again")
    own.add_argument("--table", action="store_true", help="only make the page, from all results")
    return own


def _run(settings: Record, options: argparse.Namespace) -> Record:
    """The record of one run; with the commit, of an optimiser that is this project's."""
    checkout = options.checkout if settings["peer"] == "old" else ROOT
    record = in_process("benchmarks.run", settings, options.limit, checkout)
    return record | ({"commit": commit_of(checkout)} if settings["peer"] in (*CHECKOUTS, *BELIEVERS) else {})


def make_page(folder: Path) -> None:
    """Write the page and its pictures, and say where they are."""
    from benchmarks.page import write_page  # matplotlib

    for path in write_page(folder, ROOT / "docs"):
        print(path)


def main() -> None:
    """Run what is missing, then make the page."""
    if sys.argv[1:2] == ["scaling"]:
        from benchmarks.scaling import main as scaling

        scaling(sys.argv[2:])
        return
    options = parser().parse_args()
    if "old" in options.peers and not options.checkout:
        parser().error("--optimisers old: expected --checkout DIR as well, got none")
    if not options.table:
        if absent := [peer for peer in options.peers if not peer_version(peer)]:
            Console(stderr=True).print(f"not installed, left out: {', '.join(absent)}", style="yellow")
            options.peers = [peer for peer in options.peers if peer not in absent]
        runs = wanted(options)
        for peer in options.redo:
            forget(options.out / file_of(peer), [own for own in runs if own["peer"] == peer])
        todo = not_done(runs, options.out)
        run_all(todo, lambda own: _run(own, options), options.out, options.jobs)
    make_page(options.out)


if __name__ == "__main__":
    main()
