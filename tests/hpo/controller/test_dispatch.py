"""What the controller does to the queue: sweep, split, back off, throttle, pause; nodes that are left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from controlled_site import LIMITS, Site
from memory_executor import Refused

from hpo.controller.limits import shares
from hpo.study.state import TrialState


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A fresh study."""
    return Site(tmp_path)


def test_late_array_of_a_failed_submission_is_swept_away(site: Site) -> None:
    """An sbatch that was taken for failed shows up later, held and unrecorded: no trial runs twice."""
    controller = site.controller(refuse="timed out", busy=True)
    controller.step()
    controller.executor.refuse = ""
    site.scheduler.names["99"] = f"fr-study-{controller.study.uid}-0000-abcdef"
    site.scheduler.tasks["99", 0] = {"state": "held", "arguments": ("s", "0000", "0000")}
    site.scheduler.names["77"] = "fr-study-ffffff-0000-abcdef"
    site.scheduler.tasks["77", 0] = {"state": "held", "arguments": ("another", "study", "s")}
    site.now += 21
    controller.step()
    assert ("99", 0) not in site.scheduler.tasks
    assert ("77", 0) in site.scheduler.tasks
    assert len(controller.study.in_state(TrialState.OPEN)) == 4


def test_nothing_is_submitted_again_before_the_queue_was_seen(site: Site) -> None:
    """After a submission that failed, a scheduler that does not answer keeps the controller from a second."""
    controller = site.controller(refuse="timed out", busy=True)
    controller.step()
    controller.executor.refuse = ""
    site.scheduler.answers = False
    site.now += 1000
    controller.step()
    assert site.scheduler.submissions == 0
    site.scheduler.answers = True
    controller.step()
    assert site.scheduler.submissions == 1


def test_busy_scheduler_is_waited_for_without_end(site: Site) -> None:
    """Limits on submitted jobs pass; they use up no tries."""
    controller = site.controller(refuse="QOSMaxSubmitJobPerUserLimit", busy=True)
    for _ in range(10):
        controller.step()
        site.now += 1000
    assert not controller.study.stopped
    # one a pass, and one more after each of the two splits, of four trials to two and to one
    assert len(site.events("submission_failed")) == 12


def test_batch_that_is_too_large_even_for_an_empty_queue_is_split(site: Site) -> None:
    """A limit of one submitted job at a time still lets every trial through."""
    controller = site.controller(most_at_once=1)
    for _ in range(200):
        if controller.step():
            break
        site.run_all()
        site.now += 1000
    assert len(controller.study.in_state(TrialState.COMPLETED)) == 10
    assert site.events("batch_split")


def test_arrays_keep_to_the_sites_size(tmp_path: Path) -> None:
    """MaxArraySize 3 and ten trials: arrays of 3, 3, 3 and 1."""
    site = Site(tmp_path, replace(LIMITS, batch_size=10, refill=10))
    controller = site.controller(array_size=3)
    controller.step()
    assert [len(batch.trials) for batch in controller.study.batches.values()] == [3, 3, 3, 1]
    assert site.scheduler.submissions == 4


def test_shares_by_hand() -> None:
    """The oldest first; what is left for the next; never more than is needed."""
    assert shares([("a", 3), ("b", 4), ("c", 2)], 5) == {"a": 3, "b": 2, "c": 0}
    assert shares([("a", 3)], 5) == {"a": 3}


def _running_limits(site: Site) -> list[object]:
    return [options.get("at_once") for options in site.scheduler.options.values()]


def test_max_parallel_holds_over_all_arrays(tmp_path: Path) -> None:
    """Four at once: while three of the first array are open the second may run one, and then more."""
    site = Site(tmp_path, replace(LIMITS, refill=1, batch_size=4, max_parallel=4))
    controller = site.controller()
    controller.step()
    assert _running_limits(site) == [4]
    site.finish(site.scheduler.tasks.pop(("1", 0))["arguments"])
    controller.step()
    assert _running_limits(site) == [4, 1]
    assert site.scheduler.tasks["2", 0]["state"] == "pending"


def test_array_without_a_share_stays_held_until_there_is_one(tmp_path: Path) -> None:
    """A second array does not start while the first has all the room."""
    site = Site(tmp_path, replace(LIMITS, batch_size=8, refill=8, max_parallel=4, trials=8))
    controller = site.controller(array_size=4)
    controller.step()
    assert {task["state"] for key, task in site.scheduler.tasks.items() if key[0] == "2"} == {"held"}
    for index in range(2):
        site.finish(site.scheduler.tasks.pop(("1", index))["arguments"])
    controller.step()
    controller.step()
    assert {task["state"] for key, task in site.scheduler.tasks.items() if key[0] == "2"} == {"pending"}
    assert site.scheduler.throttles["2"] == 2


def test_throttle_changes_while_it_runs(site: Site) -> None:
    """The file that `throttle` writes counts from the next look on, and its end is the end of the limit."""
    controller = site.controller()
    controller.step()
    site.paths.throttle.write_text("2")
    controller.step()
    assert site.scheduler.throttles == {"1": 2}
    site.paths.throttle.unlink()
    controller.step()
    assert site.scheduler.throttles == {"1": None}


