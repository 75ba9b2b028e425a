"""The journal of a study: events appended by the one controller, replayed by everyone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpo.records import SCHEMA_VERSION, append_jsonl, mend_torn_tail, read_jsonl, utc_now
from hpo.study import Event, Study, apply, replay

Listener = Callable[[dict[str, Any], Study], None]


class Journal:
    """Appends events and keeps the study that they tell of; for the holder of the controller's lease.

    Args:
        path: journal.jsonl; a torn last line, left by a kill, is cut off.
        listener: told of every event appended from here on.
    """

    def __init__(self, path: Path, listener: Listener | None = None) -> None:
        self._path = path
        self._listener = listener
        mend_torn_tail(path)
        self.study = replay(read_jsonl(path))

    def record(self, event: Event, **fields: Any) -> None:
        """Append one event, durably, and apply it."""
        entry = {"schema_version": SCHEMA_VERSION, "at": utc_now(), "event": event.value, **fields}
        append_jsonl(self._path, entry)
        apply(self.study, entry)
        if self._listener:
            self._listener(entry, self.study)


def load_study(path: Path) -> Study:
    """The study that a journal tells of, read-only."""
    return replay(read_jsonl(path))
