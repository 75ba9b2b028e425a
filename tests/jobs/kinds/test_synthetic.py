"""Synthetic trials: made-up results, the same however often interrupted; processes; failures on demand."""

from __future__ import annotations

import math
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conditions import PATIENCE_S, fill, wait_until

from hpo.paths import StudyPaths, TrialPaths
from hpo.records import (
    AttemptRecord,
    BatchRecord,
    Failure,
    StoppedResult,
    TrialResult,
    TrialSpec,
    read_json,
    read_jsonl,
    read_rungs,
    write_json,
)
from jobs import run_synthetic
from jobs.kinds.synthetic import METRICS, Synthetic
from jobs.recipes.synthetic import STANDARD_ERROR, parse
from jobs.run_synthetic import Doom

pytestmark = pytest.mark.usefixtures("keep_handlers")

MakeTrial = Callable[..., TrialPaths]
CONF = Path(__file__).resolve().parents[3] / "conf"


@pytest.fixture
def recipe() -> dict[str, Any]:
    """The shipped one, in half a second."""
    trainer = yaml.safe_load((CONF / "trainer" / "synthetic.yaml").read_text())
    return {
        "trainer": trainer | {"seconds": 0.5, "sigma": 0, "step_seconds": 0.02, "checkpoint_every_s": 0.1}
    }


def begin(paths: TrialPaths, **environment: str) -> subprocess.Popen[bytes]:
    """Start an attempt as a process of its own."""
    command = [sys.executable, "-m", "jobs.run_synthetic", str(paths.folder.parent.parent), "000"]
    silent: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process: subprocess.Popen[bytes] = subprocess.Popen(
        [*command, paths.folder.name], env={**os.environ, **environment}, **silent
    )
    return process


def run(paths: TrialPaths) -> int:
    """Run an attempt in this process."""
    return run_synthetic.main(str(paths.folder.parent.parent), "000", paths.folder.name)


def saved_step(paths: TrialPaths, attempt: int) -> int:
    """Of an attempt's newest checkpoint."""
    file = paths.attempt(attempt)
    return AttemptRecord.read(file).saved_step if file.exists() else 0


def exact(paths: TrialPaths) -> dict[str, Any]:
    """The metrics that may not depend on time."""
    result = TrialResult.read(paths.metrics)
    return {name: metric for name, metric in result.metrics.items() if name != "start_seconds"}


def test_spec_in_metrics_out(recipe: dict[str, Any], make_trial: MakeTrial) -> None:
    """The stated metrics, the closed forms with noise as large as it is said to be, all phases in the log."""
    paths = make_trial(recipe)
    assert run(paths) == 0
    metrics = TrialResult.read(paths.metrics).metrics
    assert tuple(metrics) == METRICS
    # learning rate 1e-3, alpha / rank 2, rank 8 of 64 in all layers: above the bottom of the bowl or below?
    low = -3 + 0.5 * math.log10(2) + 2.8
    assert low < 0
    expected = 0.7 + 0.06 * math.sqrt(8) + 0.3 * low**2
    assert metrics["eval_loss"].value == pytest.approx(expected, abs=4 * STANDARD_ERROR)
    assert metrics["eval_loss"].standard_error == STANDARD_ERROR
    assert metrics["train_seconds"].value == pytest.approx(0.5 + 0.5 / 8)
    log = read_jsonl(paths.progress)
    assert list(dict.fromkeys(line["phase"] for line in log)) == ["loading", "training", "evaluating", "done"]
    assert log[-1]["train_seconds"] == pytest.approx(0.5)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_killed_at_random_steps_it_ends_with_the_same_bits(
    recipe: dict[str, Any], make_trial: MakeTrial, seed: int
) -> None:
    """kill -9, twice, and on from the checkpoint: what was kept is not slept again."""
    chance = random.Random(seed)
    recipe["trainer"] |= {"seconds": 2, "sigma": 0.5}
    undisturbed, killed = make_trial(recipe, "0001"), make_trial(recipe, "0002")
    assert run(undisturbed) == 0
    steps = TrialResult.read(undisturbed.metrics).details["steps"]
    for attempt, share in ((1, chance.uniform(0.1, 0.4)), (2, chance.uniform(0.45, 0.6))):
        process = begin(killed)
        wait_until(lambda number=attempt, at=share * steps: saved_step(killed, number) > at)  # type: ignore[misc]
        time.sleep(chance.uniform(0.0, 0.1))
        process.kill()
        process.wait()
    assert not killed.metrics.exists()
    assert run(killed) == 0
    assert exact(killed) == exact(undisturbed)
    told = [AttemptRecord.read(killed.attempt(attempt)) for attempt in (1, 2, 3)]
    assert [attempt.ended for attempt in told] == ["", "", "completed"]
    assert [attempt.from_step for attempt in told] == [0, told[0].saved_step, told[1].saved_step]
    assert TrialResult.read(killed.metrics).details["attempts"] == [1, 2, 3]


