"""The local executor: every element exactly once, whatever becomes of the controller."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conditions import PATIENCE_S

from slurm import local_executor
from slurm.errors import SubmissionError
from slurm.local import claim
from slurm.local import starts as local_starts
from slurm.local.array import Claim, create, load
from slurm.local.processes import is_alive
from slurm.local.starts import Starts
from slurm.local_executor import LocalExecutor
from slurm.settings import ClusterSettings

if TYPE_CHECKING:
    from tests.slurm.conftest import ElementLog

Wait = Callable[..., None]
DRIVER = Path(__file__).with_name("targets") / "local_driver.py"


@pytest.fixture
def executor(
    settings: dict[str, Any], targets: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalExecutor]:
    """A local executor with two slots and little patience; what a test leaves running is ended."""
    monkeypatch.setattr(local_executor, "CANCEL_GRACE_S", 0.3)
    made = LocalExecutor(**{**settings, "max_parallel": 2})
    yield made
    made.cancel(list(made.poll()))


def submit(executor: LocalExecutor, folder: Path, function: str, *arguments: list[str]) -> str:
    """Submit and release an array of one of the targets."""
    target = f"element_targets:{function}"
    job_id = executor.submit(name="array", folder=str(folder), target=target, arguments=arguments)
    executor.release(job_id)
    return job_id


def drive(tmp_path: Path, settings: dict[str, Any], folder: Path, arguments: list[list[str]]) -> list[str]:
    """The command of a small controller in a process of its own."""
    array = {"folder": str(folder), "target": "element_targets:work", "arguments": arguments}
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"settings": settings, "folder": str(folder), "array": array}))
    return [sys.executable, str(DRIVER), str(request)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_every_element_runs_once_when_the_controller_is_killed_again_and_again(
    seed: int, tmp_path: Path, folder: Path, settings: dict[str, Any], targets: str, log: ElementLog
) -> None:
    """kill -9 at random moments, each time followed by a new controller; never more at once than slots."""
    moments = random.Random(seed)
    arguments = [[str(tmp_path), str(index), "0.2"] for index in range(4)]
    command = drive(tmp_path, {**settings, "max_parallel": 2}, folder, arguments)
    for _ in range(5):
        driver = subprocess.Popen(command)
        time.sleep(moments.uniform(0.2, 0.9))
        driver.kill()
        driver.wait()
    subprocess.run(command, check=True, timeout=60)
    assert log.started() == log.ended() == ["0", "1", "2", "3"]
    assert log.most_at_once() <= 2


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, *(pytest.param(own, marks=pytest.mark.slow) for own in (signal.SIGINT, signal.SIGHUP))],
)
def test_elements_outlive_their_controller_and_hold_none_of_its_pipes(
    number: int,
    tmp_path: Path,
    folder: Path,
    settings: dict[str, Any],
    targets: str,
    log: ElementLog,
    wait_until: Wait,
) -> None:
    """A signal to the whole process group, as a terminal sends it, ends the controller only."""
    command = drive(tmp_path, settings, folder, [[str(tmp_path), "0", "8"]])
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    driver = subprocess.Popen(command, start_new_session=True, **pipes)
    wait_until(lambda: log.started() == ["0"])
    os.killpg(driver.pid, number)
    driver.communicate(timeout=PATIENCE_S)  # ends only when nobody holds the pipes any more
    assert driver.returncode != 0
    assert log.ended() == []
    wait_until(lambda: log.ended() == ["0"])


def test_a_new_executor_finds_what_an_earlier_one_submitted(
    folder: Path, settings: dict[str, Any], log: ElementLog, executor: LocalExecutor, wait_until: Wait
) -> None:
    """The folder says it all: what is held, what runs, what is over."""
    running = submit(executor, folder, "work", [str(log.folder), "0", "3600"])
    later = [[str(log.folder), "1", "0"]]
    held = executor.submit(name="later", folder=str(folder), target="element_targets:work", arguments=later)
    wait_until(lambda: executor.poll() and log.started() == ["0"])
    another = LocalExecutor(**settings)
    assert another.poll() == {}
    another.adopt(str(folder))
    another.adopt(str(folder))
    assert {task: seen["state"] for task, seen in another.poll().items()} == {
        (running, 0): "running",
        (held, 0): "held",
    }
    assert another.poll()[held, 0]["name"] == "later"
    another.cancel([(running, 0), (held, 0)])
    assert executor.poll() == {}


def test_adopting_a_folder_without_arrays_is_harmless(tmp_path: Path, executor: LocalExecutor) -> None:
    """The controller may have died before it submitted; or the folder is gone."""
    executor.adopt(str(tmp_path))
    executor.adopt(str(tmp_path / "none"))
    assert executor.poll() == {}


def test_no_more_run_at_once_than_max_parallel_over_all_arrays(
    tmp_path: Path, executor: LocalExecutor, log: ElementLog, wait_until: Wait
) -> None:
    """Two arrays of two share two slots."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        arguments = [[str(tmp_path), f"{name}{index}", "2"] for index in range(2)]
        submit(executor, tmp_path / name, "work_in_company", *arguments)
    wait_until(lambda: not executor.poll())
    assert log.ended() == ["a0", "a1", "b0", "b1"]
    assert log.most_at_once() == 2


