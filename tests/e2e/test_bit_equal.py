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
from conditions import PATIENCE_S, wait_until
from study_runs import StudyRun
from times import TIMES

from hpo.records import TrialResult, read_jsonl
from slurm.devcluster import cluster as devcluster
from slurm.devcluster.files import Layout, Options

pytestmark = [pytest.mark.slow, pytest.mark.slurm, pytest.mark.long(150)]

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


def _wait_for(run: StudyRun, attempt: int, step: int) -> None:
    log = run.paths.trial("0000").progress
    wait_until(
        lambda: any((line["attempt"], line["step"]) >= (attempt, step) for line in read_jsonl(log)), 400
    )


def test_a_preempted_and_killed_trial_ends_with_the_same_bits(one_node: Layout, tmp_path: Path) -> None:
    """Preempted once, then killed at a random step: metrics and adapter are those of a run in peace."""
    undisturbed = StudyRun(tmp_path / "studies", "undisturbed", [*OPTIONS, "cluster=slurm"])
    undisturbed.finish()
    run = StudyRun(tmp_path / "studies", "interrupted", [*OPTIONS, "cluster=slurm"])
    controller = run.start()
    preempt, kill = random.randint(2, STEPS // 2), random.randint(STEPS // 2 + 1, STEPS - 2)
    _wait_for(run, 1, preempt)
    urgent = ["--partition=urgent", "--exclusive", "--mem=1", "--wrap=sleep 1", "--output=/dev/null"]
    subprocess.run(["sbatch", *urgent], check=True, capture_output=True)
    _wait_for(run, 2, kill)
    os.kill(run.process("0000"), signal.SIGKILL)
    output, _ = controller.communicate(timeout=PATIENCE_S)
    assert controller.returncode == 0, output
    assert run.attempts() == {"0000": 3}
    assert _outcome(run) == _outcome(undisturbed), f"preempted at step {preempt}, killed at step {kill}"
