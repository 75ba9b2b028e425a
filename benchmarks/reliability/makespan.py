"""How well the GPUs are kept busy: `python -m benchmarks.reliability.makespan --help`.

64 trials of a log-normal length, 30 s on average, on 8 GPUs of a true one-machine Slurm cluster. The time
from the command to its end, everything included, against a perfect list scheduler over the same durations.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.records import RESULTS, Record, append, forget
from benchmarks.reliability.cluster import cluster
from benchmarks.reliability.durations import GPUS, drawn, lost_time, perfect_makespan
from benchmarks.reliability.inject import commit
from benchmarks.reliability.metered import Calls, drive
from benchmarks.reliability.study import StudyProcess
from benchmarks.table import rows_of
from slurm.devcluster.files import Options

FILE = "makespan.jsonl"
TRIALS, SECONDS, SIGMA = 64, 30.0, 0.7
LIMIT_S = 1500.0
OPTIONS = (
    "experiment=none",
    "report.automatic=false",
    "trainer=synthetic",
    "trainer.checkpoint_every_s=10",
    "cluster=slurm",
    "cluster.mem_gb=0.25",
)
MODES: dict[str, Callable[[int], int]] = {
    "refill=1": lambda size: 1,
    "refill=size/2": lambda size: size // 2,
    "lock step": lambda size: size,
}


@dataclass(frozen=True)
class Case:
    """One study.

    Args:
        mode: how its batches follow each other, of `MODES`.
        strategy: of the study.
        size: trials in flight.
        seed: of the study.
        trials: how many.
        mean_s: duration of one, on average.
        more: further overrides.
    """

    mode: str
    strategy: str
    size: int
    seed: int
    trials: int
    mean_s: float
    more: tuple[str, ...] = ()

    @property
    def overrides(self) -> list[str]:
        """All that the study is told."""
        return [
            *OPTIONS,
            f"trainer.seconds={self.mean_s}",
            f"trainer.sigma={SIGMA}",
            f"strategy={self.strategy}",
            f"study.seed={self.seed}",
            f"budget.trials={self.trials}",
            f"batch.size={self.size}",
            f"batch.refill={MODES[self.mode](self.size)}",
            *self.more,
        ]


def run(case: Case, folder: Path) -> Record:
    """The record of one study.

    Args:
        case: what to run.
        folder: for all that it makes; new.
    """
    calls, load = Calls(folder / "bin"), round(os.getloadavg()[0], 1)
    with cluster(folder / "cluster", Options()) as site:
        environment = {**site.environment, "PATH": calls.search_path}
        study = StudyProcess(folder / "studies", "makespan", case.overrides, environment, folder / "log")
        began = time.time()
        usage = drive(study, LIMIT_S)
    own = {**asdict(case), "commit": commit(), "load": load, "load_end": round(os.getloadavg()[0], 1)}
    own |= {"exit": usage.exit, "completed": study.completed, "seconds": round(usage.seconds, 2)}
    if study.completed < case.trials:
        return own
    work = drawn(study.paths)
    perfect, lost = perfect_makespan(work), lost_time(study.paths, work)
    return own | {
        "perfect_s": round(perfect, 2),
        "ratio": round(usage.seconds / perfect, 4),
        "first_s": round(lost["first"] - began, 2),
        "last_s": round(lost["last"] - began, 2),
        "within_s": round(lost["within"], 3),
        "between_s": round(lost["between"], 3),
        "cpu_s": round(usage.cpu_s, 2),
        "calls": calls.counted(),
    }


def section(records: list[Record]) -> str:
    """The part of the page; empty without records.

    Args:
        records: of this module's file.
    """
    wanted = {"trials": TRIALS, "completed": TRIALS, "mean_s": SECONDS, "more": []}
    whole = [own for own in records if all(own.get(name) == value for name, value in wanted.items())]
    if not whole:
        return ""
    order = {mode: number for number, mode in enumerate(MODES)}
    rows = [
        _row(own)
        for own in sorted(whole, key=lambda own: (own["strategy"] == "bo", order[own["mode"]], own["size"]))
    ]
    head = ["batches", "in flight", "makespan", "perfect", "ratio", "first start", "start-up", "gap", "end"]
    return f"{_INTRODUCTION}\n{rows_of([*head, 'load'], rows)}\n\n{_LEGEND}\n"


def _row(own: Record) -> list[str]:
    return [
        f"{own['mode']}, {own['strategy']}",
        str(own["size"]),
        f"{own['seconds']:.0f} s",
        f"{own['perfect_s']:.0f} s",
        f"**{own['ratio']:.3f}**",
        f"{own['first_s']:.1f} s",
        f"{own['within_s']:.2f} s",
        f"{own['between_s']:.2f} s",
        f"{own['seconds'] - own['last_s']:.1f} s",
        f"{own['load']:g} to {own['load_end']:g}",
    ]


_INTRODUCTION = f"""## Makespan

{TRIALS} trials of a log-normal length (mean {SECONDS:g} s, sigma {SIGMA:g}) on {GPUS} GPUs,
from the command to its end:
start of the controller, proposals, Slurm's scheduling, start of each trial, the controller's last look.
A perfect list scheduler starts the same durations in the same order with no delay at all.
"""

_LEGEND = f"""More trials are in flight than there are GPUs,
so that the next one waits in the queue when a GPU gets free:
the time that the controller takes to notice a result and to propose another then costs nothing.
"Start-up" is, of each trial, the time from the start of its process to its result, beyond its work.
"Gap" is the time from a result to the start of the next process on the same GPU:
the end of the process, Slurm's next scheduling pass (every 2 s on this cluster), srun,
and idle time wherever fewer trials wait than GPUs get free, as in lock step.
"End" is the time from the last result to the end of the command.
All {GPUS} GPUs share two cores with the controller and with slurmctld,
so that {GPUS} trials that start at once wait for each other, as they do not on nodes of their own.
"Load" is the machine's at the start and at the end."""


def main() -> int:
    """Measure and record; 1 if a study did not come to its end."""
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument("--modes", nargs="+", choices=list(MODES), default=list(MODES))
    own.add_argument("--strategies", nargs="+", default=["sobol"], help="such as sobol, bo")
    own.add_argument("--sizes", type=int, nargs="+", default=[12], help="trials in flight")
    own.add_argument("--seed", type=int, default=0)
    own.add_argument("--trials", type=int, default=TRIALS)
    own.add_argument("--seconds", type=float, default=SECONDS, help="mean duration of a trial")
    own.add_argument("--set", nargs="+", default=[], help="further overrides, to try things")
    own.add_argument("--out", type=Path, default=RESULTS, help="the folder of the results")
    own.add_argument("--dry", action="store_true", help="record nothing")
    options = own.parse_args()
    good = True
    for strategy in options.strategies:
        for size in options.sizes:
            for mode in options.modes:
                settings = (mode, strategy, size, options.seed, options.trials, options.seconds)
                with tempfile.TemporaryDirectory(prefix="makespan-") as folder:
                    record = run(Case(*settings, tuple(options.set)), Path(folder))
                good = good and record["completed"] == options.trials
                print(record, flush=True)
                if not options.dry:
                    names = ("mode", "strategy", "size", "seed", "trials", "mean_s")
                    forget(options.out / FILE, [{name: record[name] for name in names}])
                    append(options.out / FILE, record)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
