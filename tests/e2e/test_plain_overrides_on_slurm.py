"""Plain overrides on a preset, a site's own profile and first trials given in part, on a real cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
from conditions import PATIENCE_S
from study_runs import SYNTHETIC, StudyRun

from hpo.study.journal import load_study
from slurm.devcluster.files import Layout

pytestmark = pytest.mark.slurm

SITE = "defaults:\n  - slurm\n  - _self_\n\nmem_gb: 0.25\ntime_limit: '0:10:00'\n"


def test_a_study_by_plain_overrides(cluster: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strategy and batch size alone, a profile found by the environment, and a trial given by one value."""
    (tmp_path / "conf" / "cluster").mkdir(parents=True)
    (tmp_path / "conf" / "cluster" / "ours.yaml").write_text(SITE)
    monkeypatch.setenv("FRONTRUNNER_CONFIG_DIR", str(tmp_path / "conf"))
    given = ["strategy=random", "batch.size=2", "budget.trials=3", "study.enqueue=[{lora_rank: 8}]"]
    site = ["cluster=ours", "controller.poll_seconds=0.5", "trainer.seconds=1"]
    run = StudyRun(tmp_path / "studies", options=[*SYNTHETIC, *site, *given])
    output, _ = (controller := run.start()).communicate(timeout=PATIENCE_S)
    assert controller.returncode == 0, output
    study = load_study(run.paths.journal)
    first = study.trials["0000"]
    assert (first.origin, first.params["lora_rank"]) == ("enqueued", 8)
    assert set(first.params) == {"learning_rate", "lora_rank", "lora_alpha", "target_modules"}
    assert [len(batch.trials) for batch in study.batches.values()] == [2, 1]
    assert run.attempts() == dict.fromkeys(["0000", "0001", "0002"], 1)
