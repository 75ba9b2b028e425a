"""What no retrying mends: tasks that die before our code begins, and tasks that somebody else cancels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from controlled_site import LIMITS, Site

from hpo.controller.limits import scancels_allowed
from hpo.errors import StudyError
from hpo.study.journal import load_study
from hpo.study.state import TrialState

NOWHERE: Any = None  # the log of a task that wrote none


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A study of ten trials in batches of four."""
    return Site(tmp_path)


def _end_all(site: Site, word: str, log: str | None, node: str = "n1") -> None:
    """All tasks are over at once, without a result."""
    for key in list(site.scheduler.tasks):
        del site.scheduler.tasks[key]
        site.scheduler.over[key] = word
        site.scheduler.nodes[key] = node
        site.scheduler.last_log_lines[key] = log


def _notice(site: Site, controller: Any) -> None:
    controller.step()
    site.now += LIMITS.gone_s + 1
    controller.step()


@pytest.mark.parametrize(
    ("word", "log", "told"),
    [
        (
            "failed",
            "slurm_script: line 9: module: command not found",
            "none of this study ever has: slurm_script",
        ),
        ("failed", NOWHERE, "wrote nothing: the nodes may not see /"),
        ("completed", NOWHERE, "the nodes may not see"),
        ("host_out_of_memory", "", r"HOST_OUT_OF_MEMORY on n1"),
    ],
)
def test_tasks_that_never_begin_stop_the_study(word: str, log: str, told: str, site: Site) -> None:
    """One batch is enough, also on one node of many; no trial has lost an attempt, no node is left out."""
    controller = site.controller(nodes=8)
    controller.step()
    _end_all(site, word, log)
    with pytest.raises(StudyError, match=told) as stopped:
        _notice(site, controller)
    assert "the same command goes on" in stopped.value.hint
    assert "exclude: n1" in stopped.value.hint
    study = load_study(site.paths.journal)
    assert (site.scheduler.submissions, study.excluded) == (1, {})
    assert [trial.retries for trial in study.trials.values()] == [{}] * 4
    site.die()
    controller = site.controller(nodes=8)
    while not controller.step():
        site.run_all()
    assert len(controller.study.in_state(TrialState.COMPLETED)) == 10


def test_nodes_that_fail_alike_are_not_left_out(site: Site) -> None:
    """A site that lost the study folder of a study at work: it is nobody's fault alone."""
    controller = site.controller(nodes=8)
    controller.step()
    site.run_all()
    controller.step()
    for _ in range(2):
        _end_all(site, "failed", NOWHERE)
        site.scheduler.nodes |= {key: f"n{key[1] % 2}" for key in site.scheduler.nodes}
        _notice(site, controller)
    assert len(controller.study.ends) == 4 + 8
    assert controller.study.excluded == {}


def test_once_a_trial_has_begun_such_ends_count_as_lost(site: Site) -> None:
    """They may be one node's: the trials have their retries, and the study goes on."""
    controller = site.controller(nodes=8)
    controller.step()
    site.begin("0000")
    site.scheduler.tasks["1", 0]["state"] = "running"
    kept = site.scheduler.tasks.pop(("1", 0))
    _end_all(site, "failed", NOWHERE)
    site.scheduler.tasks["1", 0] = kept
    _notice(site, controller)
    assert [trial.retries for trial in controller.study.trials.values()][1:] == [{"lost": 1}] * 3
    assert not controller.study.stopped


def test_a_scheduler_that_forgot_its_tasks_stops_nothing(site: Site) -> None:
    """No word of theirs, no node and no log: they may never have run, and are submitted again."""
    controller = site.controller()
    controller.step()
    site.vanish(controller)
    assert site.scheduler.submissions == 2


def _cancelled(site: Site, controller: Any, *indices: int, job: str = "1") -> None:
    for index in indices:
        del site.scheduler.tasks[job, index]
        site.scheduler.over[job, index] = "cancelled"
    _notice(site, controller)


def test_a_trial_cancelled_from_outside_is_not_spent(site: Site) -> None:
    """Another takes its place, so that the study has as many results as it was asked for."""
    controller = site.controller()
    controller.step()
    _cancelled(site, controller, 3)
    while not controller.step():
        site.run_all()
    assert len(controller.study.in_state(TrialState.COMPLETED)) == 10
    assert [trial.id for trial in controller.study.in_state(TrialState.CANCELLED)] == ["0003"]


def test_running_tasks_are_waited_for_before_others_take_the_place_of_cancelled_ones(tmp_path: Path) -> None:
    """`scancel --me` ends what waits at once and what runs half a minute later: nothing new comes between."""
    site = Site(tmp_path, replace(LIMITS, refill=1))
    controller = site.controller()
    controller.step()
    for index in (0, 1):
        site.scheduler.tasks["1", index]["state"] = "completing"
    _cancelled(site, controller, 2, 3)
    assert site.scheduler.submissions == 1
    with pytest.raises(StudyError, match="4 tasks were cancelled by scancel"):
        _cancelled(site, controller, 0, 1)


def test_a_study_stops_once_all_that_was_cancelled_is_seen(site: Site) -> None:
    """Three of four stop it; the fourth, gone at the same moment but seen later, is not spent either."""
    controller = site.controller()
    controller.step()
    site.scheduler.tasks["1", 3]["state"] = "completing"
    _cancelled(site, controller, 0, 1, 2)
    with pytest.raises(StudyError, match="4 tasks were cancelled by scancel"):
        _cancelled(site, controller, 3)
    assert controller.study.spent == 0


def test_retry_gives_a_cancelled_trial_another_attempt_and_then_forgets_it(tmp_path: Path) -> None:
    """As often as equal errors are allowed, then its place goes to another."""
    scancels, again = scancels_allowed("retry", 4, 3)
    retries = {**LIMITS.retries, "cancelled": again}
    site = Site(tmp_path, replace(LIMITS, retries=retries, scancels=scancels))
    controller = site.controller()
    controller.step()
    for _ in range(3):
        key = next(key for key, task in site.scheduler.tasks.items() if task["arguments"][2] == "0003")
        _cancelled(site, controller, key[1], job=key[0])
    assert controller.study.trials["0003"].state is TrialState.CANCELLED
    assert controller.study.trials["0003"].outside


@pytest.mark.parametrize(
    ("on_scancel", "allowed"), [("stop", (1, 0)), ("forget", (3, 0)), (None, (3, 0)), ("retry", (12, 2))]
)
def test_what_on_scancel_comes_to(on_scancel: str | None, allowed: tuple[int, int]) -> None:
    """(tasks in a row that stop the study, further attempts of a trial)."""
    assert scancels_allowed(on_scancel, 4, 3) == allowed
