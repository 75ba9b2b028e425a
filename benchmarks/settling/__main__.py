"""When rules would end a study, what that saves and what is missed: `python -m benchmarks.settling --help`.

This project's optimiser runs 60 trials in batches of 4, and is not ended; `budget.settle=5`, as the
controller decides it, and the rules of Optuna and Ax are asked after every batch. Every run, and a peer's
rules on it, is a process of its own and one line of the results; what is there is not repeated. Peers need
only the recorded runs, so another interpreter, that has their packages, may add them: `--peers optuna,ax`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.optimiser import names_of, seeds_of
from benchmarks.peers import peer_version
from benchmarks.records import RESULTS, ROOT, Record, append, commit_of, in_process, key, read_records
from benchmarks.settling.cases import CASES
from benchmarks.settling.rules import OF_ONE_OBJECTIVE, PACKAGES
from benchmarks.settling.table import RUN, table

FILE = "settling.jsonl"


def wanted(options: argparse.Namespace) -> list[Record]:
    """What was asked for: of every run first the run itself, then the peers that can judge it."""
    return [
        {"problem": problem, "peer": peer, "seed": seed, "trials": options.trials, "batch": options.batch}
        for seed in options.seeds
        for problem in options.problems
        for peer in options.peers
        if peer not in OF_ONE_OBJECTIVE or len(CASES[problem]().problem.objectives) == 1
    ]


def done(settings: Record, have: list[Record]) -> bool:
    """Whether a record of this version of its package is there."""
    version = peer_version(PACKAGES[settings["peer"]])
    return key(settings | {"version": version}) in {key(own) for own in have}


def made(settings: Record, have: list[Record], limit_s: float) -> Record:
    """The record of a run, or of a peer's rules on one; with `error` where there is none."""
    if settings["peer"] == "ours":
        return in_process("benchmarks.settling.trace", settings, limit_s) | {"commit": commit_of(ROOT)}
    runs = [own for own in have if own["peer"] == "ours" and key(own, RUN) == key(settings, RUN)]
    if not runs:
        return settings | {"error": "the run is not there yet: --peers ours"}
    given = {"peer": settings["peer"], "trace": runs[-1]}
    record = in_process("benchmarks.settling.rules", given, limit_s)
    return settings | {name: value for name, value in record.items() if name != "trace"}


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options that were given."""
    own = argparse.ArgumentParser(
        prog="python -m benchmarks.settling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    settings: Mapping[str, Any] = {
        "problems": {"type": _quoted, "nargs": "*", "default": list(CASES), "help": "; ".join(CASES)},
        "peers": {"type": names_of(PACKAGES), "default": list(PACKAGES), "help": ", ".join(PACKAGES)},
        "seeds": {"type": seeds_of, "default": seeds_of("3"), "help": "how many, or which: 0,3 or 4,"},
        "trials": {"type": int, "default": 60},
        "batch": {"type": int, "default": 4},
        "limit": {"type": float, "default": 3600.0, "help": "seconds that a process may take"},
        "out": {"type": Path, "default": RESULTS, "help": "the folder of the results"},
    }
    for name, setting in settings.items():
        own.add_argument(f"--{name}", **setting)
    own.add_argument("--table", action="store_true", help="only print the table")
    return own.parse_args(arguments)


def _quoted(name: str) -> str:
    if name not in CASES:
        raise argparse.ArgumentTypeError(f"expected some of {'; '.join(CASES)}, got {name}")
    return name


def main() -> None:
    """Run what is missing, and print the table."""
    options = options_of()
    path = options.out / FILE
    if absent := [peer for peer in options.peers if not peer_version(PACKAGES[peer])]:
        print(f"not installed, left out: {', '.join(absent)}", file=sys.stderr)
        options.peers = [peer for peer in options.peers if peer not in absent]
    for settings in () if options.table else wanted(options):
        have = read_records(path)
        if not done(settings, have):
            record = made(settings, have, options.limit)
            print(*(record.get(name) for name in (*RUN, "peer", "stops", "error", "wall_s")), file=sys.stderr)
            if "error" not in record:
                append(path, record)
    print(table(read_records(path)))


if __name__ == "__main__":
    main()
