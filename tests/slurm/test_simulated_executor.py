"""The simulated cluster: GPUs, queue, preemptions and failures from a seed, on a clock that leaps."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from slurm.clocks import LEAP_S
from slurm.simulated_executor import SimulatedExecutor

CONF = Path(__file__).resolve().parents[2] / "conf" / "cluster"


class Work:
    """An execution of so many seconds, which notes what became of it."""

    def __init__(self, log: list[tuple[object, ...]], index: str, seconds: float) -> None:
        self._log, self._index, self._seconds = log, index, seconds
        self.stop_asked = False

    def next(self) -> float:
        return self._seconds

    def act(self) -> str:
        self._log.append(("end", self._index))
        return "completed"

    def asked(self) -> bool:
        return self.stop_asked

    def stop(self, age: float) -> None:
        self._log.append(("stop", self._index, age))

    def interrupt(self, age: float, *, warned: bool) -> None:
        self._log.append(("interrupt", self._index, age, warned))


@pytest.fixture
def log() -> Iterator[list[tuple[object, ...]]]:
    """What the executions of a test note; `simulated_targets:work` begins one."""
    notes: list[tuple[object, ...]] = []
    module, works = ModuleType("simulated_targets"), dict[str, Work]()

    def begin(index: str, seconds: str, *, at: float, node: str, job: str, restart: int) -> Work:
        notes.append(("start", index, at, node, restart))
        works[index] = Work(notes, index, float(seconds))
        return works[index]

    module.simulated_work, module.works = begin, works  # type: ignore[attr-defined]
    sys.modules["simulated_targets"] = module
    yield notes
    del sys.modules["simulated_targets"]


def make(**settings: Any) -> SimulatedExecutor:
    """Two nodes of two GPUs, at time 1000, as conf/ has it otherwise."""
    base = yaml.safe_load((CONF / "base.yaml").read_text())
    own = yaml.safe_load((CONF / "simulated.yaml").read_text())
    own = {name: value for name, value in own.items() if name not in ("defaults", "_target_")}
    return SimulatedExecutor(begin=1000.0, **{**base, **own, "nodes": 2, "gpus_per_node": 2, **settings})


def submit(executor: SimulatedExecutor, *seconds: float, **options: Any) -> str:
    """An array of an element for each time, released."""
    arguments = [[str(index), str(each)] for index, each in enumerate(seconds)]
    given: Any = options
    job = executor.submit(
        name="a", folder="/f", target="simulated_targets:work", arguments=arguments, options=given
    )
    executor.release(job)
    return job


def states(executor: SimulatedExecutor) -> list[str]:
    """Of every task that is shown, in order."""
    return [view["state"] for view in executor.poll().values()]


def test_four_gpus_run_four_at_once_and_the_fifth_when_one_is_free(log: list[tuple[object, ...]]) -> None:
    """By the clock: 100 s each, so the fifth begins at 1100 and ends at 1200."""
    executor = make()
    submit(executor, *[100.0] * 5)
    assert states(executor) == [*["running"] * 4, "pending"]
    executor.clock.sleep(100.0)
    assert [note[2] for note in log if note[0] == "start"] == [1000.0] * 4 + [1100.0]
    executor.clock.sleep(100.0)
    assert states(executor) == ["over"] * 5
    assert {view["ending"] for view in executor.poll().values()} == {"completed"}


def test_an_array_waits_while_it_is_held_and_keeps_to_its_share(log: list[tuple[object, ...]]) -> None:
    """Held from the start; then two at once; held again, nothing new starts."""
    executor = make()
    job = executor.submit(
        name="a",
        folder="/f",
        target="simulated_targets:work",
        arguments=[["0", "50"]] * 4,
        options={"at_once": 2},
    )
    executor.clock.sleep(10.0)
    assert states(executor) == ["held"] * 4
    executor.release(job)
    assert states(executor) == ["running"] * 2 + ["pending"] * 2
    executor.throttle(job, 3)
    assert states(executor) == ["running"] * 3 + ["pending"]
    executor.hold(job)
    executor.clock.sleep(60.0)
    assert states(executor) == ["over"] * 3 + ["held"]
    executor.throttle(job, None)
    executor.release(job)
    assert states(executor)[-1] == "running"


def test_the_clock_leaps_to_what_happens_but_never_far(log: list[tuple[object, ...]]) -> None:
    """A sleep of a second while the next end is an hour away takes a minute; one that is near, no longer."""
    executor = make()
    submit(executor, 3600.0)
    executor.clock.sleep(1.0)
    assert executor.clock.time() == 1000.0 + LEAP_S
    executor.clock.sleep(3535.0)
    executor.clock.sleep(1.0)
    assert (executor.clock.time(), states(executor)) == (4600.0, ["over"])
    executor.clock.sleep(1.0)
    assert executor.clock.time() == 4601.0


def test_a_warned_task_saves_and_comes_back(log: list[tuple[object, ...]]) -> None:
    """By `warn` and before its time limit: requeued with the next restart, as Slurm does it."""
    executor = make(time_limit=10, signal_delay_s=120)
    job = submit(executor, 10_000.0)
    executor.warn([(job, 0)])
    assert (log[-1], states(executor)) == (("interrupt", "0", 0.0, True), ["pending"])
    executor.clock.sleep(40.0)
    assert log[-1][:2] == ("start", "0")
    assert log[-1][-1] == 1
    executor.clock.sleep(480.0)
    assert log[-1] == ("interrupt", "0", 480.0, True)


def test_preemptions_come_at_their_rate_and_from_the_seed(log: list[tuple[object, ...]]) -> None:
    """400 GPU-hours at half a preemption an hour: 200, with a deviation of 14; one seed, one answer."""

    def interrupted(seed: int) -> int:
        log.clear()
        executor = make(preemptions_per_gpu_hour=0.5, simulation_seed=seed)
        submit(executor, *[1e9] * 4, time_limit_min=10**7)
        executor.clock.sleep(100 * 3600.0)
        return sum(note[0] == "interrupt" for note in log)

    counts = [interrupted(0), interrupted(0), interrupted(1)]
    assert counts[0] == counts[1] != counts[2]
    assert all(155 < count < 245 for count in counts)


def test_a_node_that_fails_takes_its_tasks_with_it_unwarned(log: list[tuple[object, ...]]) -> None:
    """They begin again elsewhere, and nothing starts on the node until it is repaired."""
    executor = make(nodes=2, node_failures_per_hour=0.2, repair_minutes=600)
    submit(executor, *[1e6] * 2, time_limit_min=10**6)
    executor.clock.sleep(20 * 3600.0)
    killed = [note for note in log if note[0] == "interrupt"]
    assert killed
    assert not any(note[-1] for note in killed)


def test_an_execution_that_is_asked_to_stop_ends_within_a_second_and_frees_its_gpu(
    log: list[tuple[object, ...]],
) -> None:
    """However often the clock moves meanwhile; the next element starts at that moment."""
    executor = make(nodes=1, gpus_per_node=1)
    submit(executor, 1000.0, 1000.0)
    sys.modules["simulated_targets"].works["0"].stop_asked = True
    for _ in range(4):
        executor.clock.sleep(0.4)
    assert [note[:3] for note in log[1:]] == [("stop", "0", 1.0), ("start", "1", 1001.0)]
    assert states(executor) == ["over", "running"]


def test_cancelled_tasks_are_over_wherever_they_were(log: list[tuple[object, ...]]) -> None:
    """Running, waiting, and before the release; what is over is shown for five minutes."""
    executor = make(nodes=1, gpus_per_node=1)
    job = submit(executor, 100.0, 100.0)
    executor.cancel([(job, 0), (job, 1), ("99", 0)])
    assert [view["ending"] for view in executor.poll().values()] == ["cancelled"] * 2
    executor.clock.sleep(301.0)
    assert executor.poll() == {}


def test_more_gpus_than_a_node_has() -> None:
    """Refused by the key that asks for them."""
    with pytest.raises(ValueError, match=r"trainer\.gpus: got 4"):
        make(gpus=4)
