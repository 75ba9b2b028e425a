"""A controller that is started while the study's disk is away waits for it."""

from __future__ import annotations

import errno

import pytest

from hpo.controller.loop import LONGEST_S, PAUSE_S, insist


def _failing(number: int, times: int) -> list[OSError]:
    return [OSError(number, "as asked", "/studies/demo") for _ in range(times)]


def test_full_disk_is_waited_for() -> None:
    """The act is repeated until it works; the user is told once."""
    errors, said, waits = _failing(errno.ENOSPC, 3), list[str](), list[float]()

    def act() -> str:
        if errors:
            raise errors.pop()
        return "written"

    assert insist(act, said.append, waits.append) == "written"
    assert waits == [PAUSE_S] * 3
    assert len(said) == 1
    assert "/studies/demo" in said[0]


def test_missing_permission_is_not_waited_for() -> None:
    """It does not pass by itself."""

    def act() -> None:
        raise OSError(errno.EACCES, "as asked")

    with pytest.raises(OSError, match="as asked"):
        insist(act, print, lambda _: pytest.fail("it waited"))


def test_patience_ends() -> None:
    """A disk that stays read-only is an error in the end."""
    waits: list[float] = []

    def act() -> None:
        raise OSError(errno.EROFS, "as asked")

    with pytest.raises(OSError, match="as asked"):
        insist(act, lambda _: None, waits.append)
    assert sum(waits) == LONGEST_S
