"""Whole studies on the local executor, with synthetic trials: kills, interruptions, bad input."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import yaml
from conditions import PATIENCE_S, wait_until
from study_runs import SYNTHETIC, StudyRun

from hpo.cli import main
from hpo.study.lease import process_start
from hpo.study.state import TrialState

SIX = [f"{number:04d}" for number in range(6)]


@pytest.fixture
def run(tmp_path: Path) -> StudyRun:
    """A study of six synthetic trials, three a batch, two at a time."""
    options = [
        *SYNTHETIC,
        "cluster=local",
        "strategy=sobol",
        "~strategy.initial",
        "controller.poll_seconds=0.1",
    ]
    size = ["budget.trials=6", "batch.size=3", "batch.refill=3", "trainer.seconds=0.3"]
    return StudyRun(tmp_path / "studies", options=[*options, *size])


def test_study_runs_to_its_end_and_then_has_nothing_to_do(run: StudyRun) -> None:
    """Six trials, a front, and a second call that starts nothing."""
    first = run.finish()
    assert run.attempts() == dict.fromkeys(SIX, 1)
    assert "Pareto front" in first
    assert "untuned" in first
    again = run.finish()
    assert "is complete; nothing to do" in again
    assert run.attempts() == dict.fromkeys(SIX, 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_controller_killed_at_random_moments_loses_and_repeats_nothing(seed: int, run: StudyRun) -> None:
    """Three times kill -9, from the first second on; every trial runs exactly once."""
    chance = random.Random(seed)
    for _ in range(3):
        controller = run.start()
        time.sleep(chance.uniform(0.3, 1.8))
        controller.kill()
        controller.communicate()
    run.finish()
    assert run.attempts() == dict.fromkeys(SIX, 1)
    assert run.completed() == SIX


@pytest.mark.slow
def test_killed_task_is_run_again_as_the_same_trial(run: StudyRun) -> None:
    """kill -9 of one trial's process: a second attempt of it, and no seventh trial."""
    controller = run.start("trainer.seconds=5")
    wait_until(lambda: run.began("0001"))
    os.kill(run.process("0001"), signal.SIGKILL)
    output, _ = controller.communicate(timeout=PATIENCE_S)
    assert controller.returncode == 0, output
    assert run.attempts() == dict.fromkeys(SIX, 1) | {"0001": 2}


@pytest.mark.slow
def test_interrupt_leaves_the_trials_running_and_says_how_to_go_on(run: StudyRun) -> None:
    """Ctrl-C: exit code 3; what was running ends by itself and counts."""
    run.options = [*run.options, "budget.trials=3"]
    controller = run.start("trainer.seconds=5")
    wait_until(lambda: run.began("0000"))
    controller.send_signal(signal.SIGINT)
    output, _ = controller.communicate(timeout=PATIENCE_S)
    assert controller.returncode == 3
    assert "The same command continues study study" in output
    wait_until(run.paths.trial("0000").metrics.exists)
    run.finish("trainer.seconds=5")
    assert run.attempts() == dict.fromkeys(SIX[:3], 1)


@pytest.mark.slow
def test_second_controller_is_refused(run: StudyRun) -> None:
    """Exit code 2 and the first one's pid; the first goes on."""
    run.options = [*run.options, "trainer.seconds=5"]
    controller = run.start()
    wait_until(run.paths.controller.exists)
    second = run.run(*run.command()[3:])
    assert second.returncode == 2
    assert f"pid {controller.pid}" in second.stderr
    assert "hint:" in second.stderr
    output, _ = controller.communicate(timeout=PATIENCE_S)
    assert controller.returncode == 0, output


@pytest.mark.slow
def test_larger_budget_goes_on_with_a_complete_study(run: StudyRun) -> None:
    """A changed budget is taken."""
    run.finish("budget.trials=2")
    run.finish("budget.trials=3")
    assert len(run.completed()) == 3


@pytest.mark.slow
def test_step_by_step_ends_the_study(run: StudyRun) -> None:
    """`step` again and again, one pass a call, drives the study to its end; here without a process a call."""
    for _ in range(200):
        assert run.call(*run.command("step")[3:]) == 0
        if run.study.finished:
            break
        time.sleep(0.2)
    assert run.attempts() == dict.fromkeys(SIX, 1)


