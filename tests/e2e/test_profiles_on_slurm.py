"""The site profiles of conf/cluster as they are, on a real one-machine Slurm cluster of pretended V100s."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from conditions import PATIENCE_S, wait_until
from study_runs import SYNTHETIC, StudyRun

from hpo.controller.assembly import assemble
from hpo.controller.compose import compose_config
from hpo.records import AttemptRecord
from hpo.study.gpu_hours import used
from slurm.devcluster.files import Layout

pytestmark = pytest.mark.slurm

FOUR = [f"{number:04d}" for number in range(4)]


def _study(tmp_path: Path, profile: str, seconds: float) -> StudyRun:
    """Four synthetic trials in one array, with a node's share of memory that this cluster has."""
    options = [*SYNTHETIC, f"cluster={profile}", "cluster.mem_gb=0.25", "controller.poll_seconds=0.5"]
    return StudyRun(tmp_path / "studies", options=[*options, "budget.trials=4", f"trainer.seconds={seconds}"])


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("profile", ["v100_16gb", "v100_32gb", "preemptable", "no_accounting"])
def test_the_scheduler_takes_what_a_profile_asks_for(profile: str, tmp_path: Path) -> None:
    """`sbatch --test-only`, with the profile's own CPUs, memory and GPUs."""
    raw, problems = compose_config([f"cluster={profile}", "trainer=synthetic", f"study.root={tmp_path}"])
    level, what, _ = assemble(raw, problems).executor.test_submit(name="test", folder="/tmp", count=4)
    assert (level, what) == ("ok", "sbatch --test-only: takes the request")


def test_a_study_on_a_preemptable_partition(tmp_path: Path, cluster: Layout) -> None:
    """Every node is taken back once: the same trials go on from their checkpoints, to four results."""
    run = _study(tmp_path, "preemptable", 30)
    controller = run.start("cluster.partition=batch", "cluster.max_parallel=4")
    wait_until(lambda: len(list(run.paths.trials.glob("*/attempts/1.json"))) == 4)
    urgent = "--partition=urgent --exclusive --nodes=4 --mem=1 --time=1 --wrap='sleep 3'"
    subprocess.run(f"sbatch {urgent}", shell=True, check=True, capture_output=True, cwd=run.root)
    output, _ = controller.communicate(timeout=PATIENCE_S)
    assert controller.returncode == 0, output
    assert run.completed() == FOUR
    second = [AttemptRecord.read(run.paths.trial(name).attempt(2)) for name in FOUR]
    assert min(attempt.from_step for attempt in second) > 0


def test_a_study_on_a_site_without_accounting(tmp_path: Path, cluster: Layout) -> None:
    """`sacct` fails here; trials complete, and GPU-hours come from what they say of themselves."""
    asked = subprocess.run(["sacct"], capture_output=True, text=True, check=False)
    assert asked.returncode != 0, "this cluster has accounting"
    run = _study(tmp_path, "no_accounting", 2)
    run.finish()
    assert run.completed() == FOUR
    assert run.attempts() == dict.fromkeys(FOUR, 1)
    assert used(run.study).hours > 4 * 1 / 3600
