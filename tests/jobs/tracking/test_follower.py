"""What a trial tells a tracker, by a tracker that keeps it, fails, or does not answer."""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from hpo.paths import TrialPaths
from hpo.records import Metric, Progress, RungRecord, TrialSpec, append_jsonl
from jobs.attempt.progress import ProgressLog
from jobs.tracking import follower
from jobs.tracking.follower import Follower, Tracker, earlier_lines, follow


class Kept:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, Mapping[str, float]]] = []
        self.ended: list[tuple[Mapping[str, Metric], str]] = []
        self.mask: set[signal.Signals | int] = set(signal.pthread_sigmask(signal.SIG_BLOCK, []))

    def points(self, values: Mapping[str, float], step: int) -> None:
        self.steps.append((step, values))

    def end(self, metrics: Mapping[str, Metric], state: str) -> None:
        self.ended.append((metrics, state))


class Failing(Kept):
    """Fails at the first point."""

    def points(self, values: Mapping[str, float], step: int) -> None:
        raise ConnectionError("no route to host\nand more")


def unwanted(text: str) -> None:
    raise AssertionError(text)


def begin(
    trial: Path, attempt: int, tracker: Kept, monkeypatch: pytest.MonkeyPatch
) -> tuple[ProgressLog, Follower]:
    """An attempt of a trial that a tracker follows."""
    monkeypatch.setattr(follower, "import_module", lambda name: SimpleNamespace(Run=lambda *given: tracker))
    paths = TrialPaths(trial)
    spec = TrialSpec("study", "0000", 0, {}, {}, [], 1, "", "", tracking={"tracker": "wandb"})
    own = follow(spec, paths, unwanted)
    assert own is not None
    return ProgressLog(paths.progress, attempt, own), own


def trained(attempt: int, step: int) -> Progress:
    return Progress(attempt, "training", step, 4, loss=3.0 - step, learning_rate=0.1)


def test_no_step_is_told_twice_after_a_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after step 3 with a checkpoint of step 1: steps 2 and 3 are trained again and not told again."""
    tracker = Kept()
    log, own = begin(tmp_path, 1, tracker, monkeypatch)
    for step in (1, 2, 3):
        log.phase(trained(1, step))
    own.end({}, "failed")
    with (tmp_path / "progress.jsonl").open("a") as stream:
        stream.write('{"attempt": 1, "phase": "trai')  # torn by the kill
    log, own = begin(tmp_path, 2, tracker, monkeypatch)
    log.phase(Progress(2, "loading"))
    for step in (1, 2, 3, 4):
        log.phase(trained(2, step))
    log.phase(Progress(2, "done", 4, 4, loss=-1.0, learning_rate=0.1, eval_loss=0.5))
    result = {"eval_loss": Metric(0.5)}
    own.end(result, "completed")
    both = [(step, {"curve/loss": 3.0 - step, "curve/learning_rate": 0.1}) for step in (1, 2, 3, 4)]
    assert tracker.steps == [*both, (4, {"curve/eval_loss": 0.5})]
    assert tracker.ended == [({}, "failed"), (result, "completed")]


def test_rungs_are_told_once_and_in_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before the tracker had the rung of step 2: the next attempt tells it before step 3."""
    tracker = Kept()
    for step in (1, 2, 3):
        ProgressLog(tmp_path / "progress.jsonl", 1).phase(trained(1, step))
    rung = RungRecord("0000", 1, 0.5, 0.5, 2, {"eval_loss": Metric(1.5, 0.1)})
    append_jsonl(tmp_path / "rungs.jsonl", rung.to_json())
    _, own = begin(tmp_path, 2, tracker, monkeypatch)
    own.rung(rung)
    own.end(rung.metrics, "stopped")
    lines = [(step, {"curve/loss": 3.0 - step, "curve/learning_rate": 0.1}) for step in (1, 2, 3)]
    assert tracker.steps == [*lines[:2], (2, {"rung/eval_loss": 1.5}), lines[2]]
    assert tracker.ended == [(rung.metrics, "stopped")]