def _pretended_scontrol(folder: Path) -> Path:
    """A program of that name that writes down what it is asked."""
    folder.mkdir()
    program = folder / "scontrol"
    program.write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\n')
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize(("paused", "how"), [(False, "requeue"), (True, "requeuehold")])
def test_warned_on_slurm_it_checkpoints_and_asks_to_be_requeued(
    recipe: dict[str, Any], make_trial: MakeTrial, tmp_path: Path, paused: bool, how: str
) -> None:
    """USR2: a checkpoint, the name of the element to scontrol, the signal in the record; then it waits."""
    recipe["trainer"] |= {"seconds": 20, "checkpoint_every_s": 1000}
    paths = make_trial(recipe)
    study = StudyPaths(paths.folder.parent.parent)
    study.batch("000").folder.mkdir(parents=True)
    write_json(study.batch("000").record, BatchRecord("000", "name", ["0000"], "released", "7").to_json())
    if paused:
        study.pause.touch()
    path = f"{_pretended_scontrol(tmp_path / 'bin')}:{os.environ['PATH']}"
    process = begin(paths, PATH=path, SLURM_ARRAY_JOB_ID="7", SLURM_ARRAY_TASK_ID="3")
    wait_until(lambda: any(line["step"] > 3 for line in read_jsonl(paths.progress)))
    process.send_signal(signal.SIGUSR2)
    told_to = tmp_path / "bin" / "asked"
    wait_until(lambda: told_to.exists() and told_to.read_text())  # a shell makes the file first
    asked = told_to.read_text()
    process.send_signal(signal.SIGTERM)  # what Slurm sends on the requeue
    wait_until(lambda: AttemptRecord.read(paths.attempt(1)).signals == ["USR2", "TERM"])
    assert process.poll() is None
    process.kill()
    process.wait()
    assert asked == f"{how} 7_3\n"
    told = AttemptRecord.read(paths.attempt(1))
    assert told.saved_step > 3
    assert read_json(paths.checkpoint_pointer)["folder"] == f"0001/step-{told.saved_step:08}"
    assert (told.job, told.ended) == ("7_3", "")


def test_cancelled_it_ends_at_once(recipe: dict[str, Any], make_trial: MakeTrial) -> None:
    """TERM with the marker there: neither checkpoint nor result."""
    recipe["trainer"] |= {"seconds": 3600, "checkpoint_every_s": 4000}
    paths = make_trial(recipe)
    process = begin(paths)
    wait_until(paths.attempt(1).exists)
    paths.cancel.touch()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=PATIENCE_S) == 128 + signal.SIGTERM
    assert not paths.metrics.exists()


def test_durations_have_the_stated_mean_and_spread(recipe: dict[str, Any]) -> None:
    """Log-normal: the mean is `seconds` whatever sigma is, and the logarithm deviates by sigma."""
    made = parse({"trainer": recipe["trainer"] | {"seconds": 30, "sigma": 0.7}})
    drawn = [made.work_seconds(seed) for seed in range(20_000)]
    error = 30 * math.sqrt(math.exp(0.7**2) - 1) / math.sqrt(len(drawn))
    assert statistics.fmean(drawn) == pytest.approx(30, abs=4 * error)
    assert statistics.stdev(map(math.log, drawn)) == pytest.approx(0.7, abs=0.02)
    assert drawn[:3] == [made.work_seconds(seed) for seed in range(3)]


