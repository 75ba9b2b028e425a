"""Checkpoints: whole or not at all, the newest found again, a disk that does not take them survived."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hpo.records import AttemptRecord, read_json
from jobs.attempt.attempt import Attempt
from jobs.attempt.checkpoints import KEPT

MakeAttempt = Callable[[], Attempt]


def state(folder: Path) -> None:
    """Write the one file of a checkpoint."""
    (folder / "state").write_text("x")


def fail(folder: Path) -> None:
    """Write half of it."""
    (folder / "state").write_text("half")
    raise OSError("disk full")


def test_old_checkpoints_go_once_the_pointer_has_moved(make_attempt: MakeAttempt) -> None:
    """The newest is named, and one more is kept."""
    attempt = make_attempt()
    for step in (1, 2, 3, 4):
        attempt.checkpoints.save(step, state)
    kept = sorted(path.name for path in attempt.paths.checkpoints.glob("*/*"))
    assert kept == ["step-00000003", "step-00000004"]
    assert len(kept) == KEPT
    assert read_json(attempt.paths.checkpoint_pointer)["folder"] == "0001/step-00000004"


def test_checkpoint_that_the_disk_does_not_take_is_skipped(
    make_attempt: MakeAttempt, capfd: pytest.CaptureFixture[str]
) -> None:
    """The trial goes on, a line says so, nothing half-written is left, and the one before still holds."""
    attempt = make_attempt()
    attempt.checkpoints.save(1, state)
    assert attempt.checkpoints.save(2, fail) is None
    assert "no checkpoint of step 2 was written: disk full" in capfd.readouterr().err
    newest = attempt.checkpoints.newest()
    assert newest is not None
    assert newest.name == "step-00000001"
    assert [path.name for path in attempt.paths.checkpoints.glob("*/*")] == ["step-00000001"]
    assert AttemptRecord.read(attempt.paths.attempt(1)).saved_step == 1


def test_what_a_killed_attempt_left_half_written_goes(make_attempt: MakeAttempt) -> None:
    """The next attempt's first checkpoint clears it."""
    half = make_attempt().paths.checkpoints / "0001" / ".abc.tmp"
    half.mkdir(parents=True)
    attempt = make_attempt()
    attempt.checkpoints.save(5, state)
    assert not half.exists()
    assert (attempt.paths.checkpoints / "0002" / "step-00000005" / "state").exists()


def test_attempt_says_where_it_goes_on_from(make_attempt: MakeAttempt) -> None:
    """`from_step` is 0 from scratch, and the step of the checkpoint otherwise."""
    first = make_attempt()
    assert first.checkpoints.resume() is None
    first.checkpoints.save(7, state)
    assert AttemptRecord.read(first.paths.attempt(1)).from_step == 0
    second = make_attempt()
    second.checkpoints.resume()
    assert AttemptRecord.read(second.paths.attempt(2)).from_step == 7
