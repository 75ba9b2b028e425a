"""An attempt around its work: who may begin, what is recorded, and files that do not do what they should."""

from __future__ import annotations

import errno
import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conditions import wait_until

from hpo.paths import StudyPaths, TrialPaths
from hpo.records import (
    AttemptRecord,
    BatchRecord,
    Failure,
    Lease,
    Metric,
    TrialResult,
    TrialSpec,
    write_json,
    write_json_once,
)
from jobs.attempt import attempt as attempt_module
from jobs.attempt.attempt import Attempt, conduct
from jobs.attempt.fence import refusal
from jobs.attempt.lease import take
from jobs.attempt.log import AttemptLog
from jobs.attempt.retry import Patience, insist

pytestmark = pytest.mark.usefixtures("keep_handlers")

MakeTrial = Callable[..., TrialPaths]
MakeAttempt = Callable[[], Attempt]
SHORT = Patience(unseen_s=1.5, differing_s=0.5, writing_s=2.0, first_s=0.05, most_s=0.1)
FULL = OSError(errno.ENOSPC, "No space left on device")


def succeed(spec: TrialSpec, attempt: Attempt) -> TrialResult:
    """The work of a trial that only has a result."""
    return TrialResult(spec.trial, attempt.number, {"eval_loss": Metric(1.0)})


def run(
    paths: TrialPaths,
    work: Callable[[TrialSpec, Attempt], TrialResult] = succeed,
    patience: Patience = SHORT,
) -> int:
    """Conduct an attempt of batch 000."""
    return conduct(str(paths.folder.parent.parent), "000", paths.folder.name, work, patience)


def record(paths: TrialPaths, job_id: str | None) -> None:
    """Write the batch's record."""
    batch = StudyPaths(paths.folder.parent.parent).batch("000")
    batch.folder.mkdir(parents=True, exist_ok=True)
    write_json(batch.record, BatchRecord("000", "name", ["0000"], "submitted", job_id).to_json())


def last(paths: TrialPaths, attempt: int = 1) -> AttemptRecord:
    """What an attempt said last."""
    return AttemptRecord.read(paths.attempt(attempt))


