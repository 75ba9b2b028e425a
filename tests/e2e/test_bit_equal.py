"""An interrupted fine-tune of the demo model ends with the same bits as an undisturbed one."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conditions import wait_until
from study_runs import StudyRun
from times import TIMES

from hpo.records import TrialResult, read_jsonl
from slurm.devcluster import cluster as devcluster
from slurm.devcluster.files import Layout, Options

pytestmark = [pytest.mark.slow, pytest.mark.slurm]

STEPS = 10
# The trial stands for any of the demo: 4-bit weights, dropout, warm-up, all target modules.
OPTIONS = [
    "budget.trials=1", "batch.size=1", "batch.refill=1", f"trainer.max_steps={STEPS}",
    "trainer.checkpoint_every_s=2", "trainer.lora_dropout=0.1", "data.train_examples=40",
    "data.validation_examples=8", "controller.poll_seconds=1", "controller.gone_seconds=5",
    "cluster.mem_gb=8",
]  # fmt: skip


@pytest.fixture
def one_node(require_slurm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Layout]:
    """A cluster of one node, on which an urgent job preempts whatever runs, without a grace period."""
    layout = devcluster.up(tmp_path / "cluster", Options(nodes=1))
    monkeypatch.setenv("SLURM_CONF", str(layout.configuration))
    yield layout
    devcluster.down(tmp_path / "cluster")


def _outcome(run: StudyRun) -> tuple[dict[str, float], str]:
    """All metrics but times, and the hash of the adapter."""
    files = run.paths.trial("0000")
    metrics = TrialResult.read(files.metrics).metrics
    same = {name: metric.value for name, metric in metrics.items() if name not in TIMES}
    adapter = (files.adapter / "adapter_model.safetensors").read_bytes()
    return same, hashlib.sha256(adapter).hexdigest()


def _interrupted_after(run: StudyRun, step: int, interrupt: str) -> None:
    """Run the study, and once the trial has done a step, preempt or kill it."""
    controller = run.start()
    log = run.paths.trial("0000").progress
    wait_until(lambda: any(line["step"] >= step for line in read_jsonl(log)), 400)
    if interrupt == "kill":
        os.kill(run.process("0000"), signal.SIGKILL)
    else:
        urgent = ["--partition=urgent", "--exclusive", "--mem=1", "--wrap=sleep 1", "--output=/dev/null"]
        subprocess.run(["sbatch", *urgent], check=True, capture_output=True)
    output, _ = controller.communicate(timeout=500)
    assert controller.returncode == 0, output
    assert run.attempts() == {"0000": 2}


def test_preempted_and_killed_trials_end_with_the_same_bits(one_node: Layout, tmp_path: Path) -> None:
    """Preempted once, and killed at a random step once: metrics and adapter are those of a run in peace."""
    undisturbed = StudyRun(tmp_path / "studies", "undisturbed", [*OPTIONS, "cluster=slurm"])
    undisturbed.finish(timeout_s=500)
    for interrupt, step in (("preempt", STEPS // 2), ("kill", random.randint(2, STEPS - 2))):
        run = StudyRun(tmp_path / "studies", interrupt, [*OPTIONS, "cluster=slurm"])
        _interrupted_after(run, step, interrupt)
        assert _outcome(run) == _outcome(undisturbed), f"{interrupt} at step {step}"