def test_throttle_that_failed_is_tried_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the scheduler did not take is not recorded as done."""
    controller = site.controller()
    controller.step()
    site.paths.throttle.write_text("2")
    with monkeypatch.context() as away:

        def refuse(job_id: str, at_once: int | None) -> None:
            raise Refused("no answer", busy=True)

        away.setattr(controller.executor, "throttle", refuse)
        controller.step()
    assert any("no answer" in line for line in site.said)
    controller.step()
    assert site.scheduler.throttles == {"1": 2}


@pytest.mark.parametrize("method", ["submit", "release", "throttle"])
def test_an_error_of_ours_is_not_taken_for_the_schedulers(
    site: Site, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """A RuntimeError that is no executor's is a fault: it is raised, not tried again for ever."""
    controller = site.controller()
    if method == "throttle":
        controller.step()
        site.paths.throttle.write_text("2")

    def break_down(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(controller.executor, method, break_down)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        controller.step()


def test_pause_holds_what_waits_and_plans_nothing(site: Site) -> None:
    """Held until the marker is gone; then all of it starts."""
    controller = site.controller()
    controller.step()
    site.paths.pause.touch()
    controller.step()
    assert {task["state"] for task in site.scheduler.tasks.values()} == {"held"}
    site.now += 5000
    controller.step()
    assert len(controller.study.trials) == 4
    site.paths.pause.unlink()
    controller.step()
    assert {task["state"] for task in site.scheduler.tasks.values()} == {"pending"}


def test_task_of_an_ended_trial_is_swept_away(site: Site) -> None:
    """A zombie won the race for the result: its successor need not go on."""
    controller = site.controller()
    controller.step()
    site.finish(site.scheduler.tasks["1", 0]["arguments"])
    controller.step()
    assert ("1", 0) in site.scheduler.tasks
    site.now += 2.0e9  # the journal's times are the machine's: far beyond them
    controller.step()
    assert ("1", 0) not in site.scheduler.tasks


def test_batch_that_the_journal_has_lost_is_submitted_anew(site: Site) -> None:
    """A power cut took the last line but not batch.json: its held array goes, and no trial with it."""
    first = site.controller()
    first.step()
    journal = site.paths.journal.read_text().splitlines(keepends=True)
    planned = next(number for number, line in enumerate(journal) if '"batch_planned"' in line)
    site.paths.journal.write_text("".join(journal[:planned]))
    for task in site.scheduler.tasks.values():
        task["state"] = "held"
    site.die()
    second = site.controller()
    second.step()
    assert {job_id for job_id, _ in site.scheduler.tasks} == {"2"}
    site.run_all()
    second.step()
    assert len(second.study.in_state(TrialState.COMPLETED)) == 4


def test_nothing_waits_in_the_queue_once_the_study_is_over(site: Site) -> None:
    """A copy of a trial that has its result by now, held or pending, would stay there unseen."""
    site.limits = replace(LIMITS, trials=4)
    controller = site.controller()
    controller.step()
    site.scheduler.tasks["1", 3]["state"] = "held"
    for task in list(site.scheduler.tasks.values()):
        site.finish(task["arguments"])
    site.scheduler.tasks["1", 0]["state"] = "running"  # it has just written its result
    assert controller.step(poll=False)
    assert list(site.scheduler.tasks) == [("1", 0)]


def test_study_is_not_over_before_the_queue_was_seen(site: Site) -> None:
    """A scheduler that does not answer cannot say what is left there."""
    site.limits = replace(LIMITS, trials=4)
    controller = site.controller()
    controller.step()
    site.run_all()
    site.scheduler.answers = False
    assert not controller.step()
    site.scheduler.answers = True
    assert controller.step()


def _fails_on(site: Site, trial: str, attempt: int, node: str, message: str) -> None:
    site.begin(trial, attempt, batch="0000")
    record = site.paths.trial(trial).attempt(attempt)
    record.write_text(record.read_text().replace('"node"', f'"{node}"'))
    site.fail(trial, attempt, "error", message)


def test_node_on_which_everything_fails_is_left_out(site: Site) -> None:
    """Three equal errors of one node exclude it and do not stop the study; the next arrays avoid it."""
    controller = site.controller()
    controller.step()
    for trial in ("0000", "0001", "0002"):
        _fails_on(site, trial, 1, "black-hole", "No such file or directory: '/shared'")
    controller.step()
    assert list(controller.study.excluded) == ["black-hole"]
    assert site.scheduler.options["2"]["exclude"] == ["black-hole"]
    assert not controller.study.stopped


def test_error_on_several_nodes_is_not_the_nodes(site: Site) -> None:
    """The same message from two nodes stops the study and blames neither."""
    controller = site.controller()
    controller.step()
    for trial, node in (("0000", "a"), ("0001", "b"), ("0002", "a")):
        _fails_on(site, trial, 1, node, "no such column")
    with pytest.raises(Exception, match="no such column"):
        controller.step()
    assert controller.study.excluded == {}


def test_at_most_half_of_the_nodes_are_left_out(site: Site) -> None:
    """With two nodes one may go; when the other fails as well, the study stops instead."""
    controller = site.controller(nodes=2)
    controller.step()
    for trial in ("0000", "0001", "0002"):
        _fails_on(site, trial, 1, "a", "broken a")
    controller.step()
    for trial in ("0000", "0001", "0002"):
        _fails_on(site, trial, 2, "b", "broken b")
    with pytest.raises(Exception, match="broken b"):
        controller.step()
    assert list(controller.study.excluded) == ["a"]
