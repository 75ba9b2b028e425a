"""Runs published studies on a true one-machine Slurm cluster and writes their table into `docs/studies.md`.

Each is `experiment=NAME scale=demo` as a user types it, real fine-tunes of the demo's model, two at a time.
One of its trials is preempted by an urgent job, and has to go on from its checkpoint.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.published.outcome import GROUPS, PRESENT, outcome_of
from benchmarks.published.page import PAGE, write
from benchmarks.published.preempt import Preemption
from benchmarks.records import RESULTS, Record, append, forget
from benchmarks.reliability.cluster import cluster
from benchmarks.reliability.inject import commit
from benchmarks.reliability.study import StudyProcess
from slurm.devcluster.files import Options

FILE = "published.jsonl"
LIMIT_S = 3600.0


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for, one study after the other; each leaves a line in the results and in the table.

    Args:
        arguments: of the command line.

    Returns:
        0, or 1 when a study did not end or its preemption came to nothing.
    """
    asked = _parser().parse_args(arguments)
    results, failed = asked.results / FILE, 0
    for seed in asked.seeds:
        for name in asked.experiments:
            print(f"{time.strftime('%X')}  {name}, seed {seed}", flush=True)
            with tempfile.TemporaryDirectory(prefix="published-") as work:
                record = run(name, seed, asked.keep or Path(work), asked.set)
            print(f"          {PRESENT[record['experiment']](record)}", flush=True)
            failed += record["exit"] != 0 or not record["preempted"]
            forget(results, [{"experiment": name, "seed": seed}])
            append(results, record)
            write(results, asked.page)
    return 1 if failed else 0


def run(name: str, seed: int, folder: Path, more: list[str]) -> Record:
    """The record of one study and its arms.

    Args:
        name: of the experiment.
        seed: of the study.
        folder: for the cluster and the studies.
        more: further overrides.

    Returns:
        See `benchmarks.published.outcome.outcome_of`; `exit` is None where time ran out.
    """
    options = [f"experiment={name}", "scale=demo", f"seed={seed}", "cluster=slurm"]
    options += ["cluster.gres=gpu", "report.automatic=false"]
    load = round(os.getloadavg()[0], 1)
    with cluster(folder / "cluster", Options(nodes=2, user_signal=True, grace_s=20)) as site:
        log = folder / f"{name}-{seed}.log"
        study = StudyProcess(folder / "studies", f"{name}-s{seed}", [*options, *more], site.environment, log)
        preemption = Preemption(site, study)
        began = time.monotonic()
        preemption.start()
        code = study.drive(LIMIT_S)
        seconds = time.monotonic() - began
        preemption.join()
    if code != 0:
        print(log.read_text()[-3000:], file=sys.stderr)
    about = {"experiment": name, "seed": seed, "commit": commit(), "load": load, "exit": code}
    return about | {"seconds": round(seconds, 1)} | outcome_of(study.paths)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.published", description=__doc__)
    names = [name for group in GROUPS.values() for name in group]
    parser.add_argument(
        "experiments", nargs="*", default=names, choices=names, metavar="EXPERIMENT", help=", ".join(names)
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="overrides of each study")
    parser.add_argument("--keep", type=Path, help="folder for the studies, which else are deleted")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--page", type=Path, default=PAGE, help="page that gets the table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
