"""What the controller relies on, of each executor: local, Slurm's on a real cluster, in memory, simulated."""

from __future__ import annotations

import inspect
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest
from live_tasks import live
from memory_executor import MemoryExecutor

from hpo import ports
from slurm.local_executor import LocalExecutor
from slurm.simulated_executor import SimulatedExecutor
from slurm.slurm_executor import SlurmExecutor
from slurm.view import ArrayOptions, Ending, ExecutorTraits, Room, SiteLimits, TaskView

if TYPE_CHECKING:
    from tests.slurm.conftest import ElementLog, Executor

Wait = Callable[..., None]
# Signals, logs and set-up lines are of processes, which a simulated cluster has none of.
STARTING = ["local", "memory", pytest.param("slurm", marks=pytest.mark.slurm)]
starting = pytest.mark.parametrize("executor", STARTING, indirect=True)
METHODS = [
    *(
        "limits",
        "room",
        "following",
        "silence",
        "submit",
        "follow",
        "release",
        "hold",
        "throttle",
        "warn",
        "adopt",
        "poll",
        "endings",
    ),
    *("last_log_lines", "cancel", "preview", "test_submit", "notices", "check"),
]


def submit(
    executor: Executor,
    folder: Path,
    function: str,
    *arguments: list[str],
    options: ArrayOptions | None = None,
) -> str:
    """Submit an array of one of the targets."""
    job_id: str = executor.submit(
        name=f"study-{folder.parent.name}",
        folder=str(folder),
        target=f"element_targets:{function}",
        arguments=arguments,
        options=options,
    )
    return job_id


def states(executor: Executor, job_id: str) -> dict[int, str]:
    """The state of each element of an array that is not over."""
    return {index: state for (array, index), state in live(executor).items() if array == job_id}


def parameters(function: Callable[..., Any]) -> list[tuple[str, object]]:
    """Names and kinds of what a function takes."""
    return [(name, each.kind) for name, each in inspect.signature(function).parameters.items()]


def test_every_method_of_the_port_is_looked_at() -> None:
    """The list below is the port's own."""
    public = {name for name, value in vars(ports.Executor).items() if inspect.isfunction(value)}
    assert {name for name in public if not name.startswith("_")} == set(METHODS)


@pytest.mark.parametrize("implementation", [LocalExecutor, SlurmExecutor, MemoryExecutor, SimulatedExecutor])
@pytest.mark.parametrize("method", METHODS)
def test_a_method_of_the_port_is_there_with_the_same_parameters(implementation: type, method: str) -> None:
    """Neither package imports the other, so this is where they are held together."""
    assert parameters(getattr(implementation, method)) == parameters(getattr(ports.Executor, method))


def test_nothing_follows_and_nobody_is_silent(executor: Executor) -> None:
    """Where no job was asked to follow another, and somebody answers."""
    assert (list(executor.following("nobody's") or ()), executor.silence()) == ([], "")


def test_an_executor_tells_of_itself_in_the_ports_words(executor: Executor) -> None:
    """Every key of its traits, each of the type that the controller expects."""
    expected = get_type_hints(ports.ExecutorTraits)
    assert {name: type(value) for name, value in executor.traits.items()} == expected


@pytest.mark.parametrize("shape", [TaskView, Ending, ArrayOptions, SiteLimits, Room, ExecutorTraits])
def test_a_shape_of_the_port_is_the_same_here(shape: type) -> None:
    """Key by key, with the same types."""
    theirs = getattr(ports, shape.__name__)
    assert get_type_hints(shape) == get_type_hints(theirs)
    assert shape.__total__ == theirs.__total__  # type: ignore[attr-defined]


def test_an_array_is_held_until_it_is_released(
    executor: Executor, folder: Path, log: ElementLog, wait_until: Wait
) -> None:
    """Nothing starts before; then every element runs once with its own arguments, and is no longer live."""
    arguments = [[str(log.folder), str(index), "0"] for index in range(3)]
    job_id = submit(executor, folder, "work", *arguments)
    assert states(executor, job_id) == {0: "held", 1: "held", 2: "held"}
    executor.release(job_id)
    wait_until(lambda: states(executor, job_id) == {})
    assert log.started() == log.ended() == ["0", "1", "2"]


