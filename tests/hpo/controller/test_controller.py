"""The loop, driven pass by pass against a scheduler in memory; trials are files that the test writes."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from controlled_site import LIMITS, Site
from memory_executor import Killed

from hpo.controller.controller import UNTIDIED_S, Controller
from hpo.errors import StudyError
from hpo.records import Lease, Metric, TrialResult, read_jsonl, write_json
from hpo.study.journal import load_study
from hpo.study.lease import HeldLease
from hpo.study.state import TrialState


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A fresh study of ten trials in batches of four."""
    return Site(tmp_path)


def test_runs_the_budget_in_batches_and_then_ends(site: Site) -> None:
    """Four, four and two trials as three arrays, every trial once, and a study that says it is complete."""
    controller = site.controller()
    started = []
    while not controller.step():
        started.append(site.run_all())
    assert [len(batch) for batch in started] == [4, 4, 2]
    assert sorted(trial for batch in started for trial in batch) == [f"{number:04d}" for number in range(10)]
    assert site.scheduler.submissions == 3
    assert controller.study.finished == "budget.trials=10 is spent"
    assert load_study(site.paths.journal) == controller.study


def test_refill_tops_up_while_stragglers_run(tmp_path: Path) -> None:
    """With refill 2, a new array of two goes out as soon as two of four are done."""
    site = Site(tmp_path, replace(LIMITS, refill=2))
    controller = site.controller()
    controller.step()
    first_two = list(site.scheduler.tasks)[:2]
    for key in first_two[:1]:
        site.finish(site.scheduler.tasks.pop(key)["arguments"])
    controller.step()
    assert site.scheduler.submissions == 1
    site.finish(site.scheduler.tasks.pop(first_two[1])["arguments"])
    controller.step()
    assert site.scheduler.submissions == 2
    assert len(controller.study.in_flight) == 4


