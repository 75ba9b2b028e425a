"""What a study of ten thousand trials costs its controller: `python -m benchmarks.reliability.scale --help`.

On a simulated cluster of a thousand GPUs, whose whole computing is counted with the controller's.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.records import RESULTS, Record, append, forget
from benchmarks.reliability.inject import commit
from benchmarks.reliability.metered import drive
from benchmarks.reliability.study import StudyProcess
from benchmarks.table import rows_of
from hpo.records import read_jsonl
from hpo.study.gpu_hours import used
from hpo.study.state import Study

FILE = "scale.jsonl"
TRIALS, GPUS, GPUS_A_NODE = 10_000, 1000, 8
STOPPING = ("none", "asha")
LIMIT_S = 4 * 3600.0
OPTIONS = (
    "experiment=none",
    "report.automatic=false",
    "cluster=simulated",
    f"cluster.gpus_per_node={GPUS_A_NODE}",
    "cluster.preemptions_per_gpu_hour=0.05",
    "strategy=sobol",
    "trainer=synthetic",
    "trainer.seconds=3600",
    "trainer.step_seconds=60",
    "trainer.checkpoint_every_s=600",
)


def measure(stopping: str, trials: int, gpus: int, folder: Path) -> Record:
    """The record of one study.

    Args:
        stopping: `fidelity.stopping`.
        trials: how many.
        gpus: of the cluster; all of them are in use.
        folder: for all that it makes; new.
    """
    settings = [*OPTIONS, f"fidelity.stopping={stopping}", f"budget.trials={trials}", f"batch.size={gpus}"]
    settings.append(f"cluster.nodes={-(-gpus // GPUS_A_NODE)}")
    own = StudyProcess(folder / "studies", "scale", settings, {"OMP_NUM_THREADS": "1"}, folder / "log")
    load = round(os.getloadavg()[0], 1)
    usage = drive(own, LIMIT_S)
    if (study := own.study) is None:
        raise RuntimeError(own.log.read_text())
    return {
        "commit": commit(),
        "load": load,
        "stopping": stopping,
        "trials": trials,
        "gpus": gpus,
        "exit": usage.exit,
        "cpu_s": round(usage.cpu_s, 1),
        "peak_mib": round(usage.peak_mib),
        "seconds": round(usage.seconds),
        **_outcome(study, read_jsonl(own.paths.journal)),
    }


def _outcome(study: Study, events: list[Record]) -> Record:
    """What became of the trials, from the journal."""
    kinds = Counter(event["event"] for event in events)
    results = ("trial_completed", "trial_stopped", "trial_failed", "trial_cancelled")
    ends = Counter(event["trial"] for event in events if event["event"] in results)
    hours = used(study)
    return {
        "completed": kinds["trial_completed"],
        "stopped": kinds["trial_stopped"],
        "preempted": sum(str(end.cause) == "preempted" for end in study.ends),
        "lost": len(study.trials) - len(ends),
        "twice": sum(count > 1 for count in ends.values()),
        "gpu_hours": round(hours.hours),
        "gpu_hours_lost": round(hours.lost / 3600),
    }


def section(records: list[Record]) -> str:
    """The part of the page; empty without records."""
    rows = [
        [
            own["stopping"],
            f"{own['trials']:,}",
            f"{own['gpus']:,}",
            f"**{own['cpu_s'] / 60:.1f} min**",
            f"{own['peak_mib']:.0f} MiB",
            f"{own['completed']:,} / {own['stopped']:,}",
            f"{own['preempted']:,}",
            f"{own['lost']} / {own['twice']}",
            f"{own['gpu_hours']:,} / {own['gpu_hours_lost']:,}",
            f"{own['load']:g}",
        ]
        for own in sorted(records, key=lambda own: (STOPPING.index(own["stopping"]), own["trials"]))
    ]
    head = ["stopping", "trials", "GPUs", "CPU", "peak memory", "completed / stopped", "preempted"]
    head += ["lost / twice", "GPU-hours / lost", "load"]
    return f"{_TEXT}\n{rows_of(head, rows)}\n" if rows else ""


_TEXT = """## Scale

Trials of an hour on a simulated cluster, all of whose GPUs are in use, each preempted 0.05 times an hour.
CPU and peak memory are of the one process that is controller and cluster, with every file of every trial.
"Load" is the machine's at the start: beside other work the same study takes more CPU seconds.
"""


def main() -> int:
    """Measure and record; 1 if a trial was lost or counted twice."""
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument("--stopping", nargs="*", choices=STOPPING, default=list(STOPPING))
    own.add_argument("--trials", type=int, default=TRIALS, help="of each study")
    own.add_argument("--gpus", type=int, default=GPUS, help="of the cluster")
    own.add_argument("--root", type=Path, help="where the studies are made; a disk in memory spares waiting")
    own.add_argument("--out", type=Path, default=RESULTS, help="the folder of the results")
    own.add_argument("--dry", action="store_true", help="record nothing")
    options = own.parse_args()
    good = True
    for stopping in options.stopping:
        with tempfile.TemporaryDirectory(prefix="scale-", dir=options.root) as folder:
            record = measure(stopping, options.trials, options.gpus, Path(folder))
        good = good and record["exit"] == record["lost"] == record["twice"] == 0
        print(record, flush=True)
        if not options.dry:
            same = {"stopping": stopping, "trials": options.trials, "gpus": options.gpus}
            forget(options.out / FILE, [same])
            append(options.out / FILE, record)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
