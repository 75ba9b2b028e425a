"""A whole study of an external program on the local executor, one of its trials warned on the way."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from conditions import PATIENCE_S, wait_until
from study_runs import StudyRun

from hpo.records import AttemptRecord, TrialResult, read_jsonl


@pytest.mark.slow
def test_a_program_is_tuned_and_resumes_from_its_own_checkpoint(tmp_path: Path) -> None:
    """Eight trials, the last four from the model; USR2 makes one save, and it goes on from there."""
    run = StudyRun(
        tmp_path / "studies",
        options=[
            "experiment=command",
            "cluster=local",
            "controller.poll_seconds=0.1",
            *("budget.trials=8", "batch.size=4", "batch.refill=2", "strategy.initial=4"),
            "space.steps=20000",
            "space.learning_rate='tag(log, interval(1e-3, 3e-2))'",  # none of them diverges
        ],
    )
    controller = run.start()
    warned = run.paths.trial("0000")
    wait_until((warned.program / "progress.jsonl").exists)
    os.kill(run.process("0000"), signal.SIGUSR2)
    output, _ = controller.communicate(timeout=PATIENCE_S)
    assert controller.returncode == 0, output
    assert "8 trials completed, 0 failed" in output
    assert "adapters" not in output
    assert run.attempts() == {f"{number:04d}": 1 for number in range(8)}
    assert [trial.origin for trial in run.study.trials.values()][-4:] == ["model"] * 4
    assert AttemptRecord.read(warned.attempt(1)).signals == ["USR2"]
    assert "saved at step" in warned.program_output.read_text()
    told = [line["step"] for line in read_jsonl(warned.program / "progress.jsonl")]
    assert told == sorted(set(told)), "a step was done twice"
    assert TrialResult.read(warned.metrics).metrics["train_seconds"].value > 0
