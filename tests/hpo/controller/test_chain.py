"""What a chain of jobs says of itself, and a follow-up that was lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from controlled_site import Site

from hpo.controller.chain import follow_up
from hpo.records import Progress, append_jsonl
from hpo.study.snapshot import take


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A study of ten trials in batches of four, on a scheduler whose jobs can follow others."""
    site = Site(tmp_path)
    site.scheduler.followers = []
    return site


def _follow(site: Site, controller: Any) -> str:
    return follow_up(controller, controller.executor, site.paths, ["step"])


def test_a_follow_up_that_is_gone_from_the_queue_is_scheduled_again(site: Site) -> None:
    """Somebody cancelled it, and the chain would have ended; while it is there, one is enough."""
    controller = site.controller()
    controller.step()
    assert _follow(site, controller).endswith("next with job f0: in the queue")
    assert _follow(site, controller).endswith("next with job f0: in the queue")
    site.scheduler.followers = ["other"]
    assert _follow(site, controller).endswith("next with job f1: in the queue")
    site.scheduler.answers = False
    assert _follow(site, controller).endswith("next with job f1: whether it is in the queue is not known")


def test_status_between_two_steps_names_the_next_and_knows_what_has_ended(site: Site) -> None:
    """Trials with a result that no step has collected yet are not running."""
    controller = site.controller()
    controller.step()
    _follow(site, controller)
    for trial in ("0000", "0001"):
        append_jsonl(site.paths.trial(trial).progress, Progress(1, "training", 1, 2).to_json())
    site.finish(("", "", "0000"))
    site.fail("0002", 1, "error")
    site.die()
    snapshot = take(site.paths)
    assert "job f0 takes the next, in the queue since" in snapshot.state
    assert [running.trial.id for running in snapshot.running] == ["0001"]
    assert snapshot.over == {"0000", "0002"}
    assert [trial.id for trial in snapshot.queued] == ["0003"]
