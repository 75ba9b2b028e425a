"""One cause per attempt: files, queue and accounting joined; what each cause does and what it costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from controlled_site import LIMITS, Site

from hpo.errors import StudyError
from hpo.records import Cause, Metric, TrialResult, write_json
from hpo.study.gpu_hours import used, used_by_now
from hpo.study.state import TrialState


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A study of one array of four."""
    return Site(tmp_path, replace(LIMITS, trials=4))


def _causes(site: Site) -> list[str]:
    return [str(event["cause"]) for event in site.events("attempt_ended")]


@pytest.mark.parametrize("word", ["preempted", "node_failure", "timed_out", "host_out_of_memory"])
def test_queue_still_tells_the_cause(word: str, site: Site) -> None:
    """What squeue shows of an ended task for some minutes is its cause, and the trial runs again."""
    controller = site.controller()
    controller.step()
    site.begin("0000")
    site.vanish(controller, word)
    assert _causes(site) == [word] * 4
    assert [event["attempt"] for event in site.events("attempt_ended")] == [1, None, None, None]
    assert len(controller.study.in_state(TrialState.OPEN)) == 4


def test_accounting_tells_what_the_queue_has_forgotten(site: Site) -> None:
    """Asked for the tasks without a word only; the last execution counts."""
    controller = site.controller()
    controller.step()
    first = {"ending": "preempted", "node": "n1", "seconds": 9.0, "gpus": 1, "exit": "0:0"}
    last = {"ending": "timed_out", "node": "n2", "seconds": 60.0, "gpus": 1, "exit": "0:15"}
    site.scheduler.accounting = {("1", 0): [first, last]}
    site.vanish(controller)
    assert _causes(site) == ["timed_out", "lost", "lost", "lost"]
    assert site.events("attempt_ended")[0]["node"] == "n2"


def test_without_any_word_a_warned_attempt_was_preempted(site: Site) -> None:
    """No queue entry and no accounting: the signals that the attempt noted are all there is."""
    controller = site.controller()
    controller.step()
    site.begin("0000", signals=["TERM"])
    site.begin("0001")
    site.vanish(controller)
    assert _causes(site) == ["preempted", "lost", "lost", "lost"]


def test_task_cancelled_by_hand_stays_cancelled(site: Site) -> None:
    """scancel of everything is an end like that by `cancel`, which stops the study and says so."""
    controller = site.controller()
    controller.step()
    site.begin("0000", seconds=5.0)
    with pytest.raises(StudyError, match=r"4 tasks were cancelled by scancel"):
        site.vanish(controller, "cancelled")
    trials = controller.study.in_state(TrialState.CANCELLED)
    assert len(trials) == 4
    assert "scancel" in trials[0].message
    assert used(controller.study).lost == 5.0


def test_task_that_fails_before_the_trial_shows_its_log(site: Site) -> None:
    """A broken set-up is an error with the log's words, which stops the study when it repeats."""
    controller = site.controller(nodes=1)
    controller.step()
    for index in range(4):
        site.scheduler.last_log_lines["1", index] = "bash: module: command not found"
    with pytest.raises(StudyError, match="module: command not found"):
        site.vanish(controller, "failed")


def test_missing_is_journalled_so_that_single_steps_settle_it(site: Site) -> None:
    """A controller that lives for one pass only still takes a task for lost in the end."""
    site.controller().step()
    site.scheduler.tasks.clear()
    site.die()
    site.controller().step()
    assert len(site.events("task_missing")) == 4
    site.die()
    site.now += LIMITS.gone_s + 1
    site.controller().step()
    assert _causes(site) == ["lost"] * 4


def test_task_that_comes_back_was_not_lost(site: Site) -> None:
    """Requeued elements may be out of sight for a moment."""
    controller = site.controller()
    controller.step()
    tasks = dict(site.scheduler.tasks)
    site.scheduler.tasks.clear()
    controller.step()
    site.scheduler.tasks.update(tasks)
    site.now += LIMITS.gone_s + 1
    controller.step()
    assert len(site.events("task_seen")) == 4
    assert _causes(site) == []


