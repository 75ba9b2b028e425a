"""CPU seconds of one ask of 4 when n trials are told: `python -m benchmarks.optimiser scaling`.

The trials are random points, the same for every optimiser, told by its own way to attach what was tried
elsewhere; failing ones as failures. Each (problem, optimiser, n) is a process on one thread. An ask over the
limit is cut off, and larger n are not tried.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.peers import MODEL_BASED, Peer, make_peer, peer_version
from benchmarks.problems import PROBLEMS, Problem, make
from benchmarks.records import ASKS, RESULTS, Record, append, forget, in_process, key, read_records
from benchmarks.run import fix_seeds, peak_rss_mib

COUNT = 4
SIZES = (50, 200, 500, 2000)
_KEY = ("problem", "peer", "version", "told")
_WARM_UP = 12


def attach_random(problem: Problem, optimiser: Peer, count: int) -> None:
    """Tell `count` points, uniform in the unit cube, with the noise of the problem."""
    generator = np.random.default_rng(0)
    for number in range(count):
        units = generator.random(len(problem.space))
        params = {
            name: own.from_unit(float(unit))
            for (name, own), unit in zip(problem.space.items(), units, strict=True)
        }
        values = problem.evaluate(params)
        optimiser.attach(params, values and problem.observe(values, 0, number))


def _with_told(problem: Problem, peer: str, count: int) -> Peer:
    """An optimiser past its initial design of one point, which SMAC asks for whatever else it was told."""
    optimiser = make_peer(peer, problem, 0, initial=1)
    for asked in optimiser.ask(1):
        values = problem.evaluate(asked.params)
        if values is None:
            optimiser.tell_failure(asked)
        else:
            optimiser.tell(asked, values)
    attach_random(problem, optimiser, count - 1)
    return optimiser


def measure(problem: str, peer: str, told: int, limit_s: float) -> Record:
    """The record of one ask; the process dies where it takes more CPU seconds than the limit.

    An ask with few trials told comes first, so that imports do not count.
    """
    fix_seeds(0)
    function = make(problem)
    record: Record = {"problem": problem, "peer": peer, "version": peer_version(peer), "told": told}
    _with_told(function, peer, _WARM_UP).ask(1)
    started = time.process_time()
    optimiser = _with_told(function, peer, told)
    record["attach_cpu_s"] = round(time.process_time() - started, 2)
    print(json.dumps(record | {"over_s": limit_s, "peak_rss_mib": peak_rss_mib()}), flush=True)
    signal.setitimer(signal.ITIMER_PROF, limit_s)  # its signal ends the process
    started = time.process_time()
    optimiser.ask(COUNT)
    seconds = time.process_time() - started
    signal.setitimer(signal.ITIMER_PROF, 0)
    return record | {"ask_cpu_s": round(seconds, 2), "peak_rss_mib": peak_rss_mib()}


def _measure_sizes(path: Path, settings: Record, sizes: list[int], limit_s: float) -> None:
    done = {key(own, _KEY): own for own in read_records(path)}
    version = peer_version(settings["peer"])
    for told in sizes:
        own: Record = {**settings, "version": version, "told": told}
        record: dict[str, Any] | None = done.get(key(own, _KEY))
        if record is None:
            arguments = {**settings, "told": told, "limit_s": limit_s}
            record = own | in_process("benchmarks.scaling", arguments, 20 * limit_s)
            append(path, record)
        text = f"{record['ask_cpu_s']} s" if "ask_cpu_s" in record else "cut off"
        Console(stderr=True).print(f"{settings['problem']} {settings['peer']} {told}: {text}", style="dim")
        if "ask_cpu_s" not in record:
            return


def main(arguments: Sequence[str]) -> None:
    """Measure what is not in the results file, then make the page."""
    from benchmarks.optimiser import make_page, names_of

    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    peers = list(MODEL_BASED)
    own.add_argument("--problems", type=names_of(list(PROBLEMS)), default=["qlora", "zdt1"])
    own.add_argument("--peers", type=names_of(peers), default=peers, help=", ".join(peers))
    own.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="how many trials are told")
    own.add_argument("--limit", type=float, default=120.0, help="CPU seconds an ask may take")
    own.add_argument("--out", type=Path, default=RESULTS, help="the folder of the results")
    own.add_argument("--redo", type=names_of(peers), default=[], help="optimisers to measure again")
    options = own.parse_args(arguments)
    forget(
        options.out / ASKS,
        [
            {"problem": problem, "peer": peer, "told": told}
            for problem in options.problems
            for peer in options.redo
            for told in options.sizes
        ],
    )
    for problem in options.problems:
        for peer in options.peers:
            if peer_version(peer):
                settings = {"problem": problem, "peer": peer}
                _measure_sizes(options.out / ASKS, settings, sorted(options.sizes), options.limit)
    make_page(options.out)


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1].startswith("{"):
        print(json.dumps(measure(**json.loads(sys.argv[1]))))
    else:
        main(sys.argv[1:])
