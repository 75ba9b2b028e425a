"""What a trial does about signals, and the causes of failures."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.attempt.failures import cause_of
from jobs.attempt.signals import Signals
from jobs.errors import Diverged, TrialError

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
    signals = Signals(tmp_path / "cancel", tmp_path / "pause")
    assert not signals.due
    signals.install()
    assert signals.due


def test_warning_requeues_this_element_alone(
    tmp_path: Path, requeued: list[list[str]], on_slurm: None
) -> None:
    """USR2 on Slurm: by the element's name, never by the job id that it shares with its array."""
    signals = Signals(tmp_path / "cancel", tmp_path / "pause", wait_s=0)
    signals.install()
    signal.raise_signal(signal.SIGUSR2)
    signals.answer()
    assert requeued == [["scontrol", "requeue", "7_3"]]
    assert not signals.due


def test_warning_in_a_paused_study_requeues_on_hold(
    tmp_path: Path, requeued: list[list[str]], on_slurm: None
) -> None:
    """With the marker of `pause` the element goes back to the queue, but does not start again by itself."""
    (tmp_path / "pause").touch()
    signals = Signals(tmp_path / "cancel", tmp_path / "pause", wait_s=0)
    signals.install()
    signal.raise_signal(signal.SIGUSR2)
    signals.answer()
    assert requeued == [["scontrol", "requeuehold", "7_3"]]


def test_term_never_requeues(tmp_path: Path, requeued: list[list[str]], on_slurm: None) -> None:
    """A requeue on TERM would undo a cancellation."""
    signals = Signals(tmp_path / "cancel", tmp_path / "pause", wait_s=0)
    signals.install()
    signal.raise_signal(signal.SIGTERM)
    assert signals.due
    signals.answer()
    assert requeued == []


def test_warning_without_slurm_goes_on(tmp_path: Path, requeued: list[list[str]]) -> None:
    """There is nobody to requeue it: a checkpoint, and that is all."""
    signals = Signals(tmp_path / "cancel", tmp_path / "pause", wait_s=1000)
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
