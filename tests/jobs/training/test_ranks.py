"""A trial of two processes: the loss curve of one, preempted, resumed, and no process left when one dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conditions import wait_until
from killed_trial import die_after
from times import TIMES

from hpo.paths import TrialPaths
from hpo.records import BatchRecord, Failure, TrialResult, TrialSpec, read_json, read_jsonl, write_json
from jobs import run_trial
from jobs.data.reading_order import dealt
from jobs.recipes.recipe import parse
from jobs.training import gpus as parallel
from jobs.training import trial
from jobs.training import worker_processes as followers
from jobs.training.gpus import Place, take_place, visible_cards
from jobs.training.loop import train

MakeTrial = Callable[..., TrialPaths]
FAKES = Path(__file__).resolve().parents[2] / "fakes"


@pytest.fixture
def of_two(recipe: dict[str, Any]) -> dict[str, Any]:
    """Eight examples a step in micro-batches of two, dealt to two processes."""
    recipe["trainer"] |= {"batch_size": 8, "micro_batch_size": 2, "gpus": 2, "checkpoint_every_s": 1000}
    return recipe


def alone(recipe: dict[str, Any]) -> dict[str, Any]:
    """The same trial on one process."""
    return {**recipe, "trainer": {**recipe["trainer"], "gpus": 1}}


def run(paths: TrialPaths) -> int:
    """Run an attempt in this process, which is rank 0."""
    return run_trial.main(str(paths.folder.parent.parent), "000", paths.folder.name)


def start(paths: TrialPaths, **environment: str) -> subprocess.Popen[str]:
    """Run an attempt in a process of its own."""
    command = [sys.executable, "-m", "jobs.run_trial", str(paths.folder.parent.parent), "000", "0002"]
    return subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def follower_of(parent: int) -> int:
    """The process id of rank 1."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    commands = {int(child): Path(f"/proc/{child}/cmdline") for child in children.read_text().split()}
    (found,) = (child for child, command in commands.items() if followers.MODULE in command.read_text())
    return found


def lives(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] not in "ZX"


def exact(paths: TrialPaths) -> dict[str, float]:
    """The metrics that may not depend on time."""
    result = TrialResult.read(paths.metrics)
    return {name: metric.value for name, metric in result.metrics.items() if name not in TIMES}


def test_every_example_of_a_batch_goes_to_one_rank() -> None:
    """By hand: neighbours, which are of like length, go to different ranks."""
    order = [5, 3, 8, 1, 0, 2, 4, 9]
    assert dealt(order, 4, 0, 2) == [5, 8, 0, 4]
    assert dealt(order, 4, 1, 2) == [3, 1, 2, 9]
    assert dealt(order, 4, 0, 1) == order


def spec_for(recipe: dict[str, Any], tmp_path: Path, **trainer: Any) -> TrialSpec:
    """A spec with other settings of the trainer."""
    changed = {**recipe, "trainer": {**recipe["trainer"], **trainer}}
    return TrialSpec("study", "0000", 0, {}, changed, ["eval_loss"], 3, str(tmp_path), "hash")


GIB = 2.0**30
# The tiny model takes half a gigabyte with its context, whatever it is trained with.
LARGE, SMALL = {"0": 16 * GIB, "1": 16 * GIB}, {"0": 16 * GIB, "1": 0.4 * GIB}


