"""Proposals that a job of its own makes: asked for once, planned when there, asked again if it dies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from controlled_site import LIMITS, Site
from memory_executor import Refused

from hpo.errors import StudyError
from hpo.records import write_json_once
from hpo.study.state import TrialState


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A study whose proposals are made elsewhere."""
    return Site(tmp_path, replace(LIMITS, propose_on_job=True))


def _answer(site: Site, controller: Any, *, exhausted: bool = False) -> None:
    """Do what the job would: propose from the journal, and commit."""
    [(key, task)] = [(k, t) for k, t in site.scheduler.tasks.items() if "propose" in t["arguments"][1]]
    _, request, room = task["arguments"]
    proposer = controller._proposer
    proposals = [each.to_event() for each in proposer.propose(controller.study, int(room))]
    del site.scheduler.tasks[key]
    answer = site.paths.answer(request)
    write_json_once(answer, {"proposals": proposals, "exhausted": exhausted})


def test_same_trials_as_proposed_by_the_controller_itself(site: Site, tmp_path: Path) -> None:
    """Asked once, planned with the answer; parameters and seeds are those of a study that proposes itself."""
    controller = site.controller()
    for _ in range(3):
        controller.step()
    assert site.scheduler.submissions == 1
    assert site.scheduler.options["1"] == {"helper": True}
    _answer(site, controller)
    controller.step()
    assert site.scheduler.submissions == 2
    (tmp_path / "other").mkdir()
    other = Site(tmp_path / "other")
    itself = other.controller()
    itself.step()
    params = [trial.params for trial in controller.study.trials.values()]
    assert params == [trial.params for trial in itself.study.trials.values()]


def test_killed_controller_finds_its_request_again(site: Site) -> None:
    """The request is in the journal: the next controller waits for the same job."""
    site.controller().step()
    site.die()
    controller = site.controller()
    controller.step()
    assert site.scheduler.submissions == 1
    _answer(site, controller)
    controller.step()
    assert len(controller.study.in_state(TrialState.OPEN)) == 4


def test_request_of_a_controller_that_died_before_recording_it_is_swept(site: Site) -> None:
    """A held job that no record names is cancelled like any other."""
    controller = site.controller()
    site.scheduler.names["99"] = f"fr-study-{controller.study.uid}-propose-0000-abcdef"
    site.scheduler.tasks["99", 0] = {"state": "held", "arguments": ("s", "propose-0000-abcdef", "4")}
    controller.step()
    assert ("99", 0) not in site.scheduler.tasks


def test_job_that_dies_is_asked_again_and_then_its_words_are_shown(site: Site) -> None:
    """Three in a row, and the study stops with the end of the job's log."""
    controller = site.controller()

    def step_and_die() -> None:
        controller.step()
        for key in list(site.scheduler.tasks):
            del site.scheduler.tasks[key]
            site.scheduler.last_log_lines[key] = "ModuleNotFoundError: No module named 'botorch'"
        site.now += 60

    for _ in range(5):
        step_and_die()
    with pytest.raises(StudyError, match="No module named 'botorch'"):
        step_and_die()
    assert len(site.events("proposal_failed")) == 3
    assert "botorch" in controller.study.stopped


def test_whole_study(site: Site) -> None:
    """Ten trials in batches of four, each batch proposed by a job."""
    controller = site.controller()
    for _ in range(40):
        if controller.step():
            break
        if controller.study.request is not None:
            _answer(site, controller)
        else:
            site.run_all()
    assert len(controller.study.in_state(TrialState.COMPLETED)) == 10
    assert [len(batch.trials) for batch in controller.study.batches.values()] == [4, 4, 2]


def test_a_job_that_could_not_be_released_is_released_later(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was submitted: what is said is what failed, and the next look at the queue does it again."""
    controller = site.controller()
    with monkeypatch.context() as away:

        def refuse(job_id: str) -> None:
            raise Refused("no answer", busy=True)

        away.setattr(controller.executor, "release", refuse)
        controller.step()
    assert [line for line in site.said if "could not" in line] == [
        "could not release the job that proposes, trying again later: no answer"
    ]
    controller.step()
    assert [task["state"] for task in site.scheduler.tasks.values()] == ["pending"]
    assert site.scheduler.submissions == 1


def test_an_error_of_ours_is_raised(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no answer of the scheduler."""
    controller = site.controller()

    def break_down(**_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(controller.executor, "submit", break_down)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        controller.step()