def test_a_batch_of_one_is_element_zero(
    executor: Executor, folder: Path, log: ElementLog, wait_until: Wait
) -> None:
    """The smallest batch has the same kind of key as every other."""
    job_id = submit(executor, folder, "work", [str(log.folder), "only", "0"])
    assert states(executor, job_id) == {0: "held"}
    executor.release(job_id)
    wait_until(lambda: states(executor, job_id) == {})
    assert log.ended() == ["only"]


def test_release_is_harmless_when_repeated_and_when_all_is_over(
    executor: Executor, folder: Path, log: ElementLog, wait_until: Wait
) -> None:
    """A controller that died after the release does it again."""
    job_id = submit(executor, folder, "work", [str(log.folder), "0", "0"])
    executor.release(job_id)
    executor.release(job_id)
    wait_until(lambda: states(executor, job_id) == {})
    executor.release(job_id)
    assert states(executor, job_id) == {}
    assert log.started() == ["0"]


def test_a_task_carries_the_name_of_its_array(executor: Executor, folder: Path, log: ElementLog) -> None:
    """The way back to an array whose id was never recorded."""
    job_id = submit(executor, folder, "work", [str(log.folder), "0", "0"], [str(log.folder), "1", "0"])
    seen = executor.poll()
    assert seen is not None
    name = f"study-{folder.parent.name}"
    assert [seen[job_id, index]["name"] for index in range(2)] == [name, name]


def test_cancelling_a_held_array_keeps_it_from_ever_starting(
    executor: Executor, folder: Path, log: ElementLog
) -> None:
    """Not even a release that comes later starts it."""
    job_id = submit(executor, folder, "work", *([str(log.folder), str(index), "0"] for index in range(2)))
    executor.cancel([(job_id, 0), (job_id, 1)])
    assert states(executor, job_id) == {}
    executor.release(job_id)
    assert states(executor, job_id) == {}
    assert log.started() == []


def test_cancelling_a_running_element_leaves_its_neighbour_alone(
    executor: Executor, folder: Path, log: ElementLog, wait_until: Wait
) -> None:
    """One element ends early, the other one by itself."""
    job_id = submit(executor, folder, "work", [str(log.folder), "0", "3600"], [str(log.folder), "1", "2"])
    executor.release(job_id)
    wait_until(lambda: executor.poll() and log.started() == ["0", "1"])
    executor.cancel([(job_id, 0)])
    wait_until(lambda: 0 not in states(executor, job_id))
    wait_until(lambda: states(executor, job_id) == {})
    assert log.ended() == ["1"]


@starting
def test_cancel_warns_with_term_and_gives_time_for_a_checkpoint(
    executor: Executor, folder: Path, log: ElementLog, wait_until: Wait
) -> None:
    """The signals come blocked; once a handler is there, TERM reaches it."""
    job_id = submit(executor, folder, "checkpoints", [str(log.folder), "0", "3600"])
    executor.release(job_id)
    wait_until(lambda: executor.poll() and log.started() == ["0"])
    executor.cancel([(job_id, 0)])
    wait_until(lambda: states(executor, job_id) == {})
    assert log.lines("blocked")[0][1:-1] == ["12", "15"]
    assert [words[1] for words in log.lines("signal")][:1] == ["15"]
    assert log.ended() == []


def test_cancelling_what_is_over_or_unknown_is_passed_over(
    executor: Executor, folder: Path, log: ElementLog, wait_until: Wait
) -> None:
    """The controller may not know yet that a task has ended."""
    job_id = submit(executor, folder, "work", [str(log.folder), "0", "0"])
    executor.release(job_id)
    wait_until(lambda: states(executor, job_id) == {})
    executor.cancel([(job_id, 0), ("999999", 3)])
    executor.cancel([])
    assert log.ended() == ["0"]


def test_an_element_that_fails_is_over_and_is_not_run_again(
    executor: Executor, folder: Path, log: ElementLog, wait_until: Wait
) -> None:
    """Whether to try again is the controller's decision."""
    job_id = submit(executor, folder, "fail", [str(log.folder), "0"])
    executor.release(job_id)
    wait_until(lambda: states(executor, job_id) == {})
    assert log.started() == ["0"]


def test_a_held_array_starts_nothing_more_until_it_is_released(
    executor: Executor, folder: Path, log: ElementLog, wait_until: Wait
) -> None:
    """What runs goes on; what waits is held again."""
    arguments = [[str(log.folder), str(index), "1"] for index in range(3)]
    job_id = submit(executor, folder, "work", *arguments, options={"at_once": 1})
    executor.release(job_id)
    wait_until(lambda: executor.poll() and log.started() == ["0"])
    executor.hold(job_id)
    assert states(executor, job_id) == {0: "running", 1: "held", 2: "held"}
    wait_until(lambda: states(executor, job_id) == {1: "held", 2: "held"})
    executor.release(job_id)
    executor.throttle(job_id, None)
    wait_until(lambda: states(executor, job_id) == {})
    assert log.ended() == ["0", "1", "2"]


