"""How often the scheduler is asked, and what the loop does while a disk or the scheduler is away."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from controlled_site import Site

from hpo.controller.loop import JITTER, LONGEST, Pacer, look_wait
from hpo.records import append_jsonl
from hpo.study.journal import Journal, load_study
from hpo.study.state import Event


def _intervals(pacer: Pacer, eventful: list[bool]) -> list[float]:
    """The waits between queries when time passes in steps of 10 ms."""
    now, waits = 0.0, []
    for each in eventful:
        asked = now
        pacer.asked(now, eventful=each)
        while not pacer.due(now):
            now += 0.01
        waits.append(now - asked)
    return waits


def test_backs_off_while_nothing_happens_and_comes_back() -> None:
    """10 s, 15, 22.5 and so on up to 60, each a tenth more or less; an event brings it back to 10."""
    waits = _intervals(Pacer(10.0), [True, False, False, *[False] * 4, True])
    for wait, expected in zip(waits, [10, 15, 22.5, 33.75, 50.6, 60, 60, 10], strict=True):
        assert wait == pytest.approx(expected, rel=JITTER + 0.01)
    assert max(waits) <= LONGEST * 10 * (1 + JITTER) + 0.02


def test_local_executor_is_asked_evenly() -> None:
    """It starts what waits only when it is asked."""
    assert _intervals(Pacer(1.0, backs_off=False), [False] * 3) == pytest.approx([1.0] * 3, abs=0.02)


@pytest.mark.parametrize(
    ("quiet_s", "longest_s", "wait_s"),
    [(0.0, 2.0, 0.5), (5.0, 2.0, 1.0), (60.0, 2.0, 2.0), (0.0, 0.1, 0.1), (60.0, 10.0, 10.0)],
)
def test_looks_are_close_together_while_trials_end(quiet_s: float, longest_s: float, wait_s: float) -> None:
    """Half a second after an event, a fifth of the quiet time later, at most `look_seconds`."""
    assert look_wait(quiet_s, longest_s) == wait_s


def test_passes_without_a_poll_ask_nothing(tmp_path: Path) -> None:
    """Results are seen in the folder; what is done is recorded and refilled all the same."""
    site = Site(tmp_path)
    controller = site.controller()
    controller.step()
    assert site.scheduler.polls == 1
    site.run_all()
    controller.step(poll=False)
    assert site.scheduler.polls == 1
    assert site.scheduler.submissions == 2


def test_full_disk_leaves_a_journal_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a line, then no space; the same event again, and the journal is whole with it in there once."""
    site = Site(tmp_path)
    journal = Journal(site.paths.journal)
    before = site.paths.journal.read_bytes()

    def torn(path: Path, record: object) -> None:
        with path.open("a") as stream:
            stream.write('{"schema_version": 1, "at": "2026')
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("hpo.study.journal.append_jsonl", torn)
    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            journal.record(Event.NODE_EXCLUDED, node="n1", message="m")
    assert journal.study.excluded == {}
    monkeypatch.setattr("hpo.study.journal.append_jsonl", append_jsonl)
    journal.record(Event.NODE_EXCLUDED, node="n1", message="m")
    assert load_study(site.paths.journal).excluded == {"n1": "m"}
    assert site.paths.journal.read_bytes().startswith(before)
    assert len(site.events("node_excluded")) == 1