@pytest.mark.parametrize("jump", [-7200.0, 7200.0])
def test_clock_that_jumps_loses_nothing(jump: float, site: Site) -> None:
    """Back: the time is counted anew and does not hang; forth: the trials run again at the worst."""
    controller = site.controller()
    controller.step()
    site.scheduler.tasks.clear()
    controller.step()
    site.now += jump
    controller.step()
    site.now += LIMITS.gone_s + 1
    controller.step()
    assert _causes(site) == ["lost"] * 4
    site.run_all()
    assert controller.step()


def test_requeued_attempts_are_recorded_while_the_trial_goes_on(site: Site) -> None:
    """Slurm puts a preempted task back by itself: the attempt is over, the trial is not."""
    controller = site.controller()
    controller.step()
    site.begin("0000", seconds=100.0, saved_seconds=80.0, saved_step=8, signals=["USR2"])
    controller.step()
    [event] = site.events("attempt_requeued")
    assert (event["cause"], event["seconds"], event["useful_seconds"]) == ("preempted", 100.0, 80.0)
    assert controller.study.trials["0000"].state is TrialState.OPEN
    site.begin("0000", 2, seconds=50.0, from_step=8)
    files = site.paths.trial("0000")
    write_json(files.metrics, TrialResult("0000", 2, {"loss": Metric(0.5)}).to_json())
    controller.step()
    assert [end.cause for end in controller.study.ends] == [Cause.PREEMPTED, None]
    usage = used(controller.study)
    assert (usage.useful, usage.lost) == (130.0, 20.0)


def test_budget_of_retries_counts_only_where_nothing_is_gained(site: Site) -> None:
    """A trial that saves something between two node failures may be interrupted for ever."""
    controller = site.controller()
    controller.step()
    for number in range(1, LIMITS.retries["node_failure"] + 4):
        for name in ("0000", "0001"):
            moved = {"saved_step": 10 * number, "from_step": 10 * number - 10} if name == "0000" else {}
            site.begin(name, number, batch=controller.study.trials[name].batch, **moved)
        site.vanish(controller, "node_failure")
    assert controller.study.trials["0000"].state is TrialState.OPEN
    assert controller.study.trials["0001"].state is TrialState.FAILED


def test_time_limit_that_keeps_a_trial_from_getting_on_is_doubled(site: Site) -> None:
    """Two warnings at the limit without a step done: the task is taken out, and its next array has longer."""
    controller = site.controller()
    controller.step()
    warned = 240 * 60.0
    for number in (1, 2):
        site.begin("0000", number, seconds=warned, signals=["USR2"])
        controller.step()
    assert [event["cause"] for event in site.events("attempt_requeued")] == ["timed_out"] * 2
    assert ("1", 0) not in site.scheduler.tasks
    assert site.scheduler.options["2"]["time_limit_min"] == 240 * 8


def test_gpu_hours_end_the_study(tmp_path: Path) -> None:
    """No new trials once the attempts, running ones included, have used what was given."""
    site = Site(tmp_path, replace(LIMITS, gpu_hours=1.0))
    controller = site.controller()
    controller.step()
    for trial in ("0000", "0001", "0002", "0003"):
        site.begin(trial, seconds=1000.0)
    assert used_by_now(controller.study, site.paths).hours == pytest.approx(4000 / 3600)
    site.run_all()
    assert controller.step()
    assert controller.study.finished == "budget.gpu_hours=1 is spent"
    assert len(controller.study.trials) == 4


def test_accounting_outranks_what_attempts_say(tmp_path: Path) -> None:
    """At the end one query tells what each execution really held, waiting for its kill included."""
    site = Site(tmp_path, replace(LIMITS, trials=1))
    controller = site.controller()
    controller.step()
    site.begin("0000", seconds=100.0)
    row = {"ending": "completed", "node": "n1", "seconds": 120.0, "gpus": 2, "exit": "0:0"}
    site.scheduler.accounting = {("1", 0): [row]}
    site.run_all()
    assert controller.step()
    assert used(controller.study).useful == 240.0
