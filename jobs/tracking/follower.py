"""Hands what a trial tells to a tracker. Loads nothing heavy, and no client library before it is needed."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol, cast

from hpo.paths import TrialPaths
from hpo.records import Metric, Progress, RecordError, RungRecord, TrialSpec, read_rungs

WAIT_S = 60.0  # at the end of an attempt, for what the tracker has not taken yet
PAUSES_S = (1.0, 5.0)  # between tries to begin a run
KEPT_OUT = {
    signal.SIGUSR2,
    signal.SIGTERM,
    signal.SIGINT,
}  # for the trial itself, not for a client's processes
MODULES = {name: f"jobs.tracking.{name}_run" for name in ("wandb", "mlflow", "tensorboard")}


class Tracker(Protocol):
    """The run of a trial, `Run(spec, paths)` of its module; an attempt goes on with an earlier one's."""

    def points(self, values: Mapping[str, float], step: int) -> None:
        """Log the values of a step."""

    def end(self, metrics: Mapping[str, Metric], state: str) -> None:
        """End the run: completed, stopped at a rung, or failed, with what the trial has measured."""


Act = Callable[[Tracker], None]


class Follower:
    """Tells a tracker, in a thread of its own, what has become of a trial.

    A tracker that fails, or does not answer, costs the trial nothing: its first failure is told, and it is
    told no more. No point of a curve is told twice: `path` keeps the last step of each, written before it is
    handed on. What earlier attempts could not hand on before they were killed is told by the next.

    Args:
        make: builds the tracker; called in the thread.
        name: of the tracker, for people.
        path: of the trial; overwritten in place, as it is small and may be a step too far.
        complain: told of the first failure.
    """

    def __init__(
        self, make: Callable[[], Tracker], name: str, path: Path, complain: Callable[[str], None]
    ) -> None:
        self._make, self._name, self._path, self._complain = make, name, path, complain
        self._told: dict[str, int] = {}
        with suppress(OSError, ValueError, TypeError):
            self._told = {str(curve): int(step) for curve, step in json.loads(path.read_text()).items()}
        self._acts: SimpleQueue[Act | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="tracker", daemon=True)
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, KEPT_OUT)  # what it starts inherits it
        try:
            self._thread.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def line(self, line: Progress) -> None:
        """A line that was added to the progress log."""
        self._add(line.curves(), line.step)

    def rung(self, record: RungRecord) -> None:
        """A rung that was measured."""
        self._add({f"rung/{name}": metric.value for name, metric in record.metrics.items()}, record.step)

    def _add(self, curves: Mapping[str, float], step: int) -> None:
        values = {name: value for name, value in curves.items() if step > self._told.get(name, -1)}
        if values:
            self._told |= dict.fromkeys(values, step)
            self._acts.put(partial(self._points, values, step, json.dumps(self._told)))

    def _points(self, values: Mapping[str, float], step: int, told: str, tracker: Tracker) -> None:
        self._path.write_text(told, encoding="utf-8")
        tracker.points(values, step)

    def end(self, metrics: Mapping[str, Metric], state: str) -> None:
        """The attempt is over; wait for the tracker to have taken it all, for a while.

        Args:
            metrics: of the trial, now that its result is committed.
            state: completed, stopped or failed.
        """
        self._acts.put(lambda tracker: tracker.end(metrics, state))
        self._acts.put(None)
        self._thread.join(WAIT_S)
        if self._thread.is_alive():
            self._complain(f"tracking: {self._name} has not taken everything in {WAIT_S:.0f} s")

    def _run(self) -> None:
        try:
            tracker = self._begun()
            while (act := self._acts.get()) is not None:
                act(tracker)
        except (Exception, SystemExit) as error:  # whatever ails a tracker must not be the trial's
            what = f"{type(error).__name__}: {error}".partition("\n")[0]
            self._complain(f"tracking: {self._name} failed, the trial goes on without it: {what}")

    def _begun(self) -> Tracker:
        """The tracker; trials that begin together may get into each other's way, and servers restart."""
        for pause in PAUSES_S:
            try:
                return self._make()
            except ImportError:
                break
            except Exception:  # the last try tells of it
                time.sleep(pause)
        return self._make()


def follow(spec: TrialSpec, paths: TrialPaths, complain: Callable[[str], None]) -> Follower | None:
    """What follows a trial, as its spec says; None where nothing is to."""
    name = spec.tracking.get("tracker")
    if name not in MODULES:
        return None

    def make() -> Tracker:
        return cast(Tracker, import_module(MODULES[name]).Run(spec, paths))

    follower = Follower(make, name, paths.tracked, complain)
    for _, tell in sorted(_earlier(follower, spec, paths), key=lambda told: told[0]):
        tell()
    return follower


def _earlier(
    follower: Follower, spec: TrialSpec, paths: TrialPaths
) -> Iterator[tuple[int, Callable[[], None]]]:
    """What earlier attempts had to tell, with its step: W&B takes no step that lies behind."""
    for line in earlier_lines(paths.progress):
        yield line.step, partial(follower.line, line)
    with suppress(OSError, RecordError):  # the trial itself says so
        for record in read_rungs(paths.rungs, spec.trial):
            yield record.step, partial(follower.rung, record)


def earlier_lines(path: Path) -> Iterator[Progress]:
    """What earlier attempts wrote into a progress log, but for what is torn or damaged."""
    with suppress(OSError):
        for line in path.read_bytes().split(b"\n"):
            with suppress(ValueError, AttributeError, RecordError):
                yield Progress.from_json(json.loads(line))
