"""One optimiser on one problem from one seed: `run("qlora", "ours", 0)`.

`python -m benchmarks.run '{"problem": "qlora", "peer": "ours", "seed": 0}'` prints the record as one line.
"""

from __future__ import annotations

import json
import random
import re
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.beliefs import believing
from benchmarks.peers import BELIEVERS, Asked, Peer, make_peer, peer_version
from benchmarks.problems import Problem, Values, make

INITIAL = 10
TRIALS = 50
BATCH = 4


@dataclass(frozen=True)
class Run:
    """What came of a run.

    Args:
        curve: the score on noiseless values after each trial, in the order of the proposals.
        ask_cpu_s: CPU seconds of every ask after the initial design.
        initial_cpu_s: CPU seconds of the ask of the initial design.
        failed: how many proposals failed after the initial design.
        failed_initial: how many of the initial design did.
        peak_rss_mib: of the whole process.
    """

    problem: str
    peer: str
    version: str
    seed: int
    trials: int
    batch: int
    curve: list[float]
    ask_cpu_s: list[float]
    initial_cpu_s: float
    failed: int
    failed_initial: int
    peak_rss_mib: float

    @property
    def end(self) -> float:
        """The score after the last trial."""
        return self.curve[-1]

    def to_json(self) -> dict[str, Any]:
        """The record, rounded: scores to 6 significant digits."""
        return asdict(self) | {"curve": [float(f"{value:.6g}") for value in self.curve]}


def peak_rss_mib() -> float:
    """The largest resident memory of this process so far; not that of its parent, as `getrusage` may give."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return round(int(found[1]) / 1024, 1) if found else float("nan")


def fix_seeds(seed: int) -> None:
    """Seed the global generators, which some optimisers draw from, and use one thread."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the global one is what they use


def timed_ask(optimiser: Peer, count: int) -> tuple[list[Asked], float]:
    """Proposals, and the CPU seconds they took.

    Raises:
        RuntimeError: none came.
    """
    started = time.process_time()
    proposed = optimiser.ask(count)
    if not proposed:
        raise RuntimeError(f"{type(optimiser).__name__} proposed nothing")
    return proposed, round(time.process_time() - started, 3)


def run(name: str, peer: str, seed: int, trials: int = TRIALS, batch: int = BATCH) -> Run:
    """Drive one optimisation to its end.

    Args:
        name: of `benchmarks.problems.PROBLEMS`.
        peer: of `benchmarks.peers.PEERS`.
        seed: of the optimiser and of the noise.
        trials: the budget, the initial design of 10 included.
        batch: proposals asked for before any is told.
    """
    fix_seeds(seed)
    problem = believing(name, BELIEVERS[peer]) if peer in BELIEVERS else make(name)
    optimiser = make_peer(peer, problem, seed, INITIAL)
    values: list[Values | None] = []
    asks: list[float] = []
    while len(values) < trials:
        proposed, seconds = timed_ask(optimiser, min(batch if values else INITIAL, trials - len(values)))
        asks.append(seconds)
        values += _evaluated(problem, optimiser, proposed, seed, len(values))
    failed = [row is None for row in values]
    return Run(
        name,
        peer,
        peer_version(peer),
        seed,
        trials,
        batch,
        problem.curve(values),
        asks[1:],
        asks[0],
        sum(failed[INITIAL:]),
        sum(failed[:INITIAL]),
        peak_rss_mib(),
    )


def _evaluated(
    problem: Problem, optimiser: Peer, proposed: list[Asked], seed: int, before: int
) -> list[Values | None]:
    """Noiseless values of the proposals, after the optimiser was told its own."""
    values = [problem.evaluate(asked.params) for asked in proposed]
    for number, (asked, row) in enumerate(zip(proposed, values, strict=True), before):
        if row is None:
            optimiser.tell_failure(asked)
        else:
            optimiser.tell(asked, problem.observe(row, seed, number))
    return values


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    print(json.dumps(run(settings.pop("problem"), settings.pop("peer"), **settings).to_json()))