def test_attempt_tells_its_beginning_and_its_end(make_trial: MakeTrial, monkeypatch: Any) -> None:
    """Where it runs and with what, while it runs; that it completed, afterwards."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,3")
    paths, seen = make_trial({}), []

    def work(spec: TrialSpec, attempt: Attempt) -> TrialResult:
        seen.append(last(paths))
        return succeed(spec, attempt)

    assert run(paths, work) == 0
    assert (seen[0].attempt, seen[0].batch, seen[0].gpus, seen[0].ended) == (1, "000", 2, "")
    assert last(paths).ended == "completed"
    assert 0 < seen[0].seconds < last(paths).seconds
    assert [path.name for path in paths.attempts.iterdir()] == ["1.json"]


@pytest.mark.parametrize(
    ("visible", "on_node", "expected"),
    [
        ("0,1", "4", 2),
        ("", "4", 0),
        ("NoDevFiles", None, 0),
        (None, "4", 4),
        (None, None, 0),
        ("-1", None, 0),
    ],
)
def test_cards_are_counted_without_a_library(
    make_attempt: MakeAttempt, monkeypatch: Any, visible: str | None, on_node: str | None, expected: int
) -> None:
    """CUDA_VISIBLE_DEVICES outranks what Slurm says of the node."""
    for name, value in {"CUDA_VISIBLE_DEVICES": visible, "SLURM_GPUS_ON_NODE": on_node}.items():
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    attempt = make_attempt()
    attempt.log.saved(1)
    assert last(attempt.paths).gpus == expected


def test_heart_beats_and_tells_signals_at_once(make_attempt: MakeAttempt) -> None:
    """The age goes up by itself; a signal is there long before the next beat."""
    attempt, threads = make_attempt(), threading.active_count()
    log = AttemptLog(attempt.paths, attempt.owner, attempt.signals, every_s=0.1)
    log.start()
    first = last(attempt.paths).seconds
    wait_until(lambda: last(attempt.paths).seconds > first + 0.25)
    log.end("failed")
    wait_until(lambda: threading.active_count() == threads)  # else it takes a signal meant for the next
    slow = AttemptLog(attempt.paths, attempt.owner, attempt.signals, every_s=60)
    slow.start()
    attempt.signals.noticed.put("USR2")
    attempt.signals.noticed.put("TERM")
    wait_until(lambda: last(attempt.paths).signals == ["USR2", "TERM"])
    slow.end("completed")
    assert last(attempt.paths).ended == "completed"


def test_heart_stops_when_the_attempt_is_overtaken(make_attempt: MakeAttempt) -> None:
    """Its file stays as it was, and its thread ends."""
    attempt = make_attempt()
    log = AttemptLog(attempt.paths, attempt.owner, attempt.signals, every_s=0.05)
    others = set(threading.enumerate())  # another test's heart may beat on
    log.start()
    assert {thread.name for thread in set(threading.enumerate()) - others} == {"heartbeat"}
    assert take(attempt.paths, "0000", "001") is not None
    wait_until(lambda: not set(threading.enumerate()) - others)
    before = attempt.paths.attempt(1).read_bytes()
    log.saved(9)
    assert attempt.paths.attempt(1).read_bytes() == before


def test_record_that_cannot_be_written_stops_nothing(
    make_trial: MakeTrial, capfd: pytest.CaptureFixture[str]
) -> None:
    """A file where the folder should be: one line on the error log, and the trial completes."""
    paths = make_trial({})

    def work(spec: TrialSpec, attempt: Attempt) -> TrialResult:
        paths.attempts.rename(paths.folder / "aside")
        paths.attempts.touch()
        attempt.log.saved(1)
        attempt.log.saved(2)
        return succeed(spec, attempt)

    assert run(paths, work) == 0
    assert paths.metrics.exists()
    assert capfd.readouterr().err.count("going on without") == 1


def test_attempt_numbers_never_go_back(make_attempt: MakeAttempt) -> None:
    """With the lease damaged, the files of the attempts say which numbers were used, and whose turn it is."""
    attempt = make_attempt()
    attempt.log.saved(1)
    attempt.paths.lease.write_text("{ torn")
    assert not attempt.owner.overtaken
    second = make_attempt()
    second.log.saved(1)
    assert second.number == 2
    attempt.paths.lease.unlink()
    assert attempt.owner.overtaken
    assert not second.owner.overtaken


def test_damaged_lease_lets_no_earlier_batch_in(make_attempt: MakeAttempt, monkeypatch: Any) -> None:
    """The newest attempt's own file stands in for it."""
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    attempt = make_attempt()
    attempt.log.saved(1)
    attempt.paths.lease.write_text('{"schema_version": 1}')
    monkeypatch.setenv("SLURM_RESTART_COUNT", "0")
    assert take(attempt.paths, "0000", "000") is None
    assert take(attempt.paths, "0000", "001") is not None


@pytest.mark.parametrize("content", ["", "{}", '{"schema_version": 1, "trial": "0000", "attempt": "x"}'])
def test_lease_that_makes_no_sense_is_none(make_attempt: MakeAttempt, content: str) -> None:
    """Empty, without fields, with fields of another kind."""
    paths = make_attempt().paths
    paths.lease.write_text(content)
    assert make_attempt().number == 1


def test_lease_of_another_trial_is_none(make_attempt: MakeAttempt) -> None:
    """As in a folder that was copied."""
    paths = make_attempt().paths
    write_json(paths.lease, Lease("0042", 7, "999", "job", 9, "host", 1).to_json())
    assert make_attempt().number == 1


def test_array_whose_record_is_not_seen_yet_waits_for_it(make_trial: MakeTrial, monkeypatch: Any) -> None:
    """An element that starts while this node still sees the intent, runs."""
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "42")
    paths = make_trial({})
    record(paths, None)
    threading.Timer(0.3, record, (paths, "42")).start()
    assert run(paths) == 0
    assert paths.metrics.exists()


@pytest.mark.parametrize(
    ("job_id", "patience"),
    [
        ("41", replace(SHORT, differing_s=0.5, unseen_s=60)),
        (None, replace(SHORT, differing_s=60, unseen_s=0.5)),
    ],
    ids=["another array", "unrecorded"],
)
def test_array_that_was_not_recorded_does_nothing(
    make_trial: MakeTrial, monkeypatch: Any, job_id: str | None, patience: Patience
) -> None:
    """On Slurm the batch must have been submitted as this very array; each case has its own patience."""
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "42")
    paths = make_trial({})
    record(paths, job_id)
    began = time.monotonic()
    assert run(paths, patience=patience) == 0
    assert 0.5 <= time.monotonic() - began < 30
    assert not paths.lease.exists()


