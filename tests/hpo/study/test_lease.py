"""One controller a study, and a dead one's place can be taken."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hpo.errors import InputError, StudyError
from hpo.records import write_json
from hpo.study.lease import ControllerLease, HeldLease, _clear_if_dead, owner_alive, process_start


def _lease(**fields: Any) -> ControllerLease:
    given = {"token": "t", "host": "elsewhere", "pid": 1, "process_start": "1", "heartbeat": time.time()}
    return ControllerLease(**{**given, **fields})


def test_second_controller_is_refused_with_the_first_ones_name(tmp_path: Path) -> None:
    """The message says who holds the study and where; exit code 2."""
    path = tmp_path / "controller.json"
    with HeldLease(path), pytest.raises(InputError, match="another controller: pid") as refused:
        HeldLease(path)
    assert refused.value.exit_code == 2
    assert not path.exists()


def test_lease_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    """After kill -9 nothing is to be cleaned by hand."""
    path = tmp_path / "controller.json"
    code = (
        "import os, sys; from pathlib import Path; from hpo.study.lease import HeldLease\n"
        "HeldLease(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert path.exists()
    with HeldLease(path) as lease:
        lease.renew()
    assert [entry.name for entry in tmp_path.iterdir()] == []


@pytest.mark.parametrize(("age_s", "alive"), [(10.0, True), (200.0, False)])
def test_owner_on_another_host_is_judged_by_its_heartbeat(age_s: float, alive: bool) -> None:
    """A pid says nothing across hosts; silence for three minutes does."""
    assert owner_alive(_lease(heartbeat=time.time() - age_s), stale_s=180.0) is alive


def test_pid_that_was_given_to_another_process_is_not_the_owner(tmp_path: Path) -> None:
    """The start time of a process tells it from a later one with the same pid."""
    import os
    import socket

    mine = _lease(host=socket.gethostname(), pid=os.getpid(), process_start=process_start(os.getpid()))
    reused = _lease(host=socket.gethostname(), pid=os.getpid(), process_start="1")
    assert owner_alive(mine, 180.0)
    assert not owner_alive(reused, 180.0)


def test_owner_notices_that_its_lease_was_taken(tmp_path: Path) -> None:
    """A controller that was thought dead does not write beside its successor."""
    path = tmp_path / "controller.json"
    held = HeldLease(path)
    write_json(path, _lease(token="another").to_json())
    with pytest.raises(StudyError, match="taken over by pid 1 on elsewhere"):
        held.renew()


def _try(path: str, gate: Any, won: Any) -> None:
    gate.wait()
    try:
        HeldLease(Path(path))
    except InputError:
        return
    won.put(1)
    time.sleep(1)


@pytest.mark.parametrize("stale", [False, True])
def test_of_controllers_started_together_one_gets_the_study(stale: bool, tmp_path: Path) -> None:
    """Six processes at once, with and without a dead owner's lease in the way: one wins."""
    path = tmp_path / "controller.json"
    if stale:
        write_json(path, _lease(heartbeat=0.0).to_json())
    context = multiprocessing.get_context("fork")
    gate, won = context.Event(), context.Queue()
    racers = [context.Process(target=_try, args=(str(path), gate, won)) for _ in range(6)]
    for racer in racers:
        racer.start()
    gate.set()
    for racer in racers:
        racer.join()
    assert won.qsize() == 1


def test_lease_made_between_look_and_removal_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two that find a dead owner, the slower one must not sweep away the lease of the quicker one."""
    path = tmp_path / "controller.json"
    write_json(path, _lease(heartbeat=0.0).to_json())
    quicker = _lease(token="quicker").to_json()
    monkeypatch.setattr(
        "hpo.study.lease.refuse_second_controller", lambda path, stale_s: write_json(path, quicker)
    )
    _clear_if_dead(path, stale_s=180.0)
    assert ControllerLease.read(path).token == "quicker"
    assert [entry.name for entry in tmp_path.iterdir()] == ["controller.json"]
