"""The controller's loop: passes at the pace of what happens, through a disk or a scheduler that is away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from hpo.assembly import Assembly
from hpo.chain import settled
from hpo.controller import Controller
from hpo.pacing import Pacer
from hpo.ports import of_an_executor
from hpo.records import RecordError
from hpo.study.queue_view import QueueFile, QueueView, seen
from hpo.study.snapshot import Snapshot, running_trials
from hpo.study.state import Study
from hpo.view import View

LONGEST_WAIT_S = 60.0
After = Callable[[Study], Iterable[str]]


def nothing(study: Study) -> Iterable[str]:
    """What is done after a pass where nothing is to be done."""
    return ()


class Loop:
    """Drives a controller.

    Args:
        parts: the study's.
        controller: with its lease.
        view: shown what happens.
        after: called after every pass; gives lines to show.
    """

    def __init__(self, parts: Assembly, controller: Controller, view: View, after: After = nothing) -> None:
        self._parts, self.controller, self._view, self._after = parts, controller, view, after
        self._pacer = Pacer(parts.poll_s, backs_off=parts.executor.name == "slurm")
        self._look_s = min(parts.config.controller.look_seconds, parts.poll_s)
        self._wait_s = self._look_s
        self._queue_file = QueueFile(parts.paths.queue)

    def run(self) -> bool:
        """Passes until the study has ended; returns True then."""
        while not self._guarded():
            time.sleep(self._wait_s)
        return True

    def until_settled(self, longest_s: float) -> bool:
        """Passes until what comes next will come from the queue; returns whether the study has ended."""
        deadline = time.monotonic() + longest_s
        ended = False
        while not ended and not settled(self.controller) and time.monotonic() < deadline:
            time.sleep(self._wait_s)
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
        self._wait_s = self._look_s
        return ended

    def pass_once(self, *, force: bool = True) -> bool:
        """One pass; returns whether the study has ended.

        Args:
            force: ask the scheduler, whether it is time for that or not.
        """
        controller, now = self.controller, time.monotonic()
        poll = force or self._pacer.due(now)
        before = controller.state()
        ended = controller.step(poll=poll)
        if poll:
            self._pacer.asked(now, eventful=controller.state() != before)
        elif controller.state()[1:] != before[1:]:  # what was submitted wants to be seen starting
            self._pacer.asked(now, eventful=True)
        queue = seen(controller.study, controller.live)
        self._queue_file.keep(queue)
        with suppress(RecordError):
            self._view.update(lambda: self._snapshot(queue))
        for line in self._after(controller.study):
            self._view.say(line)
        return ended

    def _snapshot(self, queue: QueueView) -> Snapshot:
        paths, study = self._parts.paths, self.controller.study
        return Snapshot(paths, study, running_trials(paths, study), self.controller.lease.record, queue)


def _what(error: OSError | RuntimeError) -> str:
    if isinstance(error, OSError):
        return f"cannot use {error.filename or 'the study folder'}: {error.strerror or error}"
    return str(error)
