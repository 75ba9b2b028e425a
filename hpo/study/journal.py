"""The journal of a study: events appended by the one controller, replayed by everyone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpo.records import (
    SCHEMA_VERSION,
    Json,
    RecordError,
    append_jsonl,
    mend_torn_tail,
    read_jsonl,
    utc,
    write_json,
)
from hpo.study.replay import apply, replay
from hpo.study.state import Event, Study

Listener = Callable[[dict[str, Any], Study], None]


class Journal:
    """Appends events and keeps the study that they tell of; for the holder of the controller's lease.

    Args:
        path: journal.jsonl; a torn last line, left by a kill, is cut off.
        listener: told of every event appended from here on.
        confirm: raises StudyError where the lease is another's by now; called before every write.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        path: Path,
        listener: Listener | None = None,
        confirm: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._listener = listener
        self.confirm = confirm
        self._clock = clock
        confirm()
        self._keep: int | None = None  # how much of the file counts, while the last line may not
        mend_torn_tail(path)
        self.study = load_study(path)

    def record(self, event: Event, **fields: Any) -> None:
        """Append one event, durably, and apply it.

        Raises:
            OSError: it could not be written; nothing of it counts, and the same call may be repeated.
        """
        self.confirm()
        entry = {"schema_version": SCHEMA_VERSION, "at": utc(self._clock()), "event": event.value, **fields}
        if self._keep is not None:
            os.truncate(self._path, self._keep)
        self._keep = self._path.stat().st_size  # a full disk may take a part of the line, or fail to keep it
        append_jsonl(self._path, entry)
        self._keep = None
        apply(self.study, entry)
        if self._listener:
            self._listener(entry, self.study)

    def write(self, path: Path, content: Json) -> None:
        """Write another whole file of the study, as its only writer."""
        self.confirm()
        write_json(path, content)


def load_study(path: Path) -> Study:
    """The study that a journal tells of, read-only.

    Raises:
        RecordError: it is damaged before its last line, or tells of none.
    """
    study = replay(read_jsonl(path))
    if not study.uid:
        raise RecordError(f"{path}: expected the events of a study, got none")
    return study