def test_an_arrays_options_hold_for_the_next_controller_too(
    folder: Path, settings: dict[str, Any], executor: LocalExecutor
) -> None:
    """They are in the array's file: its throttle, its time limit, whether it is held."""
    job_id = executor.submit(
        name="array",
        folder=str(folder),
        target="m:f",
        arguments=[["1"], ["2"]],
        options={"time_limit_min": 7, "at_once": 3},
    )
    executor.throttle(job_id, 1)
    array = next(load(folder))
    assert (array.at_once, array.time_limit_min, array.held) == (1, 7, True)
    assert Starts(ClusterSettings(**settings)).launch(array, 0).time_limit_min == 7


def test_a_record_of_an_earlier_version_is_read(folder: Path) -> None:
    """It knew neither throttle nor time limit; a later one let elements go alone."""
    old = {
        "job_id": "local-1",
        "name": "a",
        "target": "m:f",
        "arguments": [["1"]],
        "held": True,
        "freed": [0],
    }
    (folder / "local-1.json").write_text(json.dumps({"schema_version": 1, **old}))
    assert [(array.at_once, array.held) for array in load(folder)] == [(None, True)]


def test_nothing_can_follow_an_array_here(executor: LocalExecutor, folder: Path) -> None:
    """There is no scheduler that could start a job later."""
    with pytest.raises(RuntimeError, match="a local executor cannot follow"):
        executor.follow(name="next", folder=str(folder), command=["true"], after=["1"])


def test_cancel_kills_the_whole_tree_of_an_element_that_will_not_stop(
    folder: Path,
    executor: LocalExecutor,
    log: ElementLog,
    wait_until: Wait,
) -> None:
    """TERM is ignored by it and its child; after the grace both are gone, and a bystander is not."""
    bystander = subprocess.Popen(["sleep", "60"])
    job_id = submit(executor, folder, "stubborn", [str(log.folder), "0"])
    wait_until(lambda: executor.poll() and log.started() == ["0"])
    child = int((log.folder / "child-0").read_text())
    ticks = process_ticks(child)
    executor.cancel([(job_id, 0)])
    assert executor.poll() == {}
    assert not is_alive(child, ticks)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_what_an_element_leaves_behind_is_ended_with_it(
    folder: Path, executor: LocalExecutor, log: ElementLog, wait_until: Wait
) -> None:
    """As a Slurm step would."""
    submit(executor, folder, "orphan", [str(log.folder), "0"])
    note = log.folder / "child-0"
    # the element may have ended, and been tidied up after, before the first look
    wait_until(lambda: not executor.poll() and note.exists() and note.read_text())
    status = claim.process_status(int(note.read_text()))
    assert status is None or status[0] == "Z"


def process_ticks(pid: int) -> int:
    """The start time of a process that must be there."""
    status = claim.process_status(pid)
    assert status is not None
    return status[1]


def process_state(pid: int) -> str:
    """The state letter of a process that must be there."""
    status = claim.process_status(pid)
    assert status is not None
    return status[0]


