"""What a study costs the scheduler and the login node: `python -m benchmarks.reliability.politeness --help`.

Requests to slurmctld for each look at the queue, by its own count, with 10, 100 and 1,000 elements in it; CPU
seconds and peak memory of the controller of a study of 200 short trials.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.records import RESULTS, Record, append, forget
from benchmarks.reliability.cluster import cluster
from benchmarks.reliability.inject import commit
from benchmarks.reliability.metered import Calls, drive
from benchmarks.reliability.polling import measure
from benchmarks.reliability.study import StudyProcess
from benchmarks.table import rows_of
from slurm.devcluster.files import Options

FILE = "politeness.jsonl"
SIZES = (10, 100, 1000)
PLACES = ("login", "job")
TRIALS = 200
LIMIT_S = 3000.0
OPTIONS = (
    "experiment=none",
    "report.automatic=false",
    "trainer=synthetic",
    "trainer.seconds=0.8",
    "trainer.sigma=0.3",
    "strategy=bo",
    "batch.size=16",
    "batch.refill=8",
    "cluster=slurm",
    "cluster.mem_gb=0.25",
    "cluster.helper.mem_gb=2",
)


def polls(elements: int, folder: Path) -> Record:
    """The record of the looks at a queue with so many elements.

    Args:
        elements: that wait there.
        folder: for all that it makes; new.
    """
    record: Record = {"what": "polls", "commit": commit(), "load": round(os.getloadavg()[0], 1)}
    with cluster(folder / "cluster", Options()) as site:
        return record | measure(site.layout, folder / "studies", elements)


def study(place: str, trials: int, folder: Path) -> Record:
    """The record of one study.

    Args:
        place: where it proposes: login or job.
        trials: how many.
        folder: for all that it makes; new.
    """
    record: Record = {"what": "study", "commit": commit(), "load": round(os.getloadavg()[0], 1)}
    calls = Calls(folder / "bin")
    settings = [*OPTIONS, f"budget.trials={trials}", f"controller.propose_on={place}"]
    with cluster(folder / "cluster", Options()) as site:
        environment = {**site.environment, "PATH": calls.search_path}
        own = StudyProcess(folder / "studies", "polite", settings, environment, folder / "log")
        usage = drive(own, LIMIT_S)
    replayed = own.study
    return record | {
        "place": place,
        "trials": trials,
        "exit": usage.exit,
        "completed": own.completed,
        "seconds": round(usage.seconds, 1),
        "cpu_s": round(usage.cpu_s, 1),
        "peak_mib": round(usage.peak_mib),
        "arrays": len(replayed.batches) if replayed else 0,
        "helpers": replayed.requests if replayed else 0,
        "calls": calls.counted(),
    }


def section(records: list[Record]) -> str:
    """The part of the page; empty without records.

    Args:
        records: of this module's file.
    """
    looks = sorted((own for own in records if own.get("what") == "polls"), key=lambda own: own["elements"])
    studies = [own for own in records if own.get("what") == "study" and own["trials"] == TRIALS]
    parts = [_looks(looks)] if looks else []
    parts += [_studies(sorted(studies, key=lambda own: PLACES.index(own["place"])))] if studies else []
    return "\n".join([_HEAD, *parts]) if parts else ""


def _looks(records: list[Record]) -> str:
    rows = [
        [
            f"{own['elements']:,}",
            f"**{sum(own['rpcs'].values()):g}**",
            ", ".join(f"{count:g} {name}" for name, count in own["rpcs"].items()),
            f"{own['cpu_ms']:.0f} ms",
        ]
        for own in records
    ]
    head = ["elements in the queue", "requests a look", "which", "CPU a look"]
    return f"{_LOOKS}\n{rows_of(head, rows)}\n"


def _studies(records: list[Record]) -> str:
    rows = [
        [
            own["place"],
            f"{own['cpu_s']:.1f} s",
            f"{own['peak_mib']:.0f} MiB",
            f"{own['seconds']:.0f} s",
            str(own["arrays"]),
            str(own["helpers"]),
            *(str(own["calls"].get(name, 0)) for name in ("sbatch", "squeue", "scontrol", "sacct")),
            f"{own['load']:g}",
        ]
        for own in records
    ]
    head = ["`propose_on`", "CPU", "peak memory", "makespan", "arrays", "helper jobs"]
    return f"{_STUDIES}\n{rows_of([*head, 'sbatch', 'squeue', 'scontrol', 'sacct', 'load'], rows)}\n"


_HEAD = "## Politeness\n"
_LOOKS = """Requests that slurmctld counts (`sdiag`) for one pass of the controller that asks it,
with one array of so many elements waiting in the queue; CPU of the controller and its `squeue` together.
"""
_STUDIES = f"""A study of {TRIALS} trials of 0.8 s with strategy `bo`,
16 in flight, a new array whenever 8 are done.
CPU (with that of the client programs that it calls) and peak memory are of the controller;
with `propose_on=job` the fits are in the helper jobs, on a compute node, and not counted here.
"""


def main() -> int:
    """Measure and record; 1 if a study did not come to its end."""
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument("--sizes", type=int, nargs="*", default=list(SIZES), help="elements in the queue")
    own.add_argument("--places", nargs="*", choices=PLACES, default=list(PLACES), help="propose_on")
    own.add_argument("--trials", type=int, default=TRIALS, help="of each study")
    own.add_argument("--out", type=Path, default=RESULTS, help="the folder of the results")
    own.add_argument("--dry", action="store_true", help="record nothing")
    options = own.parse_args()
    good = True
    for wanted in [*options.sizes, *options.places]:
        with tempfile.TemporaryDirectory(prefix="polite-") as folder:
            if isinstance(wanted, int):
                record, same = polls(wanted, Path(folder)), {"what": "polls", "elements": wanted}
            else:
                record = study(wanted, options.trials, Path(folder))
                same = {"what": "study", "place": wanted, "trials": options.trials}
                good = good and record["completed"] == options.trials
        print(record, flush=True)
        if not options.dry:
            forget(options.out / FILE, [same])
            append(options.out / FILE, record)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
