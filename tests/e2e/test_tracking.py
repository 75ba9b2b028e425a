"""Whole studies followed by the real clients, one trial killed in between; read back by the libraries."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conditions import PATIENCE_S, wait_until
from study_runs import SYNTHETIC, StudyRun

from hpo.records import Progress, read_jsonl

SECRET = "0123456789abcdef0123456789abcdef01234567"
OPTIONS = [*SYNTHETIC, "cluster=local", "strategy=sobol", "~strategy.initial", "controller.poll_seconds=0.1"]
SIZE = ["budget.trials=2", "batch.size=2", "trainer.seconds=45", "trainer.checkpoint_every_s=3"]


@pytest.fixture
def run(tmp_path: Path) -> StudyRun:
    """A study of two synthetic trials, with secrets in its environment."""
    secrets = {"WANDB_API_KEY": SECRET, "MLFLOW_TRACKING_PASSWORD": SECRET, "MLFLOW_TRACKING_TOKEN": SECRET}
    return StudyRun(tmp_path / "studies", options=[*OPTIONS, *SIZE], environment=secrets)


def preempt(run: StudyRun, tracker: str) -> str:
    """Run the study; kill a trial after it has told of steps that no checkpoint holds."""
    controller = run.start(f"tracking={tracker}")
    tracked = run.paths.trial("0001").tracked

    def told() -> int:
        with suppress(OSError, ValueError):
            return int(json.loads(tracked.read_text()).get("curve/loss", 0))
        return 0

    def saved() -> int:
        return int(json.loads(run.paths.trial("0001").attempt(1).read_text())["saved_step"])

    wait_until(lambda: told() >= 45)  # of 450
    since = told()  # a client that was slow to load has just got all of it, and writes once a second
    wait_until(lambda: told() >= since + 25 and told() > saved())
    last = told()
    os.kill(run.process("0001"), signal.SIGKILL)
    output, _ = controller.communicate(timeout=PATIENCE_S)
    assert controller.returncode == 0, output
    assert run.attempts() == {"0000": 1, "0001": 2}
    resumed = json.loads(run.paths.trial("0001").attempt(2).read_text())["from_step"]
    assert 0 < resumed < last  # some steps were trained twice
    return output


def alive(process: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def secrets_kept(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


def wandb(*words: str) -> str:
    command = [sys.executable, "-m", "wandb", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def records(file: Path) -> Iterator[dict[str, Any]]:
    """What the library's own reader finds in the file of a run, one kill has left open among them."""
    for line in wandb("leet", "inspect", "--json", str(file)).splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def losses_of(part: list[dict[str, Any]]) -> list[int]:
    """The steps whose loss one file of a run holds."""
    history = [record["history"]["item"] for record in part if "history" in record]
    return [own["_step"] for own in history if isinstance(own, dict) and "curve/loss" in own]


@pytest.mark.slow
@pytest.mark.long(60)
def test_wandb_run_of_a_killed_trial_goes_on(run: StudyRun) -> None:
    """Two attempts, one run id in the study's group, each step once, the result; one line sends it all."""
    pytest.importorskip("wandb")
    output = preempt(run, "wandb")
    # the study ends with the last result, its run a moment later
    wait_until(lambda: not alive(run.process("0001")))
    files = sorted(run.paths.trial("0001").wandb.glob("offline-run-*/*.wandb"))
    assert len(files) == 2
    each = [list(records(file)) for file in files]
    runs = [record["run"] for part in each for record in part if "run" in record]
    assert {(own["run_id"], own["run_group"], own["project"]) for own in runs} == {
        (f"{run.study.uid}-0001", "study", "frontrunner")
    }
    losses = [step for part in each for step in losses_of(part)]
    assert losses == sorted(set(losses))
    assert losses[-1] == 450
    lines = map(Progress.from_json, read_jsonl(run.paths.trial("0001").progress))
    told = {line.step for line in lines if line.attempt == 1 and line.loss is not None}
    written = max(losses_of(each[0]))  # what came after it, the kill took along
    assert {step for step in told if step <= written} <= set(losses)
    updates = [own["summary"].get("update") for part in each for own in part if "summary" in own]
    found = {key for update in updates if isinstance(update, dict) for key in update}
    assert {"eval_loss", "eval_loss_se", "train_seconds"} <= found
    assert secrets_kept(run.paths.folder) == []
    (line,) = [text for text in output.splitlines() if text.startswith("wandb ")]
    dry = line.removeprefix("wandb").strip() + " --dry-run --verbose"
    shown = subprocess.run(dry, shell=True, capture_output=True, text=True, check=True, env=_on_path())
    assert "Would sync 3 run(s)" in shown.stdout + shown.stderr


@pytest.mark.slow
def test_mlflow_run_of_a_killed_trial_goes_on(run: StudyRun) -> None:
    """Two attempts, one run of the study's experiment, each step once, the result."""
    pytest.importorskip("mlflow")
    preempt(run, "mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow.entities import Run
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=run.paths.mlflow.as_uri())
        experiment = client.get_experiment_by_name("study")
        assert experiment is not None

        def runs() -> dict[str, Run]:
            each = client.search_runs([experiment.experiment_id])
            known = {one.data.tags["frontrunner.trial"]: one for one in each}
            assert len(each) == len(known)
            return known

        # a study ends with its last result, before the run
        wait_until(lambda: [one.info.status for one in runs().values()] == ["FINISHED"] * 2)
        own = runs()["0001"]
        assert own.data.tags["frontrunner.study"] == run.study.uid
        points = client.get_metric_history(own.info.run_id, "curve/loss")
        steps = [point.step for point in points]
        assert steps == sorted(set(steps))
        assert steps[-1] == 450
        assert own.data.metrics["eval_loss"] == run.study.trials["0001"].metrics["eval_loss"].value
    assert secrets_kept(run.paths.folder) == []


def _on_path() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