def test_no_more_run_at_once_than_an_array_asks_for(
    executor: Executor, folder: Path, log: ElementLog, wait_until: Wait
) -> None:
    """Until the throttle is changed."""
    arguments = [[str(log.folder), str(index), "0.5"] for index in range(2)]
    job_id = submit(executor, folder, "work", *arguments, options={"at_once": 2})
    executor.throttle(job_id, 1)
    executor.release(job_id)
    wait_until(lambda: states(executor, job_id) == {})
    assert log.most_at_once() == 1


def test_a_warning_reaches_running_elements_only(
    executor: Executor, folder: Path, log: ElementLog, wait_until: Wait
) -> None:
    """USR2, without delay though others of the array wait; those and unknown ones are passed over."""
    arguments = [[str(log.folder), str(index), "2"] for index in range(2)]
    job_id = submit(executor, folder, "checkpoints", *arguments, options={"at_once": 1})
    executor.warn([(job_id, 0)])
    executor.release(job_id)
    wait_until(lambda: executor.poll() and log.started() == ["0"])
    begin = time.monotonic()
    executor.warn([(job_id, 0), (job_id, 1), ("999999", 0)])
    assert time.monotonic() - begin < 20
    wait_until(lambda: log.lines("signal"))
    executor.throttle(job_id, None)
    wait_until(lambda: states(executor, job_id) == {})
    assert {tuple(words[:2]) for words in log.lines("signal")} == {("0", str(int(signal.SIGUSR2)))}
    assert log.ended() == ["0", "1"]


@starting
def test_a_failure_leaves_its_last_words(
    executor: Executor, folder: Path, log: ElementLog, wait_until: Wait
) -> None:
    """The end of the traceback; nothing of an element that said nothing, or is not known."""
    job_id = submit(executor, folder, "fail", [str(log.folder), "0"])
    executor.release(job_id)
    wait_until(lambda: states(executor, job_id) == {})
    assert "RuntimeError: element 0 fails" in (executor.last_log_lines(str(folder), (job_id, 0)) or "")
    assert executor.last_log_lines(str(folder), (job_id, 1)) is None


def test_limits_are_numbers(executor: Executor) -> None:
    """An array may have some elements, there is a node, and an array gets some time."""
    limits = executor.limits()
    assert limits["array_size"] >= 1001
    assert limits["nodes"] == (1 if executor.name == "local" else 4)
    assert (limits["minutes"], limits["default_minutes"], limits["warning_s"]) == (0, 240, 120)


def test_without_accounting_nothing_is_known_of_endings(executor: Executor) -> None:
    """None, which is not the same as no ending."""
    assert executor.endings([("1", 0)]) is None


@starting
def test_setup_lines_run_before_python(
    executor: Executor, settings: dict[str, Any], folder: Path, log: ElementLog, wait_until: Wait
) -> None:
    """What they export is there, and a comment among them does no harm."""
    another = type(executor)(**{**settings, "setup": ["# a comment", "export FROM_SETUP='two words'"]})
    job_id = submit(another, folder, "environment", [str(log.folder), "0", "FROM_SETUP"])
    another.release(job_id)
    wait_until(lambda: states(another, job_id) == {})
    assert (log.folder / "environment-0").read_text() == "two words"


def test_preview_is_text_and_leaves_no_trace(executor: Executor, tmp_path: Path) -> None:
    """Neither a file nor a task."""
    before = live(executor)
    text = executor.preview(name="n", folder=str(tmp_path / "f"), target="m:f", arguments=[["1"]])
    assert text.startswith("# n: 1 simulated" if executor.name == "simulated" else "#!/bin/bash\n")
    assert list(tmp_path.iterdir()) == []
    assert live(executor) == before


def test_check_gives_lines_of_level_subject_and_hint(executor: Executor) -> None:
    """A line that is not ok says what to do."""
    lines = executor.check()
    assert lines
    assert all(level == "ok" or hint for level, _, hint in lines)
    assert {level for level, _, _ in lines} <= {"ok", "warn"}