@pytest.mark.slow
def test_cron_does_not_start_again_what_was_stopped(run: StudyRun) -> None:
    """Equal errors stop the study; further steps say so and run nothing, until `retry` gives them leave."""
    run.options = [*run.options, "trainer.fail_error=1", "controller.retries.error=9"]
    for _ in range(30):
        done = run.run(*run.command("step")[3:])
        if done.returncode:
            break
        time.sleep(0.2)
    assert "same error" in done.stderr
    batches = len(run.study.batches)
    again = run.run(*run.command("step")[3:])
    assert again.returncode == 1
    assert "is stopped" in again.stderr
    assert len(run.study.batches) == batches
    assert run.run("retry", str(run.paths.folder)).returncode == 0
    assert run.study.stopped == ""


@pytest.mark.slow
def test_cancel_stops_what_is_in_flight(run: StudyRun) -> None:
    """After `cancel`, the processes end, the controller leaves, and status says why."""
    controller = run.start("trainer.seconds=3600")  # longer than anything waits
    wait_until(lambda: run.began("0000"))
    record = yaml.safe_load(run.paths.configuration.read_text())
    del record["config"]["notify"]  # as a version wrote it that did not have these keys yet
    del record["config"]["cluster"]["gpu_tflops"], record["config"]["cluster"]["helper"]["cpus"]
    run.paths.configuration.write_text(yaml.safe_dump(record))
    asked = time.monotonic()
    cancelled = run.run("cancel", str(run.paths.folder))
    assert cancelled.returncode == 0, cancelled.stderr
    assert time.monotonic() - asked < 30, "it waited for what the controller had recorded already"
    assert "3 trials" in cancelled.stdout
    output, _ = controller.communicate(timeout=PATIENCE_S)
    assert controller.returncode == 1, output
    wait_until(lambda: process_start(run.process("0000")) == "")
    assert "cancelled by the user" in run.run("status", str(run.paths.folder)).stdout


@pytest.mark.slow
def test_cancel_and_retry_without_a_controller(run: StudyRun) -> None:
    """A study whose controller is gone can be cancelled, and its trials given another attempt."""
    run.options = [*run.options, "trainer.seconds=15", "budget.trials=3"]
    run.kill_when(lambda: run.began("0000"))
    assert run.call("cancel", str(run.paths.folder)) == 0
    assert len(run.study.in_state(TrialState.CANCELLED)) == 3
    assert run.call("retry", str(run.paths.folder), "0002") == 0
    run.finish()
    assert run.completed() == ["0002"]
    assert len(run.study.in_state(TrialState.CANCELLED)) == 2


@pytest.mark.slow
def test_failing_region_is_reported_and_the_study_ends(run: StudyRun) -> None:
    """Diverged trials are failed, shown with their cause, and the others make the front."""
    output = run.finish("trainer.diverges_above=0.002")
    failed = run.study.in_state(TrialState.FAILED)
    assert failed
    assert "(diverged): diverged at step" in output
    assert len(failed) + len(run.completed()) == 6


BAD = {
    "unknown override": (["batch.sze=2"], ["batch.sze", "batch.size"]),
    "low above high": (["space.lora_rank=range(9, 2)"], ["space.lora_rank", "9", "2"]),
    "unknown objective": (["objectives.bleu=max"], ["objectives.bleu", "eval_loss, train_loss"]),
    "unwritable study root": (["study.root=/proc/studies"], ["study.root", "/proc/studies"]),
    "unknown group choice": (["cluster=slrum"], ["cluster", "slurm", "slrum"]),
    "parameter without a place": (["space.lora_rnak=range(2,4)"], ["space.lora_rnak", "lora_rank"]),
    "value that trials refuse": (["space.learning_rate='interval(-1, 1)'"], ["space.learning_rate", "-1"]),
    "strategy setting": (["strategy.initial=-1"], ["strategy.initial"]),
    "all together": (
        ["batch.size=0", "budget.trials=many", "cluster.cpus=-2", "space.lora_rank=range(9, 2)", "nope.x=1"],
        ["5 problems", "batch.size", "budget.trials", "cluster.cpus", "space.lora_rank", "nope.x"],
    ),
}