@pytest.mark.parametrize("content", [None, "", "{ torn", "[]"])
def test_torn_record_of_a_batch_is_waited_for(
    make_trial: MakeTrial, monkeypatch: Any, content: str | None
) -> None:
    """Missing or damaged, it is no exception: the task leaves with a reason."""
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "42")
    paths = make_trial({})
    batch = StudyPaths(paths.folder.parent.parent).batch("000")
    batch.folder.mkdir(parents=True)
    if content is not None:
        batch.record.write_text(content)
    waited: list[float] = []
    patience = Patience(unseen_s=0, differing_s=0)
    assert refusal(batch, paths, "0000", patience, waited.append) == (
        "this is array 42, but the batch was submitted as None"
    )


@pytest.mark.parametrize(
    "foreign", ['{"schema_version": 1', "", '{"schema_version":1,"trial":"0042","attempt":1}']
)
def test_file_that_is_no_result_is_left_to_the_controller(
    make_trial: MakeTrial, foreign: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Torn, empty or of another trial: nothing is run, nothing is touched, and the log says why."""
    paths = make_trial({})
    paths.metrics.write_text(foreign)
    assert run(paths) == 0
    assert "is no result of this trial" in capfd.readouterr().out
    assert paths.metrics.read_text() == foreign
    assert not paths.lease.exists()


def test_result_waits_until_a_damaged_one_is_moved_aside(make_trial: MakeTrial) -> None:
    """One that appeared meanwhile: the result is kept and committed once the controller has made room."""
    paths = make_trial({})

    def work(spec: TrialSpec, attempt: Attempt) -> TrialResult:
        paths.metrics.write_text("{")
        threading.Timer(0.3, paths.metrics.unlink).start()
        return succeed(spec, attempt)

    assert run(paths, work, replace(SHORT, writing_s=60)) == 0
    assert TrialResult.read(paths.metrics).attempt == 1


@pytest.mark.parametrize(("tries", "code"), [(3, 0), (10_000, 1)], ids=["for a while", "for good"])
def test_result_that_the_disk_does_not_take_is_tried_again(
    make_trial: MakeTrial, monkeypatch: Any, tries: int, code: int
) -> None:
    """It is written as soon as there is room; after the stated time it is a failure."""
    paths, refused = make_trial({}), list[Path]()

    def write(path: Path, value: Any) -> bool:
        if len(refused) < tries:
            refused.append(path)
            raise FULL
        return write_json_once(path, value)

    monkeypatch.setattr(attempt_module, "write_json_once", write)
    assert run(paths) == code
    assert paths.metrics.exists() == (code == 0)
    messages = [Failure.read(file).message for file in paths.failures()]
    assert messages == ([] if code == 0 else [f"OSError: {FULL}"])
    assert last(paths).ended == ("completed" if code == 0 else "failed")


def test_lease_that_cannot_be_written_is_no_failure_of_the_trial(
    make_trial: MakeTrial, monkeypatch: Any
) -> None:
    """The task leaves without a failure file, so that another attempt is made."""
    paths = make_trial({})

    def refuse(path: Path, value: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("jobs.attempt.lease.write_json", refuse)
    assert run(paths) == 1
    assert paths.failures() == []


def test_folder_that_is_gone_is_not_waited_for() -> None:
    """A deleted study keeps no GPU busy."""
    waited: list[float] = []
    with pytest.raises(FileNotFoundError):
        insist(lambda: Path("/nowhere/x").write_text(""), "write", SHORT, waited.append)
    assert waited == []


def test_card_and_checkpoint_are_in_the_record(make_attempt: MakeAttempt) -> None:
    """A checkpoint is told with its step and with the age of the attempt."""
    attempt = make_attempt()
    attempt.log.on_device("Tesla V100")
    attempt.log.saved(3)
    found = json.loads(attempt.paths.attempt(1).read_text())
    assert (found["device"], found["saved_step"], found["host"]) == (
        "Tesla V100",
        3,
        attempt.owner.lease.host,
    )
    assert found["saved_seconds"] == pytest.approx(found["seconds"], abs=0.1)
