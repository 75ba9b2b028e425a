"""What an attempt says of itself: attempts/<n>.json, rewritten by a heartbeat and at every event."""

from __future__ import annotations

import json
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from queue import Empty
from typing import Any

from hpo.paths import TrialPaths
from hpo.records import AttemptRecord
from jobs.attempt.console import complain
from jobs.attempt.environment import cards, seconds_since_start
from jobs.attempt.lease import Ownership
from jobs.attempt.signals import Signals

HEARTBEAT_S = 15.0
WAKE = ""


class AttemptLog:
    """The record of one attempt and its heartbeat.

    The file is never fsynced: it is bookkeeping, and a trial neither waits for it nor fails over it.

    Args:
        owner: the attempt; once it is overtaken the heartbeat stops.
        signals: whose notes go into the record; never written inside a handler.
        every_s: between two heartbeats.
    """

    def __init__(
        self, paths: TrialPaths, owner: Ownership, signals: Signals, every_s: float = HEARTBEAT_S
    ) -> None:
        lease = owner.lease
        self._owner, self._signals, self._every_s = owner, signals, every_s
        self._born = time.monotonic() - seconds_since_start()
        self._path = paths.attempt(lease.attempt)
        self._temporary = self._path.with_name(f".{self._path.name}.{uuid.uuid4().hex}.tmp")
        self._record = AttemptRecord(
            lease.trial, lease.attempt, lease.batch, lease.job, lease.restart, lease.host, cards()
        )
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._over = threading.Event()
        self._complained = False

    def start(self) -> None:
        """Write the record for the first time, and from now on every few seconds."""
        self._update()
        self._thread.start()

    def on_device(self, name: str) -> None:
        """Note the card."""
        self._update(device=name)

    def resumed(self, step: int) -> None:
        """Note where the attempt goes on from."""
        self._update(from_step=step)

    def ending(self) -> None:
        """Note the age at which there is a result or a failure, before either is there to be read."""
        self._update()

    def saved(self, step: int) -> None:
        """Note a checkpoint."""
        self._update(saved_seconds=self._age(), saved_step=step)

    def end(self, how: str) -> None:
        """Write the record for the last time.

        Args:
            how: completed or failed.
        """
        self._update(ended=how)
        self._over.set()
        self._signals.noticed.put(WAKE)

    def _age(self) -> float:
        return round(time.monotonic() - self._born, 3)

    def _beat(self) -> None:
        while not self._over.is_set():
            came: list[str] = []
            with suppress(Empty):
                came = [name for name in [self._signals.noticed.get(timeout=self._every_s)] if name != WAKE]
            with suppress(OSError):  # not seen is not overtaken
                if self._owner.overtaken:
                    self._over.set()
            self._update(signals=[*self._record.signals, *came])

    def _update(self, **changes: Any) -> None:
        with self._lock:
            if not self._over.is_set():
                self._record = replace(self._record, seconds=self._age(), **changes)
                self._write()

    def _write(self) -> None:
        try:
            self._path.parent.mkdir(exist_ok=True)
            self._temporary.write_text(json.dumps(self._record.to_json(), indent=1) + "\n", encoding="utf-8")
            self._temporary.replace(self._path)
            self._complained = False
        except OSError as error:
            if not self._complained:
                complain(f"cannot write {self._path}: {error}; going on without")
            self._complained = True
            with suppress(OSError):
                self._temporary.unlink()  # a full disk keeps the half that was written
