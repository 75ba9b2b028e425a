"""Real QLoRA trials, of a tiny Llama, as arrays on a real Slurm cluster; also preempted."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from conditions import PATIENCE_S, wait_until
from study_runs import StudyRun
from tiny_study import tiny_study

from hpo.records import AttemptRecord, Lease, TrialResult, read_jsonl
from slurm.devcluster import cluster as devcluster
from slurm.devcluster.files import Layout, Options

pytestmark = [pytest.mark.slurm, pytest.mark.long(300)]

ONE = ["budget.trials=1", "batch.size=1", "batch.refill=1"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides of the demo, see `tiny_study`."""
    return tiny_study(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def alone(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., float]:
    """The loss of a trial that runs on this machine, undisturbed; once for all that are held against it."""

    @cache
    def loss(*settings: str) -> float:
        run = StudyRun(tmp_path_factory.mktemp("alone"), options=[*tiny, *ONE, *settings, "cluster=local"])
        run.finish()
        return _result(run)

    return loss


@pytest.fixture(params=[True, False], ids=["user signal", "TERM only"])
def preempting(
    request: pytest.FixtureRequest, require_slurm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Layout]:
    """A cluster that warns a preempted job before it kills it, with the job's own signal or with TERM."""
    # without a grace period, or the trial could come to its end in it: TERM does not stop it
    options = Options(nodes=1, user_signal=request.param, grace_s=5 if request.param else 0)
    layout = devcluster.up(tmp_path / "cluster", options)
    monkeypatch.setenv("SLURM_CONF", str(layout.configuration))
    yield layout
    devcluster.down(tmp_path / "cluster")


def test_whole_study_of_real_trials(tiny: list[str], cluster: Layout, tmp_path: Path) -> None:
    """The design, then the model; every trial trains, evaluates, leaves an adapter; the front is printed."""
    size = ["budget.trials=4", "batch.size=3", "batch.refill=3", "strategy.initial=3", "trainer.max_steps=6"]
    run = StudyRun(tmp_path / "studies", options=[*tiny, *size, "cluster=slurm", "cluster.max_parallel=2"])
    output = run.finish()
    assert run.completed() == [f"{number:04d}" for number in range(4)]
    assert {trial.origin for trial in run.study.trials.values()} == {"usual", "centre", "sobol", "model"}
    assert "untuned" in output
    for name in run.completed():
        assert (run.paths.trial(name).adapter / "adapter_model.safetensors").exists()


def _result(run: StudyRun) -> float:
    return TrialResult.read(run.paths.trial("0000").metrics).metrics["eval_loss"].value


def test_preempted_trial_resumes_and_ends_with_the_same_result(
    tiny: list[str], alone: Callable[..., float], preempting: Layout, tmp_path: Path
) -> None:
    """The second attempt starts where the first one stopped, and the loss is that of an undisturbed run."""
    run = _preempted(tmp_path, [*tiny, "trainer.max_steps=1000"])
    assert _result(run) == alone("trainer.max_steps=1000")


@pytest.mark.parametrize("preempting", [True], indirect=True, ids=["user signal"])
def test_trial_on_two_gpus_is_preempted_as_one_task(
    tiny: list[str], alone: Callable[..., float], preempting: Layout, tmp_path: Path
) -> None:
    """Two processes in one task, which hold both cards; the same, to the bit, as on this machine alone."""
    settings = ["trainer.max_steps=400", "trainer.gpus=2", "trainer.batch_size=8"]
    run = _preempted(tmp_path, [*tiny, *settings])
    assert _result(run) == alone(*settings)
    trial = run.paths.trial("0000")
    assert TrialResult.read(trial.metrics).details["gpus"] == {"ranks": 2, "layers_split_over": 1}
    assert [AttemptRecord.read(trial.attempt(number)).gpus for number in (1, 2)] == [2, 2]


def _preempted(tmp_path: Path, settings: list[str]) -> StudyRun:
    """A study of one trial that is preempted once."""
    run = StudyRun(tmp_path / "studies", "preempted", [*settings, *ONE, "cluster=slurm"])
    controller = run.start()
    log = run.paths.trial("0000").progress
    wait_until(lambda: any(line["step"] > 40 for line in read_jsonl(log)))
    urgent = ["--partition=urgent", "--exclusive", "--mem=1", "--wrap=sleep 1", "--output=/dev/null"]
    subprocess.run(["sbatch", *urgent], check=True, capture_output=True)
    output, _ = controller.communicate(timeout=PATIENCE_S)
    assert controller.returncode == 0, output
    assert Lease.read(run.paths.trial("0000").lease).attempt == 2
    again = [line for line in read_jsonl(log) if line["attempt"] == 2 and line["phase"] == "training"]
    assert again[0]["step"] > 40, "it began from scratch"
    return run