def test_threads_and_gpus_are_dealt_out(
    folder: Path,
    settings: dict[str, Any],
    targets: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Wait,
) -> None:
    """Each element gets a GPU of its own among the visible ones, and as many threads as CPUs."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-ab")
    executor = LocalExecutor(**{**settings, "cpus": 2, "max_parallel": 2})
    names = ["CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"]
    submit(executor, folder, "environment", *([str(tmp_path), str(index), *names] for index in range(2)))
    wait_until(lambda: not executor.poll())
    found = [(tmp_path / f"environment-{index}").read_text().split("\n") for index in range(2)]
    assert found == [["3", "2", "2", "2"], ["GPU-ab", "2", "2", "2"]]


def test_more_gpus_for_a_trial_than_this_machine_has_are_refused(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once; on a machine without any, trials take CPUs."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with pytest.raises(ValueError, match=r"trainer\.gpus: got 2, expected at most 1"):
        LocalExecutor(**settings, gpus=2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert LocalExecutor(**settings, gpus=2).slots >= 1


def test_a_second_copy_of_an_element_does_nothing(tmp_path: Path) -> None:
    """The claim is there already, so the command is not run."""
    claim_file, proof = tmp_path / "0.claim", tmp_path / "ran"
    assert claim.claim(str(claim_file), claim.CANCELLED)
    done = subprocess.run([sys.executable, "-IS", claim.__file__, claim_file, "touch", proof], check=True)
    assert done.returncode == 0
    assert not proof.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["0.claim"]


def test_the_claim_names_the_process_that_the_command_becomes(tmp_path: Path) -> None:
    """Id and start time stay the same across exec, so they tell whether the element lives."""
    array = create(tmp_path, "array", "m:f", [["0"]], "")
    command = [sys.executable, "-IS", claim.__file__, str(array.claim_file(0)), "sleep", "60"]
    process = subprocess.Popen(command)
    while array.claim(0) is None:
        time.sleep(0.01)
    claimed = array.claim(0)
    assert claimed is not None
    assert (claimed.pid, claimed.live) == (process.pid, True)
    process.kill()
    while process_state(process.pid) != "Z":  # until it is waited for
        time.sleep(0.01)
    assert not claimed.live
    process.wait()
    assert not claimed.live


@pytest.mark.parametrize("change", [{"start_ticks": -1}, {"boot": "another"}, {"state": claim.CANCELLED}])
def test_a_claim_of_a_reused_process_id_is_dead(change: dict[str, Any]) -> None:
    """The same id with another start time, or of an earlier boot, is another process."""
    own = claim.process_status(os.getpid())
    assert own is not None
    known: dict[str, Any] = {
        "state": claim.RUNNING,
        "pid": os.getpid(),
        "start_ticks": own[1],
        "boot": claim.boot_id(),
    }
    here = os.uname().nodename
    assert Claim(**known, host=here, gpu="").live
    assert not Claim(**{**known, **change}, host=here, gpu="").live


def test_an_element_of_another_machine_counts_as_running(folder: Path) -> None:
    """Its process cannot be seen from here; to start it again could run it twice."""
    assert Claim(claim.RUNNING, 1, 1, "another", "elsewhere", "").live


def test_an_element_that_never_gets_to_start_is_given_up(
    folder: Path, executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch, wait_until: Wait
) -> None:
    """After a few attempts it is over, and the controller hears of it; nobody loops for ever."""
    attempts = []

    def broken(*_: object) -> subprocess.Popen[bytes]:
        attempts.append(1)
        return subprocess.Popen(["false"])

    monkeypatch.setattr(local_starts, "spawn", broken)
    submit(executor, folder, "work", [str(folder), "0", "0"])
    wait_until(lambda: not executor.poll())
    assert len(attempts) == local_starts.LAUNCH_ATTEMPTS
    assert "failed_to_start" in next(folder.rglob("*.claim")).read_text()


def test_the_time_limit_ends_an_element(
    folder: Path,
    settings: dict[str, Any],
    targets: str,
    log: ElementLog,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Wait,
) -> None:
    """As on Slurm: first the warning, then the end."""
    executor = LocalExecutor(**settings)
    # A minute is the shortest limit that can be set, and too long for a test.
    launch = executor._starts.launch
    short: dict[str, Any] = {"time_limit_min": 0.05, "signal_delay_s": 2}
    monkeypatch.setattr(executor._starts, "launch", lambda *task: replace(launch(*task), **short))
    submit(executor, folder, "checkpoints", [str(log.folder), "0", "3600"])
    wait_until(lambda: not executor.poll())
    assert [words[1] for words in log.lines("signal")] == [str(int(signal.SIGUSR2))]
    assert log.ended() == []


def test_a_folder_that_cannot_be_written_is_a_submission_error(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    """Of the package's own family, with the folder's name."""
    with pytest.raises(SubmissionError, match="none"):
        executor.submit(name="a", folder=str(tmp_path / "none"), target="m:f", arguments=[["1"]])
    with pytest.raises(SubmissionError, match="at least one"):
        executor.submit(name="a", folder=str(tmp_path), target="m:f", arguments=[])


def test_a_poll_is_cheap(folder: Path, executor: LocalExecutor) -> None:
    """It is called every second: a thousand held elements take well under that."""
    executor.submit(name="a", folder=str(folder), target="m:f", arguments=[["1"]] * 1000)
    begin = time.process_time()  # not by the clock, which others of this machine may hold up
    assert len(executor.poll()) == 1000
    assert time.process_time() - begin < 0.5
    executor._arrays.clear()