def test_larger_adapters_are_better_and_slower(recipe: dict[str, Any]) -> None:
    """So that there is a front; and the bowl's bottom moves with alpha / rank."""

    def made(**changes: Any) -> Any:
        return parse({"trainer": recipe["trainer"] | changes})

    small, large = made(lora_rank=4, lora_alpha=4), made(lora_rank=32, lora_alpha=32)
    assert large.eval_loss() < small.eval_loss()
    assert large.train_seconds(0) > small.train_seconds(0)
    assert made(target_modules="qv").eval_loss() > made(target_modules="all").eval_loss()
    rates = [10 ** (-5 + 3 * i / 300) for i in range(301)]
    bottoms = [
        min(rates, key=lambda rate: made(learning_rate=rate, lora_alpha=alpha).eval_loss())
        for alpha in (8, 32)
    ]
    assert bottoms[0] / bottoms[1] == pytest.approx(2, rel=0.05)  # 10**-2.8 / sqrt(1), and over sqrt(4)


def _fate(trainer: dict[str, Any], make: Any, seed: int, attempt: int) -> str:
    """How an attempt of fifty steps ends."""
    failure = Doom(parse({"trainer": trainer}), make(seed), attempt, 0, 50).first(0, 50)
    if failure is None:
        return "completed"
    assert failure[1] is not None
    return failure[1].cause.value


@pytest.mark.parametrize(
    ("switch", "cause", "per_trial"),
    [
        ("fail_error", "error", False),
        ("fail_diverged", "diverged", True),
        ("fail_out_of_memory", "gpu_out_of_memory", True),
    ],
)
def test_failures_come_as_often_as_asked(
    recipe: dict[str, Any], switch: str, cause: str, per_trial: bool
) -> None:
    """A fifth of 2,000; what is of the trial happens in each of its attempts, the rest independently."""

    def make(seed: int) -> TrialSpec:
        return TrialSpec("study", "0000", 0, {}, {}, [], seed, "", "")

    trainer = recipe["trainer"] | {switch: 0.2}
    first = [_fate(trainer, make, seed, 1) for seed in range(2000)]
    again = [_fate(trainer, make, seed, 2) for seed in range(2000)]
    assert set(first) == {cause, "completed"}
    assert first.count(cause) / 2000 == pytest.approx(0.2, abs=0.04)
    both = sum(one == two == cause for one, two in zip(first, again, strict=True)) / 2000
    assert both == pytest.approx(0.2 if per_trial else 0.04, abs=0.04 if per_trial else 0.02)


def test_crash_leaves_neither_a_word_nor_a_result(recipe: dict[str, Any], make_trial: MakeTrial) -> None:
    """The process is killed; only its record tells that it was there."""
    recipe["trainer"]["fail_crash"] = 1
    paths = make_trial(recipe)
    assert begin(paths).wait(timeout=PATIENCE_S) == -signal.SIGKILL
    assert not paths.metrics.exists()
    assert paths.failures() == []
    assert AttemptRecord.read(paths.attempt(1)).ended == ""


def test_high_learning_rate_diverges_where_asked(recipe: dict[str, Any], make_trial: MakeTrial) -> None:
    """A failure with its cause, as of a real trial."""
    recipe["trainer"] |= {"diverges_above": 1e-4}
    paths = make_trial(recipe)
    assert run(paths) == 1
    assert [Failure.read(file).cause for file in paths.failures()] == ["diverged"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"seconds": -1}, [("trainer.seconds", "got -1, expected a number above 0")]),
        ({"fail_error": 2}, [("trainer.fail_error", "got 2, expected a number from 0 to 1")]),
        ({"lora_rank": 2.5}, [("trainer.lora_rank", "got 2.5, expected a whole number of at least 1")]),
        ({"sigma": "wide"}, [("trainer.sigma", "got 'wide', expected a number of at least 0")]),
        ({"diverges_above": 0}, [("trainer.diverges_above", "got 0, expected a number above 0")]),
        ({"learning_rate": True, "seconds": math.inf}, [("trainer.learning_rate",), ("trainer.seconds",)]),
        ({"target_modules": "nope"}, [("trainer.target_modules",)]),
        ({"target_modules": 3}, [("trainer.target_modules",)]),
        ({"secnds": 1}, [("trainer.secnds",)]),
        ({"target_modules": ["q_proj"], "lora_alpha": 1.5, "sigma": 0}, []),
    ],
)
def test_problems_are_told_by_key_path(
    recipe: dict[str, Any], changes: dict[str, Any], expected: list[tuple[str, ...]]
) -> None:
    """All of them together, none of model and data."""
    found = Synthetic().problems({"trainer": recipe["trainer"] | changes, "model": None})
    assert [problem[: len(told)] for problem, told in zip(found, expected, strict=True)] == expected