def test_a_look_asks_the_disk_once_for_each_trial_in_flight(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of four trials are over: one listing of each of the others, and nothing else below trials/."""
    controller = site.controller()
    controller.step()
    for task in list(site.scheduler.tasks)[:2]:
        site.finish(site.scheduler.tasks.pop(task)["arguments"])
    controller.step()
    asked: list[str] = []
    stat, listing, opening = os.stat, os.listdir, io.open

    def noting(act: Callable[..., Any]) -> Callable[..., Any]:
        def noted(path: Any, *args: Any, **more: Any) -> Any:
            asked.append(str(path))
            return act(path, *args, **more)

        return noted

    for module, name, act in ((os, "stat", stat), (os, "listdir", listing), (io, "open", opening)):
        monkeypatch.setattr(module, name, noting(act))
    controller.step(poll=False)
    flying = [str(site.paths.trial(trial.id).folder) for trial in controller.study.in_flight]
    assert [path for path in asked if "/trials/" in path] == flying
    assert len(flying) == 2


@pytest.mark.parametrize("moment", ["kill_before_submit", "kill_after_submit", "kill_after_release"])
@pytest.mark.parametrize("batch", [0, 1])
def test_killed_while_submitting_submits_exactly_once(moment: str, batch: int, tmp_path: Path) -> None:
    """Whatever the moment of the kill, the next controller runs every trial exactly once."""
    site = Site(tmp_path)
    started: list[str] = []
    controller = site.controller()
    for _ in range(batch):
        controller.step()
        started += site.run_all()
    setattr(controller.executor, moment, True)
    with pytest.raises(Killed):
        controller.step()
    site.die()
    controller = site.controller()
    while not controller.step():
        started += site.run_all()
    assert sorted(started) == [f"{number:04d}" for number in range(10)]
    assert not [task for task in site.scheduler.tasks.values() if task["state"] == "held"]


def test_killed_between_specs_and_journal_proposes_the_same_trials(site: Site) -> None:
    """Specs that no journal line names are written again, with the same parameters."""
    controller = site.controller()
    controller.step()
    specs = {path.parent.name: path.read_text() for path in site.paths.trials.glob("*/spec.json")}
    lines = site.paths.journal.read_bytes().splitlines(keepends=True)
    site.paths.journal.write_bytes(lines[0])  # as if killed before the batch was journalled
    site.scheduler.tasks.clear()
    site.paths.batch("0000").record.unlink()
    site.die()
    site.controller().step()
    assert specs == {path.parent.name: path.read_text() for path in site.paths.trials.glob("*/spec.json")}


def test_scheduler_that_does_not_answer_is_no_information(site: Site) -> None:
    """While squeue fails nothing is taken for lost, however long it takes; results still count."""
    controller = site.controller()
    controller.step()
    site.scheduler.answers = False
    for hour in range(3):
        site.now += 3600.0 * hour
        controller.step()
    assert len(controller.study.in_state(TrialState.OPEN)) == 4
    site.run_all()
    controller.step()
    assert len(controller.study.in_state(TrialState.COMPLETED)) == 4


def test_scheduler_that_never_answers_is_told_of_and_the_study_ends(site: Site) -> None:
    """After three polls, once, in its own words; two minutes after the last result nobody waits for it."""
    site.limits = replace(LIMITS, trials=4)
    site.now = time.time()
    controller = site.controller()
    controller.step()
    site.scheduler.answers = False
    for _ in range(5):
        controller.step()
    (told,) = site.said
    assert "3 times in a row: squeue: error: no such option" in told
    site.run_all()
    assert not controller.step()
    site.now += UNTIDIED_S + 1
    assert controller.step()


def test_scheduler_that_answers_again_is_told_of(site: Site) -> None:
    """And one that was away for a poll or two is not."""
    controller = site.controller()
    for answers in (False, False, True, False, False, False, True):
        site.scheduler.answers = answers
        controller.step()
    assert [line.partition(",")[0] for line in site.said] == [
        "no answer about the queue",
        "the scheduler answers again",
    ]


def test_trial_that_advances_is_not_lost_though_the_scheduler_does_not_show_it(site: Site) -> None:
    """As with a squeue that a site's settings keep from showing it; once it stands still, it is."""
    controller = site.controller()
    controller.step()
    for trial in ("0000", "0001", "0002", "0003"):
        site.begin(trial, seconds=15.0)
    site.scheduler.tasks.clear()
    controller.step()
    for seconds in (45.0, 75.0, 105.0):
        site.now += LIMITS.gone_s + 1
        site.begin("0000", seconds=seconds)
        controller.step()
    assert [event["trial"] for event in site.events("attempt_ended")] == ["0001", "0002", "0003"]
    site.now += LIMITS.gone_s + 1
    site.die()
    site.controller().step()
    assert [event["trial"] for event in site.events("attempt_ended")][3:] == ["0000"]


@pytest.mark.parametrize("word", ["node_failure", "preempted"])
def test_trial_that_advances_is_over_where_the_scheduler_says_so(word: str, site: Site) -> None:
    """After a node failure the old process may go on: the next attempt takes the trial from it."""
    controller = site.controller()
    controller.step()
    site.begin("0000", seconds=15.0)
    site.scheduler.over = {("1", 0): word}
    del site.scheduler.tasks["1", 0]
    controller.step()
    site.now += LIMITS.gone_s + 1
    site.begin("0000", seconds=45.0)
    controller.step()
    assert [event["cause"] for event in site.events("attempt_ended")] == [word]


def test_steps_are_progress_too(site: Site) -> None:
    """Where attempts cannot tell their age: progress.jsonl grows."""
    controller = site.controller()
    controller.step()
    site.begin("0000")
    del site.scheduler.tasks["1", 0]
    controller.step()
    site.now += LIMITS.gone_s + 1
    site.paths.trial("0000").progress.write_text('{"step": 1}\n')
    controller.step()
    assert site.events("attempt_ended") == []


def _vanish(site: Site, controller: Controller) -> None:
    """All tasks of the scheduler end without a result, and the controller has time to notice."""
    site.scheduler.start_all()
    controller.step()
    site.now += LIMITS.gone_s + 1
    controller.step()


def test_vanished_task_is_submitted_again_under_the_same_trial(site: Site) -> None:
    """A task that ends without a result is retried as the same trial, after the settling time."""
    controller = site.controller()
    controller.step()
    key = next(iter(site.scheduler.tasks))
    trial = site.scheduler.tasks.pop(key)["arguments"][2]
    controller.step()
    assert controller.study.trials[trial].state is TrialState.OPEN
    site.now += LIMITS.gone_s + 1
    controller.step()
    assert trial in site.run_all()
    assert controller.study.trials[trial].batch == "0001"


def test_retry_budget_ends(site: Site) -> None:
    """A trial that keeps vanishing fails after its budget, with the cause."""
    controller = site.controller()
    controller.step()
    for _ in range(LIMITS.retries["lost"] + 1):
        _vanish(site, controller)
    failed = controller.study.in_state(TrialState.FAILED)
    assert [trial.id for trial in failed] == ["0000", "0001", "0002", "0003"]
    assert {trial.cause for trial in failed} == {"lost"}


def test_result_written_while_the_scheduler_forgot_the_task_counts(site: Site) -> None:
    """A result file outranks every state of the scheduler."""
    controller = site.controller()
    controller.step()
    site.run_all()
    controller.step()
    assert len(controller.study.in_state(TrialState.COMPLETED)) == 4


@pytest.mark.parametrize("cause", ["diverged", "gpu_out_of_memory"])
def test_infeasible_trial_fails_at_once_and_is_learned(cause: str, site: Site) -> None:
    """No second attempt for a trial whose own parameters are to blame; the optimiser is told."""
    controller = site.controller()
    controller.step()
    site.fail("0001", 1, cause)
    controller.step()
    assert controller.study.trials["0001"].state is TrialState.FAILED
    optimizer = controller._proposer.optimizer(controller.study)
    assert len(optimizer.history.failures) == 1


def test_error_is_retried_once(site: Site) -> None:
    """An error of code or data gets one more attempt; the surrogate learns nothing from it."""
    controller = site.controller()
    controller.step()
    site.fail("0001", 1, "error")
    controller.step()
    assert controller.study.trials["0001"].batch == "0001"
    site.fail("0001", 2, "error", "another message")
    controller.step()
    assert controller.study.trials["0001"].state is TrialState.FAILED
    assert controller._proposer.optimizer(controller.study).history.failures == ()


def test_equal_errors_in_a_row_stop_the_study_with_the_message(site: Site) -> None:
    """A broken recipe does not burn through the budget: three equal errors and the study stops."""
    controller = site.controller()
    controller.step()
    for trial in ("0000", "0001", "0002"):
        site.fail(trial, 1, "error", "no such column: instruction")
    with pytest.raises(StudyError, match=r"3 attempts in a row .* no such column"):
        controller.step()
    assert site.scheduler.submissions == 1
    assert "no such column" in load_study(site.paths.journal).stopped


def test_cancelled_trial_stays_cancelled(site: Site) -> None:
    """A marker and a task that is gone make a cancelled trial, which no retry brings back."""
    controller = site.controller()
    controller.step()
    site.paths.trial("0002").cancel.touch()
    del site.scheduler.tasks["1", 2]
    controller.step()
    assert controller.study.trials["0002"].state is TrialState.CANCELLED
    assert "0002" not in site.run_all()


def test_damaged_result_is_set_aside_and_the_trial_runs_again(site: Site) -> None:
    """A truncated or foreign metrics.json neither counts nor keeps the next attempt from running."""
    controller = site.controller()
    controller.step()
    site.scheduler.tasks.clear()
    (site.paths.trial("0000").metrics).write_text('{"schema_version": 1, "trial"')
    write_json(site.paths.trial("0001").metrics, TrialResult("0009", 1, {"loss": Metric(0.1)}).to_json())
    controller.step()
    assert [trial.id for trial in controller.study.in_state(TrialState.COMPLETED)] == []
    assert sorted(site.run_all()) == ["0000", "0001"]


def test_result_without_an_objective_fails_the_trial(site: Site) -> None:
    """A trial that does not report what is optimised fails with both names in the message."""
    controller = site.controller()
    controller.step()
    write_json(site.paths.trial("0000").metrics, TrialResult("0000", 1, {"other": Metric(1.0)}).to_json())
    controller.step()
    trial = controller.study.trials["0000"]
    assert trial.state is TrialState.FAILED
    assert "loss" in trial.message
    assert "other" in trial.message


def test_failed_submissions_back_off_and_then_give_up(site: Site) -> None:
    """A scheduler that refuses is asked again later, a stated number of times; nothing is lost."""
    controller = site.controller(refuse="QOSMaxSubmitJobPerUserLimit")
    controller.step()
    controller.step()
    assert [e["event"] for e in read_jsonl(site.paths.journal)].count("submission_failed") == 1
    site.now += 21
    controller.step()
    site.now += 41
    with pytest.raises(StudyError, match="3 times: QOSMax"):
        controller.step()
    site.die()
    controller = site.controller()
    while not controller.step():
        site.run_all()
    assert len(controller.study.in_state(TrialState.COMPLETED)) == 10


def test_enqueued_trials_come_first(site: Site) -> None:
    """Hand-given parameters are the first trials; the strategy goes on after them."""
    site.enqueue = [{"x": 0.25}, {"x": 0.75}]
    controller = site.controller()
    controller.step()
    trials = list(controller.study.trials.values())
    assert [trial.params["x"] for trial in trials[:2]] == [0.25, 0.75]
    assert [trial.origin for trial in trials] == ["enqueued", "enqueued", "sobol", "sobol"]


def test_stop_marker_ends_the_loop_once_nothing_is_in_flight(site: Site) -> None:
    """After `cancel` no new batch goes out."""
    controller = site.controller()
    controller.step()
    site.paths.stop.touch()
    site.run_all()
    with pytest.raises(StudyError, match="cancelled"):
        controller.step()
    assert site.scheduler.submissions == 1


def test_lost_lease_stops_the_controller_before_it_writes(site: Site) -> None:
    """A controller whose lease was taken over does nothing more."""
    controller = site.controller()
    controller.step()
    before = site.paths.journal.read_bytes()
    site.die()
    other = HeldLease(site.paths.controller)
    site.run_all()
    with pytest.raises(StudyError, match="taken over"):
        controller.step()
    assert site.paths.journal.read_bytes() == before
    other.__exit__()


def _attempt(site: Site, trial: str, number: int, batch: str) -> None:
    lease = Lease(trial, number, batch, "1_0", 0, "node", 1)
    write_json(site.paths.trial(trial).lease, lease.to_json())


def test_vanished_attempt_is_journalled_by_its_number(site: Site) -> None:
    """The attempt in the lease is the one that ended; a trial that never began has none."""
    controller = site.controller()
    controller.step()
    _attempt(site, "0000", 1, "0000")
    _vanish(site, controller)
    events = [e for e in read_jsonl(site.paths.journal) if e["event"] == "attempt_ended"]
    ended = {e["trial"]: e["attempt"] for e in events}
    assert ended == {"0000": 1, "0001": None, "0002": None, "0003": None}
