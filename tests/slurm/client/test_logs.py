"""What a task complains of."""

from __future__ import annotations

from pathlib import Path

from slurm.client.logs import last_lines, last_log_lines

CANCELLED = """\
slurmstepd-gpu1: error: *** STEP 2.0 ON gpu1 CANCELLED AT 2026-11-22T04:57:49 DUE TO JOB REQUEUE ***
slurmstepd-gpu1: error: *** JOB 2 ON gpu1 CANCELLED AT 2026-11-22T04:57:49 DUE TO JOB REQUEUE ***
srun: got SIGCONT
srun: forcing job termination
srun: Job step aborted: Waiting up to 5 seconds for job step to finish.
srun: error: gpu1: task 0: Terminated
srun: Force Terminated StepId=2.0
"""


def test_what_slurm_says_of_its_own_end_is_no_complaint() -> None:
    """Nor is what an execution wrote that Slurm then ended."""
    assert last_lines(CANCELLED) == ""
    assert last_lines(f"a warning\n{CANCELLED}") == ""


def test_step_that_slurm_could_not_start_is_no_complaint() -> None:
    """Seen after a restart of slurmctld: an attempt more for a trial, and not its one for an error."""
    gres = "srun: error: Unable to create step for job 12: Invalid generic resource (gres) specification\n"
    away = "srun: error: Unable to confirm allocation for job 7: Unable to contact slurm controller\n"
    assert last_lines(gres + away) == ""


def test_what_follows_is() -> None:
    """The next execution writes to the same log."""
    told = ["slurm_script: line 4: module: command not found", "srun: error: gpu1: task 0: Killed"]
    assert last_lines(f"{CANCELLED}{told[0]}\n\n{told[1]}\n").splitlines() == told


def test_only_the_end_is_told() -> None:
    """A dozen lines, and no more than a screen."""
    assert last_lines("".join(f"line {n}\n" for n in range(100))).splitlines()[0] == "line 88"
    assert len(last_lines("x" * 50_000)) == 2000


def test_the_newest_log_that_says_something_is_taken(tmp_path: Path) -> None:
    """Those that are not there, or empty, or no text, do no harm."""
    old, empty = tmp_path / "old", tmp_path / "empty"
    old.write_bytes(b"\xffa reason\n")
    empty.touch()
    assert last_log_lines([tmp_path / "none", empty, old]) == "\ufffda reason"
    assert last_log_lines([tmp_path / "none", empty]) is None
