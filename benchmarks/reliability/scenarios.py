"""Mishaps that were tried with other systems: `python -m benchmarks.reliability.scenarios --help`.

24 trials of a log-normal length, 6 s on average, on 8 GPUs of a true one-machine Slurm cluster: undisturbed,
preempted once on all nodes, the controller or one task killed with signal 9.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.records import RESULTS, Record, append, forget
from benchmarks.reliability.cluster import Cluster, cluster
from benchmarks.reliability.durations import GPUS, drawn, perfect_makespan
from benchmarks.reliability.inject import commit
from benchmarks.reliability.metered import Calls, Usage, drive
from benchmarks.reliability.outcome import left_in_queue, outcome
from benchmarks.reliability.scene import is_trial
from benchmarks.reliability.study import StudyProcess
from hpo.records import Lease, RecordError
from slurm.devcluster.files import Options

FILE = "scenarios.jsonl"
TRIALS = 24
KILL_AFTER = 6  # completed trials: 8 run then, and others wait
LIMIT_S = 600.0
OPTIONS = (
    "experiment=none",
    "report.automatic=false",
    "trainer=synthetic",
    "trainer.seconds=6",
    "trainer.sigma=0.5",
    "trainer.checkpoint_every_s=2",
    "strategy=sobol",
    f"budget.trials={TRIALS}",
    "batch.size=16",
    "batch.refill=1",
    "cluster=slurm",
    "cluster.mem_gb=0.25",
    "controller.poll_seconds=2",
    "controller.look_seconds=0.5",
    "controller.gone_seconds=5",
)
WAVE = ("sbatch", "--partition=urgent", "--exclusive", "--nodes=4", "--mem=1", "--time=1", "--wrap=sleep 3")

Process = subprocess.Popen[bytes]
# Asked again and again: does its harm once the moment is there, and returns whether it has.
Harm = Callable[[Cluster, StudyProcess, Process], bool]


def _preempt(site: Cluster, study: StudyProcess, controller: Process) -> bool:
    if len(list(study.paths.trials.glob("*/attempts/1.json"))) < GPUS:
        return False
    asked = site.ask(*WAVE, "--output=/dev/null")
    if not asked.ok:
        raise RuntimeError(asked.describe())
    return True


def _kill_controller(site: Cluster, study: StudyProcess, controller: Process) -> bool:
    if study.completed < KILL_AFTER:
        return False
    controller.kill()
    return True


def _kill_task(site: Cluster, study: StudyProcess, controller: Process) -> bool:
    if study.completed < KILL_AFTER:
        return False
    for path in sorted(study.paths.trials.glob("*/lease.json")):
        if (path.parent / "metrics.json").exists():
            continue
        with suppress(OSError, RecordError):
            pid = Lease.read(path).pid
            if is_trial(pid, study.paths.folder):
                os.kill(pid, signal.SIGKILL)
                return True
    return False


@dataclass(frozen=True)
class Scenario:
    """What happens to a study.

    Args:
        title: as the page shows it.
        harm: what is done, once; None: nothing.
        user_signal: whether the cluster sends USR2 before it preempts.
    """

    title: str
    harm: Harm | None = None
    user_signal: bool = False


SCENARIOS = {
    "undisturbed": Scenario("undisturbed"),
    "preempted": Scenario("one preemption wave, TERM only", _preempt),
    "preempted_signal": Scenario("one preemption wave, user signal first", _preempt, user_signal=True),
    "controller": Scenario("kill -9 of the controller, same command again", _kill_controller),
    "task": Scenario("kill -9 of one task", _kill_task),
}


def run(name: str, folder: Path, seed: int = 0, options: Sequence[str] = ()) -> Record:
    """The record of one study.

    Args:
        name: of the scenario.
        folder: for all that it makes; new.
        seed: of the study.
        options: further overrides.
    """
    scenario, load = SCENARIOS[name], round(os.getloadavg()[0], 1)
    calls = Calls(folder / "bin")
    with cluster(folder / "cluster", Options(user_signal=scenario.user_signal)) as site:
        environment = {**site.environment, "PATH": calls.search_path}
        settings = [*OPTIONS, f"study.seed={seed}", *options]
        study = StudyProcess(folder / "studies", name, settings, environment, folder / "log")
        done: list[bool] = []

        def look(controller: Process) -> None:
            if scenario.harm and not done and scenario.harm(site, study, controller):
                done.append(True)

        usage = drive(study, LIMIT_S, look)
        record = {"scenario": name, "seed": seed, "commit": commit(), "load": load, "harmed": bool(done)}
        return record | _counts(site, study) | _costs(study, usage, calls)


def _counts(site: Cluster, study: StudyProcess) -> Record:
    found, replayed = outcome(study.paths, TRIALS), study.study
    assert replayed is not None, "a study that ran to its end has a journal"
    return {
        "asked": TRIALS,
        "started": found.attempts,
        "idle": _idle_starts(study),
        "results": found.completed,
        "twice": len(found.twice),
        "wrong": len(found.wrong),
        "scratch": len(found.scratch),
        "left": left_in_queue(site, replayed),
        "open": len(replayed.in_flight) + len(found.unexplained),
        "finished": bool(replayed.finished),
    }


def _idle_starts(study: StudyProcess) -> int:
    """Tasks that Slurm started again and that found the result of their first start: no executions."""
    logs = study.paths.batches.glob("*/slurm/*.out")
    return sum(log.read_text(errors="replace").count(": nothing to do: ") for log in logs)


def _costs(study: StudyProcess, usage: Usage, calls: Calls) -> Record:
    perfect = perfect_makespan(drawn(study.paths))
    return {
        "exit": usage.exit,
        "starts": usage.starts,
        "seconds": round(usage.seconds, 2),
        "perfect_s": round(perfect, 2),
        "ratio": round(usage.seconds / perfect, 3),
        "first_trial_s": round(usage.first_trial_s or 0.0, 2),
        "cpu_s": round(usage.cpu_s, 2),
        "peak_mib": round(usage.peak_mib, 1),
        "calls": calls.counted(),
    }


def section(records: list[Record]) -> str:
    """The part of the page; empty without records.

    Args:
        records: of this module's file.
    """
    from benchmarks.reliability.scenarios_page import compose

    return compose([own for own in records if own.get("scenario") in SCENARIOS])


def main() -> int:
    """Run scenarios and record them; 1 if one did not end by itself with all results."""
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument("--only", nargs="+", choices=list(SCENARIOS), default=list(SCENARIOS))
    own.add_argument("--seeds", type=int, nargs="+", default=[0], help="one study of each scenario for each")
    own.add_argument("--set", nargs="+", default=[], help="further overrides of the studies, to try things")
    own.add_argument("--out", type=Path, default=RESULTS, help="the folder of the results")
    own.add_argument("--dry", action="store_true", help="record nothing")
    options = own.parse_args()
    good = True
    for name in options.only:
        for seed in options.seeds:
            with tempfile.TemporaryDirectory(prefix="scenario-") as folder:
                record = run(name, Path(folder), seed, options.set)
            good = good and record["finished"] and record["results"] == TRIALS
            print(record, flush=True)
            if not options.dry:
                forget(options.out / FILE, [{"scenario": name, "seed": seed}])
                append(options.out / FILE, record)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