@pytest.mark.parametrize(
    ("cards", "how", "place", "visible"),
    [
        (LARGE, "auto", Place(ranks=2, cards=("0", "1")), "0"),
        (SMALL, "auto", Place(layers=2, cards=("0", "1")), "0,1"),
        (LARGE, "layers", Place(layers=2, cards=("0", "1")), "0,1"),
        (SMALL, "data", Place(ranks=2, cards=("0", "1")), "0"),
        ({"0": None, "1": None, "2": None}, "auto", Place(ranks=2, cards=("0", "1")), "0"),
        ({}, "auto", Place(ranks=2), ""),
        ({}, "layers", Place(), ""),
    ],
)
def test_layers_are_split_only_where_one_card_is_too_small(
    cards: dict[str, float | None],
    how: str,
    place: Place,
    visible: str,
    of_two: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the memory model and the smallest card, unless told; rank 0 sees its own card alone."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(parallel, "visible_cards", lambda: cards)
    assert take_place(spec_for(of_two, tmp_path, parallel=how)) == place
    assert os.environ["CUDA_VISIBLE_DEVICES"] == visible


def test_too_few_cards_are_told(
    of_two: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is loaded, with the key."""
    monkeypatch.setattr(parallel, "visible_cards", lambda: {"0": None})
    paths = make_trial(of_two)
    assert run(paths) == 1
    assert "trainer.gpus: got 2, expected at most 1" in Failure.read(paths.failure(1)).message


def test_cards_are_those_of_the_task_with_the_memory_that_the_driver_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named by number or by the beginning of the long name; without a list, all of them."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho '0, GPU-aa11, 16384'; echo '1, GPU-bb22, 32768'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert visible_cards({}) == {"0": 16 * GIB, "1": 32 * GIB}
    assert visible_cards({"CUDA_VISIBLE_DEVICES": "1,GPU-aa"}) == {"1": 32 * GIB, "GPU-aa": 16 * GIB}
    assert visible_cards({"CUDA_VISIBLE_DEVICES": "MIG-7"}) == {"MIG-7": None}
    assert visible_cards({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}) == {}


def test_micro_batch_is_that_of_one_card(of_two: dict[str, Any]) -> None:
    """By hand: eight examples on two cards are four each, on split layers eight."""
    of_two["trainer"]["micro_batch_size"] = None
    assert parse(of_two).trainer.on_a_card.micro_batches == (4,)
    of_two["trainer"]["parallel"] = "layers"
    assert parse(of_two).trainer.on_a_card.micro_batches == (8,)


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one_though_preempted(
    of_two: dict[str, Any],
    make_trial: MakeTrial,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keep_handlers: None,
) -> None:
    """USR2 to both, as Slurm sends it: a checkpoint and a requeue; killed and resumed: exactly one result."""
    # At 0.02 training itself magnifies roundings: a rate 1 + 1e-7 times as high moves losses by 2.8e-4, here
    # by 3.6e-7. A batch that is split otherwise rounds otherwise; a mask or none makes no bit of difference.
    of_two["trainer"] |= {"max_steps": 40, "learning_rate": 0.005}
    asked = tmp_path / "asked"
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    scontrol.chmod(0o755)
    two, one = make_trial(of_two, "0002"), make_trial(alone(of_two), "0001")
    slurm = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0", "SLURM_JOB_ID": "7"}
    (tmp_path / "study" / "batches" / "000").mkdir(parents=True)
    record = BatchRecord("000", "array", ["0002"], state="released", job_id="7")
    write_json(tmp_path / "study" / "batches" / "000" / "batch.json", record.to_json())
    process = start(two, PATH=f"{scontrol.parent}:{os.environ['PATH']}", **slurm)
    wait_until(lambda: any(line["step"] > 3 for line in read_jsonl(two.progress)))
    follower = follower_of(process.pid)
    for pid in (follower, process.pid):
        os.kill(pid, signal.SIGUSR2)
    wait_until(asked.exists)
    assert asked.read_text() == "requeue 7_0\n"
    assert lives(follower)
    saved = int(read_json(two.checkpoint_pointer)["folder"][-8:])
    assert 3 < saved < 40
    process.kill()
    process.wait()
    wait_until(lambda: not lives(follower), 120)
    assert not two.metrics.exists()
    curves: list[list[float]] = []

    def noting(*args: Any) -> Any:
        trainer = train(*args)
        curves.append(trainer.totals.losses)
        return trainer

    monkeypatch.setattr(trial, "train", noting)
    assert run(two) == 0
    assert run(one) == 0
    assert [line["step"] for line in read_jsonl(two.progress) if line["attempt"] == 2][1] == saved
    result, expected = (TrialResult.read(paths.metrics) for paths in (two, one))
    assert result.details["attempts"] == [1, 2]
    assert [one.details["gpus"]["ranks"] for one in (result, expected)] == [2, 1]
    assert len(curves[0]) == 40
    assert curves[0] == pytest.approx(curves[1], abs=1e-5)
    assert curves[1][-1] < curves[1][0] - 0.5  # there was a curve
    assert exact(two) == pytest.approx(exact(one), abs=1e-5)


@pytest.mark.slow
def test_dropout_of_two_processes_resumes_to_the_last_bit(
    of_two: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch, keep_handlers: None
) -> None:
    """Each rank has random numbers of its own, and goes on with them: killed after step 4 of 6."""
    of_two["trainer"] |= {"lora_dropout": 0.3, "checkpoint_every_s": 0}
    undisturbed, killed = make_trial(of_two, "0001"), make_trial(of_two, "0002")
    assert run(undisturbed) == 0
    die_after(monkeypatch, 4, lambda: run(killed))
    states = sorted(path.name for path in killed.checkpoints.glob("0001/step-00000003/rng_state*"))
    assert states == ["rng_state.pth", "rng_state_1.pth"]
    assert run(killed) == 0
    assert exact(killed) == exact(undisturbed)
    weights = "adapter_model.safetensors"
    assert (killed.adapter / weights).read_bytes() == (undisturbed.adapter / weights).read_bytes()


@pytest.mark.slow
def test_attempt_fails_soon_when_a_rank_is_killed(
    of_two: dict[str, Any], make_trial: MakeTrial, keep_handlers: None
) -> None:
    """kill -9 of rank 1: a failure that says so, soon, and no process is left."""
    of_two["trainer"]["max_steps"] = 100_000
    paths = make_trial(of_two)
    killed: list[tuple[int, float]] = []

    def kill() -> None:
        wait_until(lambda: any(line["step"] > 2 for line in read_jsonl(paths.progress)))
        killed.append((follower_of(os.getpid()), time.monotonic()))
        os.kill(killed[0][0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    assert run(paths) == 1
    killer.join()
    ((follower, at),) = killed
    assert time.monotonic() - at < 120
    message = Failure.read(paths.failure(1)).message
    assert f"rank 1 of this trial (process {follower}) was killed by SIGKILL" in message
    assert not lives(follower)
    assert not paths.metrics.exists()


@pytest.mark.slow
def test_failure_of_a_rank_is_that_of_the_attempt(
    of_two: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch, keep_handlers: None
) -> None:
    """Its message and traceback, although rank 0 sees nothing but a lost connection."""
    monkeypatch.setattr(followers, "MODULE", "failing_rank")
    monkeypatch.setenv("PYTHONPATH", f"{FAKES}:{os.environ.get('PYTHONPATH', '')}")
    paths = make_trial(of_two)
    assert run(paths) == 1
    failure = Failure.read(paths.failure(1))
    assert failure.message.startswith("rank 1 failed: ValueError: this rank cannot")
    assert "in failing" in failure.message


@pytest.mark.slow
def test_out_of_memory_on_one_rank_halves_the_micro_batch_of_all(
    of_two: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch, keep_handlers: None
) -> None:
    """Rank 1 takes one row a pass: both go on with one, to the result of a trial that was given one."""
    given = make_trial({**of_two, "trainer": {**of_two["trainer"], "micro_batch_size": 1}}, "0001")
    assert run(given) == 0
    monkeypatch.setattr(followers, "MODULE", "small_card")
    monkeypatch.setenv("PYTHONPATH", f"{FAKES}:{os.environ.get('PYTHONPATH', '')}")
    small = make_trial(of_two, "0002")
    assert run(small) == 0
    assert TrialResult.read(small.metrics).details["micro_batch"] == 1
    assert exact(small) == exact(given)