def test_a_tracker_that_cannot_begin_at_once_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two failures, then a run that gets everything from the first step on."""
    monkeypatch.setattr(follower, "PAUSES_S", (0.0, 0.0))
    tracker, failures = Kept(), [OSError("one"), ValueError("two")]

    def make() -> Tracker:
        if failures:
            raise failures.pop()
        return tracker

    own = Follower(make, "mlflow", tmp_path / "told", unwanted)
    own.line(trained(1, 1))
    own.end({}, "failed")
    assert [step for step, _ in tracker.steps] == [1]


def test_what_a_killed_attempt_could_not_hand_on_is_told_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client was still loading, or its server did not answer, when steps 2 and 3 were trained."""
    tracker = Kept()
    log, own = begin(tmp_path, 1, tracker, monkeypatch)
    log.phase(trained(1, 1))
    own.end({}, "failed")
    unfollowed = ProgressLog(tmp_path / "progress.jsonl", 1)
    for line in (trained(1, 2), trained(1, 3)):
        unfollowed.phase(line)
    log, own = begin(tmp_path, 2, tracker, monkeypatch)
    for step in (2, 3, 4):
        log.phase(trained(2, step))
    own.end({}, "failed")
    assert [step for step, _ in tracker.steps] == [1, 2, 3, 4]


@pytest.mark.parametrize("at", ["init", "points"])
def test_a_tracker_that_fails_is_told_of_once_and_the_trial_goes_on(
    at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it cannot begin or fails later, one line; nothing is raised."""
    monkeypatch.setattr(follower, "PAUSES_S", ())

    def make() -> Tracker:
        if at == "init":
            raise ConnectionError("no route to host\nand more")
        return Failing()

    told: list[str] = []
    own = Follower(make, "wandb", tmp_path / "told", told.append)
    for step in range(3):
        own.line(Progress(1, "training", step, 3, loss=1.0))
    own.end({"eval_loss": Metric(1.0)}, "completed")
    assert told == ["tracking: wandb failed, the trial goes on without it: ConnectionError: no route to host"]


def test_a_tracker_that_hangs_holds_up_the_end_for_a_while_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that does not answer."""
    monkeypatch.setattr(follower, "WAIT_S", 0.05)
    hangs, told = threading.Event(), list[str]()

    def make() -> Tracker:
        hangs.wait(30)
        return Kept()

    own = Follower(make, "mlflow", tmp_path / "told", told.append)
    own.line(Progress(1, "training", 1, 3, loss=1.0))
    own.end({}, "failed")
    hangs.set()
    assert told == ["tracking: mlflow has not taken everything in 0 s"]


def test_signals_of_the_trial_do_not_reach_what_the_tracker_starts(tmp_path: Path) -> None:
    """Its thread, and so the processes of a client, have them blocked; the trial's own thread has not."""
    made: list[Kept] = []

    def make() -> Tracker:
        made.append(Kept())
        return made[0]

    Follower(make, "kept", tmp_path / "told", unwanted).end({}, "failed")
    assert {signal.SIGUSR2, signal.SIGTERM} <= made[0].mask
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_nobody_follows_where_the_spec_names_no_tracker(tmp_path: Path) -> None:
    """As every spec of an earlier version."""
    spec = TrialSpec("study", "0000", 0, {}, {}, [], 1, "", "")
    assert follow(spec, TrialPaths(tmp_path), unwanted) is None


def test_a_damaged_progress_log_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    """Lines that are no record are passed over."""
    path = tmp_path / "progress.jsonl"
    append_jsonl(path, trained(1, 7).to_json())
    with path.open("a") as stream:
        stream.write("\0\0\0\n[1]\n{}\n")
    append_jsonl(path, trained(1, 5).to_json())
    assert [line.step for line in earlier_lines(path)] == [7, 5]
    assert list(earlier_lines(tmp_path / "none")) == []
