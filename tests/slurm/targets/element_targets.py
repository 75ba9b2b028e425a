"""What the array elements of these tests run; imported by their own processes, through PYTHONPATH."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def note(folder: str, word: str, *rest: object, at: float | None = None) -> None:
    """Append one line to the log that all elements of a test share; one write is never torn."""
    line = " ".join(map(str, (word, *rest, time.time() if at is None else at))) + "\n"
    descriptor = os.open(f"{folder}/log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def work(folder: str, index: str, seconds: str) -> None:
    """Say when it starts and ends."""
    note(folder, "start", index)
    time.sleep(float(seconds))
    note(folder, "end", index)


def work_in_company(folder: str, index: str, starts: str) -> None:
    """End only once so many have started, so that these do run at once; in vain for half a minute at most."""
    note(folder, "start", index)
    deadline = time.monotonic() + 30
    while Path(folder, "log").read_text().count("start") < int(starts) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    note(folder, "end", index)


def note_numpy(path: str) -> None:
    """Write down whether NumPy was loaded before, and that it can be used."""
    loaded = "numpy" in sys.modules
    import numpy

    Path(path).write_text(f"loaded before: {loaded}, array {numpy.arange(3).sum()}")


def environment(folder: str, index: str, *names: str) -> None:
    """Write down some environment variables."""
    values = [os.environ.get(name, "unset") for name in names]
    Path(folder, f"environment-{index}").write_text("\n".join(values))


class Simulated:
    """What an element notes on a virtual clock: see `slurm.simulation.tasks.Execution`."""

    def __init__(self, folder: str, index: str, seconds: float, ending: str, at: float) -> None:
        self._folder, self._index, self._seconds, self._ending, self._at = folder, index, seconds, ending, at
        note(folder, "start", index, at=at)

    def next(self) -> float:
        """At its end."""
        return self._seconds

    def act(self) -> str:
        """End."""
        if self._ending == "completed":
            note(self._folder, "end", self._index, at=self._at + self._seconds)
        return self._ending

    def asked(self) -> bool:
        """Never."""
        return False

    def stop(self, age: float) -> None:
        """Nobody asks it to."""

    def interrupt(self, age: float, *, warned: bool) -> None:
        """Note the signal that a true one would have got."""
        signal_number = signal.SIGUSR2 if warned else signal.SIGTERM
        note(self._folder, "signal", self._index, int(signal_number), at=self._at + age)


def simulated_work(
    folder: str, index: str, seconds: str, *, at: float, node: str, job: str, restart: int
) -> Simulated:
    """As `work` and `checkpoints`: the whole time anew after each requeue."""
    return Simulated(folder, index, float(seconds), "completed", at)


simulated_checkpoints = simulated_work


def simulated_fail(folder: str, index: str, *, at: float, node: str, job: str, restart: int) -> Simulated:
    """As `fail`."""
    return Simulated(folder, index, 0.0, "failed", at)


def stubborn(folder: str, index: str) -> None:
    """Start a child, and ignore every request to stop, as does the child."""
    child = subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 3600 & wait"])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(folder, f"child-{index}").write_text(str(child.pid))
    note(folder, "start", index)
    time.sleep(3600)


def checkpoints(folder: str, index: str, seconds: str) -> None:
    """Note each TERM and go on; the signals come blocked."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, set())
    note(folder, "blocked", index, *sorted(int(number) for number in blocked))
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, lambda received, frame: note(folder, "signal", index, received))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGUSR2})
    note(folder, "start", index)
    deadline = time.monotonic() + float(seconds)
    while time.monotonic() < deadline:
        time.sleep(0.05)
    note(folder, "end", index)


def orphan(folder: str, index: str) -> None:
    """Leave a child behind and end."""
    child = subprocess.Popen(["sleep", "3600"])
    Path(folder, f"child-{index}").write_text(str(child.pid))


def second_time(folder: str, index: str) -> None:
    """Take long the first time, and end at once the second time."""
    again = Path(folder, "log").exists()
    note(folder, "start", index)
    time.sleep(0 if again else 3600)
    note(folder, "end", index)


def fail(folder: str, index: str) -> None:
    """End with an error."""
    note(folder, "start", index)
    raise RuntimeError(f"element {index} fails")