def test_shipped_recipe_has_no_problems_and_every_key(recipe: dict[str, Any]) -> None:
    """conf/trainer/synthetic.yaml and the code name the same keys."""
    assert Synthetic().problems(recipe) == []
    del recipe["trainer"]["sigma"]
    assert Synthetic().problems(recipe) == [("trainer.sigma", "missing, expected a value")]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_disk_that_takes_nothing_for_a_while(
    recipe: dict[str, Any], make_trial: MakeTrial, small_disk: Path, fault: str
) -> None:
    """The trial works on without checkpoints, and its result is there soon after the disk is well again."""
    recipe["trainer"] |= {"seconds": 4}
    paths = make_trial(recipe)
    process = begin(paths)
    wait_until(paths.checkpoint_pointer.exists)
    if fault == "full":
        fill(small_disk / "ballast")
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    time.sleep(5)
    assert process.poll() is None
    assert not paths.metrics.exists()
    if fault == "full":
        (small_disk / "ballast").unlink()
    else:
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert process.wait(timeout=PATIENCE_S) == 0
    assert paths.failures() == []
    assert TrialResult.read(paths.metrics).trial == "0000"
    assert AttemptRecord.read(paths.attempt(1)).ended == "completed"
    assert read_jsonl(paths.progress)[0]["phase"] == "loading"


def test_rungs_are_measured_once_and_a_marker_ends_the_trial_there(
    recipe: dict[str, Any], make_trial: MakeTrial
) -> None:
    """25 steps: rungs at steps 9 and 17; thawed, it comes to the end of a trial in peace."""
    peace, stopped = make_trial(recipe, "0001"), make_trial(recipe, "0002", rungs=[1 / 3, 2 / 3])
    assert run(peace) == 0
    stopped.stop.touch()
    assert run(stopped) == 0
    assert not stopped.metrics.exists()
    result = StoppedResult.read(stopped.stopped(1))
    assert (result.rung, result.step) == (1 / 3, 9)
    assert run(stopped) == 0  # its task was requeued at its end: there is nothing to do
    assert len(list(stopped.attempts.glob("*.json"))) == 1
    stopped.stop.unlink()
    assert run(stopped) == 0
    assert exact(stopped) == exact(peace)
    assert [(own.rung, own.step, own.attempt) for own in read_rungs(stopped.rungs, "0002")] == [
        (1 / 3, 9, 1),
        (2 / 3, 17, 2),
    ]


def test_curves_cross(recipe: dict[str, Any]) -> None:
    """A low learning rate is behind a high one at first, and ahead at the end; all begin untuned."""
    slow = parse({"trainer": recipe["trainer"] | {"learning_rate": 3e-4}})
    fast = parse({"trainer": recipe["trainer"] | {"learning_rate": 1e-2}})
    assert slow.rung_loss(0.0) == fast.rung_loss(0.0) == pytest.approx(3.0)
    assert slow.rung_loss(1 / 9) > fast.rung_loss(1 / 9)
    assert slow.rung_loss(1.0) == pytest.approx(slow.eval_loss())
    assert slow.rung_loss(1.0) < fast.rung_loss(1.0)


def test_without_a_slow_start_all_curves_fall_alike() -> None:
    """What is left of the fall at a ninth is the same share for a low learning rate and a high one."""
    trainer = yaml.safe_load((CONF / "trainer" / "synthetic.yaml").read_text())
    shares = []
    for rate in (1e-4, 1e-2):
        recipe = parse({"trainer": {**trainer, "slow_start": False, "learning_rate": rate}})
        end = recipe.eval_loss()
        shares.append((recipe.rung_loss(1 / 9) - end) / (3.0 - end))
    assert shares[0] == pytest.approx(shares[1])
    del trainer["slow_start"]  # as a spec of before
    assert parse({"trainer": trainer}).slow_start is True
