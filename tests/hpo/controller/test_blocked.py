"""What waits for ever is not waited for."""

from __future__ import annotations

from pathlib import Path

import pytest
from controlled_site import Site

from hpo.errors import StudyError
from hpo.study.state import TrialState


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A fresh study."""
    return Site(tmp_path)


def test_tasks_that_never_start_stop_the_study_and_leave_the_queue(site: Site) -> None:
    """With the scheduler's words and the hint; the same command goes on once it is mended."""
    controller = site.controller()
    controller.step()
    site.scheduler.blocked = ("never", "BadConstraints", "lower cluster.mem_gb")
    with pytest.raises(StudyError, match="4 tasks of study study will not start: BadConstraints") as caught:
        controller.step()
    assert caught.value.hint.startswith("lower cluster.mem_gb")
    assert site.scheduler.tasks == {}
    assert len(controller.study.in_state(TrialState.INTERRUPTED)) == 4
    site.scheduler.blocked = None
    site.die()
    again = site.controller()
    again.step()
    assert len(again.study.in_state(TrialState.OPEN)) == 4
    assert site.scheduler.submissions == 2


def test_what_needs_help_is_said_once_and_waited_for(site: Site) -> None:
    """After ten minutes; a drained node comes back."""
    controller = site.controller()
    controller.step()
    site.scheduler.blocked = ("help", "ReqNodeNotAvail", "`sinfo -R` says why")
    for _ in range(5):
        controller.step()
        site.now += 301
    assert site.said == ["waiting for 10 minutes: ReqNodeNotAvail; hint: `sinfo -R` says why"]
    site.now += 3 * 86_400
    with pytest.raises(StudyError, match="ReqNodeNotAvail"):
        controller.step()


def test_a_refusal_for_good_is_not_tried_again(site: Site) -> None:
    """The first message stops the study."""
    controller = site.controller(refuse="invalid partition", permanent=True)
    with pytest.raises(StudyError, match="could not be submitted: invalid partition"):
        controller.step()
    assert len(site.events("submission_failed")) == 1