REAL = {
    "missing data file": (["data.path=missing.jsonl"], ["data.path", "missing.jsonl", "existing file"]),
    "model without weights": (["model.path=."], ["model.path", "config.json", "safetensors"]),
    "unknown template and a bad rank": (
        ["data.template=nope", "space.lora_rank=range(-2, 4)"],
        ["2 problems", "data.template", "alpaca", "space.lora_rank", "-2"],
    ),
}


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[Sequence[str]], str]]:
    """What a command that must be refused as bad input says; in this process, which is fast."""
    before = signal.getsignal(signal.SIGTERM)

    def refuse(command: Sequence[str]) -> str:
        assert main(command[3:]) == 2, capsys.readouterr().err
        return capsys.readouterr().err

    yield refuse
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("case", REAL)
def test_bad_recipe_of_the_real_trainer_is_refused_before_anything_starts(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Callable[[Sequence[str]], str]
) -> None:
    """What trials would stumble over hours later is found before a folder is made."""
    overrides, expected = REAL[case]
    monkeypatch.chdir(tmp_path)
    run = StudyRun(tmp_path / "studies", options=["cluster=local"])
    told = refusal([*run.command(), *overrides])
    assert [word for word in expected if word not in told] == []
    assert not run.root.exists()


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_error(
    case: str, tmp_path: Path, refusal: Callable[[Sequence[str]], str]
) -> None:
    """Exit code 2, every key named, a hint, and neither a folder nor a process is left."""
    overrides, expected = BAD[case]
    run = StudyRun(tmp_path / "studies", options=[*SYNTHETIC, "cluster=local"])
    told = refusal([*run.command(), *overrides])
    assert [word for word in expected if word not in told] == []
    assert "hint:" in told
    assert not run.root.exists()


def test_folder_of_another_configuration_is_refused_with_the_difference(
    run: StudyRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """What changed is shown with old and new, together with the two ways on; the folder stays as it was."""
    assert run.call(*run.command("step", "budget.trials=1")[3:]) == 0
    before = run.paths.journal.read_bytes()
    capsys.readouterr()
    assert run.call(*run.command()[3:], "trainer.seconds=0.4", "space.lora_rank=range(2, 8)") == 2
    refused = capsys.readouterr().err
    for word in ("trainer.seconds", "0.3", "0.4", "space.lora_rank", "study.name", "study.allow_change"):
        assert word in refused
    assert run.paths.journal.read_bytes() == before


@pytest.mark.slow
def test_changed_configuration_goes_on_when_allowed(run: StudyRun) -> None:
    """study.allow_change=true takes the new recipe, and needs to be said only once."""
    run.finish("budget.trials=1")
    run.finish("budget.trials=2", "trainer.seconds=0.1", "study.allow_change=true")
    run.finish("budget.trials=3", "trainer.seconds=0.1")
    assert len(run.completed()) == 3


@pytest.mark.slow
def test_study_folder_is_private(run: StudyRun) -> None:
    """Nobody else reads a study unless study.umask says so."""
    run.finish("budget.trials=1")
    assert run.paths.folder.stat().st_mode & 0o777 == 0o700
    other = StudyRun(run.root, "shared", run.options)
    other.finish("budget.trials=1", "study.umask='027'")
    assert other.paths.folder.stat().st_mode & 0o777 == 0o750


def test_unknown_study_is_named_with_those_there_are(
    run: StudyRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """`status` of a study that does not exist lists those that do."""
    run.root.mkdir()
    assert run.call(*run.command("step", "budget.trials=1")[3:]) == 0
    capsys.readouterr()
    assert run.call("status", "nope", "--root", str(run.root)) == 2
    refused = capsys.readouterr().err
    assert "nope" in refused
    assert "study" in refused


@pytest.mark.slow
@pytest.mark.parametrize(("error", "event", "code"), [(0, "finished", 0), (1, "stopped", 1)])
def test_the_end_of_a_study_is_told_once(
    error: int, event: str, code: int, run: StudyRun, tmp_path: Path
) -> None:
    """To a command of the user's, whether the budget ended the study or errors stopped it."""
    keep = tmp_path / "keep.py"
    keep.write_text(f"import sys; open({str(tmp_path / 'out')!r}, 'a').write(sys.stdin.read() + chr(10))")
    options = [f"notify.command=[{sys.executable},{keep}]", f"trainer.fail_error={error}"]
    controller = run.start(*options)
    output, _ = controller.communicate(timeout=PATIENCE_S)
    assert controller.returncode == code, output
    if event == "finished":
        assert "nothing to do" in run.finish(*options)
    [told] = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert (told["event"], told["study"]) == (event, "study")
