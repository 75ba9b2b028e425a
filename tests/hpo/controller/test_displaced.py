"""A controller whose lease was taken over writes nothing more, whatever long call it was in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from controlled_site import Site

from hpo.errors import StudyError
from hpo.study.lease import HeldLease


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A study of ten trials in batches of four."""
    return Site(tmp_path)


def _contents(site: Site) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in site.paths.folder.rglob("*") if path.is_file()}


class Displacement:
    """Another controller takes the study over while a call of ours lasts."""

    def __init__(self, site: Site, owner: Any, name: str) -> None:
        self._site, self._call = site, getattr(owner, name)
        self.before: dict[Path, bytes] = {}
        setattr(owner, name, self)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        answer = self._call(*arguments, **options)
        self._site.die()
        HeldLease(self._site.paths.controller)
        self.before = _contents(self._site)
        return answer


@pytest.mark.parametrize("call", ["poll", "submit", "release", "propose", "limits"])
def test_nothing_is_written_after_a_long_call(call: str, site: Site) -> None:
    """Of the files of the study none changes, nor is one added."""
    controller = site.controller()
    owner = controller._proposer if call == "propose" else controller.executor
    displacement = Displacement(site, owner, call)
    with pytest.raises(StudyError, match="taken over"):
        controller.step()
    assert displacement.before
    assert _contents(site) == displacement.before


def test_a_damaged_result_is_left_to_the_next_controller(site: Site) -> None:
    """Also the rename that moves it aside is a write."""
    controller = site.controller()
    controller.step()
    site.paths.trial("0000").metrics.write_text("{")
    displacement = Displacement(site, controller.executor, "poll")
    with pytest.raises(StudyError, match="taken over"):
        controller.step()
    assert _contents(site) == displacement.before


def test_arrays_of_the_next_controller_are_no_strays(site: Site) -> None:
    """The displaced one does not know them, and must not sweep them away."""
    controller = site.controller()
    controller.step()
    Displacement(site, controller.executor, "poll")
    name = next(iter(site.scheduler.names.values()))
    site.scheduler.names["9"] = name
    site.scheduler.tasks["9", 0] = {"state": "held", "arguments": ()}
    with pytest.raises(StudyError, match="taken over"):
        controller.step()
    assert ("9", 0) in site.scheduler.tasks
