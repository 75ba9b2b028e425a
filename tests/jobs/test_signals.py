"""What a trial does about signals, causes of failures, and checkpoints."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpo.paths import TrialPaths
from hpo.records import read_json
from jobs.checkpoints import KEPT, Checkpoints
from jobs.errors import Diverged, TrialError
from jobs.failures import cause_of
from jobs.lease import take
from jobs.signals import Signals

BOTH = {signal.SIGUSR2, signal.SIGTERM}


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    """Give the test process its signal handlers and its mask back."""
    kept = {number: signal.getsignal(number) for number in BOTH}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, BOTH)


@pytest.fixture
def requeued(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What was asked of scontrol."""
    asked: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda command, **options: asked.append(command))
    return asked


@pytest.fixture
def on_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last element of an array: its job id is the array's, its name is not."""
    for name, value in {"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("number", sorted(BOTH))
def test_signal_that_came_while_blocked_is_not_lost(tmp_path: Path, number: signal.Signals) -> None:
    """As the wrapper leaves it: blocked, pending, seen once the handlers are in place."""
    signal.pthread_sigmask(signal.SIG_BLOCK, BOTH)
    signal.raise_signal(number)
    signals = Signals(tmp_path / "cancel")
    assert not signals.due
    signals.install()
    assert signals.due


def test_warning_requeues_this_element_alone(
    tmp_path: Path, requeued: list[list[str]], on_slurm: None
) -> None:
    """USR2 on Slurm: by the element's name, never by the job id that it shares with its array."""
    signals = Signals(tmp_path / "cancel", wait_s=0)
    signals.install()
    signal.raise_signal(signal.SIGUSR2)
    signals.answer()
    assert requeued == [["scontrol", "requeue", "7_3"]]
    assert not signals.due


def test_term_never_requeues(tmp_path: Path, requeued: list[list[str]], on_slurm: None) -> None:
    """A requeue on TERM would undo a cancellation."""
    signals = Signals(tmp_path / "cancel", wait_s=0)
    signals.install()
    signal.raise_signal(signal.SIGTERM)
    assert signals.due
    signals.answer()
    assert requeued == []


def test_warning_without_slurm_goes_on(tmp_path: Path, requeued: list[list[str]]) -> None:
    """There is nobody to requeue it: a checkpoint, and that is all."""
    signals = Signals(tmp_path / "cancel", wait_s=1000)
    signals.install()
    signal.raise_signal(signal.SIGUSR2)
    signals.answer()
    assert requeued == []


class OutOfMemoryError(RuntimeError):
    """Named as torch names it."""


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (OutOfMemoryError("CUDA out of memory. Tried to allocate"), "gpu_out_of_memory"),
        (MemoryError(), "host_out_of_memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't"), "host_out_of_memory"),
        (Diverged("loss"), "diverged"),
        (TrialError("data"), "error"),
        (KeyError("bug"), "error"),
    ],
)
def test_cause_of_an_error(error: Exception, cause: str) -> None:
    """What the controller's policy goes by."""
    assert cause_of(error).value == cause


def test_old_checkpoints_go_once_the_pointer_has_moved(tmp_path: Path) -> None:
    """The newest is named, one more is kept, and the folder of a write that failed is not among them."""
    owner = take(TrialPaths(tmp_path), "0000", "000")
    assert owner is not None
    checkpoints = Checkpoints(TrialPaths(tmp_path), owner)
    for step in (1, 2, 3, 4):
        checkpoints.save(step, lambda folder: (folder / "state").write_text("x") and None)
    kept = sorted(path.name for path in tmp_path.glob("checkpoints/*/step-*"))
    assert kept == ["step-00000003", "step-00000004"]
    assert len(kept) == KEPT
    assert read_json(TrialPaths(tmp_path).checkpoint_pointer)["folder"] == "0001/step-00000004"


def test_half_written_checkpoint_is_never_found(tmp_path: Path) -> None:
    """A write that fails leaves the pointer on the one before."""
    owner = take(TrialPaths(tmp_path), "0000", "000")
    assert owner is not None
    checkpoints = Checkpoints(TrialPaths(tmp_path), owner)
    checkpoints.save(1, lambda folder: (folder / "state").write_text("x") and None)

    def fail(folder: Path) -> None:
        (folder / "state").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        checkpoints.save(2, fail)
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.name == "step-00000001"
