"""The controller's loop: passes at the pace of what happens, through a disk or a scheduler that is away."""

from __future__ import annotations

import errno
import random
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, TypeVar

from hpo.controller.assembly import Assembly
from hpo.controller.chain import settled
from hpo.controller.controller import SILENT_POLLS, Controller
from hpo.ports import of_an_executor
from hpo.records import RecordError
from hpo.strategies.registry import LATER
from hpo.study.queue_view import QueueFile, QueueView, seen
from hpo.study.snapshot import Snapshot, running_trials
from hpo.study.state import Study

GROWTH = 1.5
LONGEST = 6.0  # times the shortest interval
JITTER = 0.1  # of the interval: controllers that were started together do not ask together


@dataclass
class Pacer:
    """Intervals between queries.

    Args:
        shortest_s: the interval while something happens.
        backs_off: whether it grows while nothing does.
    """

    shortest_s: float
    backs_off: bool = True
    _interval_s: float = 0.0
    _next_at: float = 0.0

    def due(self, now: float) -> bool:
        """Whether to ask now.

        Args:
            now: seconds of a monotonic clock.
        """
        return now >= self._next_at

    def asked(self, now: float, *, eventful: bool) -> None:
        """Note down a query, and plan the next one.

        Args:
            now: seconds of a monotonic clock.
            eventful: whether it brought anything new; a failed query did not.
        """
        grown = max(self.shortest_s, self._interval_s * GROWTH) if self.backs_off else self.shortest_s
        self._interval_s = self.shortest_s if eventful else min(grown, LONGEST * self.shortest_s)
        spread = 1.0 + JITTER * (2.0 * random.random() - 1.0) if self.backs_off else 1.0  # no secret
        self._next_at = now + self._interval_s * spread


# Short trials are seen at once, and long ones cost nothing: so many times the wait has nothing happened.
QUIET = 5.0
SHORTEST_LOOK_S = 0.5


def look_wait(quiet_s: float, longest_s: float) -> float:
    """Seconds until the next look for results.

    Args:
        quiet_s: since something happened.
        longest_s: `controller.look_seconds`, which may be below the shortest of `SHORTEST_LOOK_S`.
    """
    return min(longest_s, max(SHORTEST_LOOK_S, quiet_s / QUIET))


T = TypeVar("T")

# What passes by itself, or with an administrator's help; a missing permission does not.
PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE})
LONGEST_S = 600.0
PAUSE_S = 2.0


def insist(
    act: Callable[[], T], say: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
) -> T:
    """Do what writes to a study folder, again and again while its disk is away.

    Args:
        act: harmless when repeated.
        say: told once that it waits.
        sleep: between two tries.

    Raises:
        OSError: one that does not pass, or the last one after ten minutes.
    """
    waited_s = 0.0
    while True:
        try:
            return act()
        except OSError as error:
            if error.errno not in PASSING or waited_s >= LONGEST_S:
                raise
            if not waited_s:
                where = error.filename or "the study folder"
                say(f"cannot write {where}: {error.strerror}; trying for {LONGEST_S / 60:.0f} minutes")
        sleep(PAUSE_S)
        waited_s += PAUSE_S


class View(Protocol):
    """Told of events as they are journalled, and of the study after every pass."""

    def say(self, text: str) -> None:
        """Show one line of text."""

    def event(self, event: dict[str, Any], study: Study) -> None:
        """Show a journal event."""

    def update(self, look: Callable[[], Snapshot]) -> None:
        """Show the study as it is now; looks only where something of it is to be shown.

        Args:
            look: reads the files of the trials at work.
        """

    def close(self) -> None:
        """Leave the terminal as it was."""


LONGEST_WAIT_S = 60.0
After = Callable[[Study], Iterable[str]]


def nothing(study: Study) -> Iterable[str]:
    """What is done after a pass where nothing is to be done."""
    return ()


class Loop:
    """Drives a controller.

    Args:
        controller: with its lease.
        view: shown what happens.
        after: called after every pass; gives lines to show.
    """

    def __init__(self, parts: Assembly, controller: Controller, view: View, after: After = nothing) -> None:
        self._parts, self.controller, self._view, self._after = parts, controller, view, after
        self._pacer = Pacer(parts.poll_s, backs_off=parts.executor.traits["backs_off"])
        self._look_s = min(parts.config.controller.look_seconds, parts.poll_s)
        self._wait_s = look_wait(0.0, self._look_s)
        self._clock = parts.executor.clock
        self._changed_at = self._clock.monotonic()
        self._queue, self._queue_file = QueueView(), QueueFile(parts.paths.queue)
        own = parts.config.controller.propose_on == "login"
        self._later = LATER.get(parts.config.strategy["name"]) if own else None

    def run(self) -> bool:
        """Passes until the study has ended; returns True then."""
        while not self._guarded():
            self._load_ahead()
            self._clock.sleep(self._wait_s)
        return True

    def _load_ahead(self) -> None:
        """Load the models while the first trials run: a GPU would wait for seconds of torch."""
        if self._later and self.controller.study.trials:
            # no daemon: one that is cut off amid an import may take the interpreter with it
            threading.Thread(target=_load, args=(self._later,), name="load ahead").start()
            self._later = None

    def until_settled(self, longest_s: float) -> bool:
        """Passes until what comes next will come from the queue; returns whether the study has ended."""
        deadline = self._clock.monotonic() + longest_s
        ended = False
        while not ended and not settled(self.controller) and self._clock.monotonic() < deadline:
            self._clock.sleep(self._wait_s)
            ended = self._guarded()
        return ended

    def _guarded(self) -> bool:
        """One pass; a disk or a scheduler that is away makes it wait, longer and longer, and no more."""
        try:
            ended = self.pass_once(force=False)
        except (OSError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not of_an_executor(error):
                raise
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
            self._view.say(f"{_what(error)}; nothing is lost, trying again in {self._wait_s:.0f} s")
            return False
        self._wait_s = look_wait(self._clock.monotonic() - self._changed_at, self._look_s)
        return ended

    def pass_once(self, *, force: bool = True) -> bool:
        """One pass; returns whether the study has ended.

        Args:
            force: ask the scheduler, whether it is time for that or not.
        """
        controller, now = self.controller, self._clock.monotonic()
        poll = force or self._pacer.due(now)
        before, told_at = controller.state(), controller.study.last_at
        ended = controller.step(poll=poll)
        after = controller.state()
        if after != before or controller.study.last_at != told_at:
            self._changed_at = self._clock.monotonic()
        if poll:
            self._pacer.asked(now, eventful=after != before)
            if force and 0 < controller.unanswered < SILENT_POLLS:  # there is no next poll to wait for
                self._view.say(controller.silence())
        elif after[1:] != before[1:]:  # what was submitted wants to be seen starting
            self._pacer.asked(now, eventful=True)
        if poll or ended or after != before:
            self._queue = seen(controller.study, controller.live)
            controller.journal.confirm()
            self._queue_file.keep(self._queue)
        with suppress(RecordError):
            self._view.update(self._snapshot)
        for line in self._after(controller.study):
            self._view.say(line)
        return ended

    def _snapshot(self) -> Snapshot:
        paths, study = self._parts.paths, self.controller.study
        return Snapshot(paths, study, running_trials(paths, study), self.controller.lease.record, self._queue)


def _load(module: str) -> None:
    with suppress(Exception):  # the proposal that needs it will say so
        import_module(module)


def _what(error: OSError | RuntimeError) -> str:
    if isinstance(error, OSError):
        return f"cannot use {error.filename or 'the study folder'}: {error.strerror or error}"
    return str(error)
