"""Finished parts of an evaluation, kept in the trial's folder so that a preempted one goes on after them."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from hpo.records import SCHEMA_VERSION, RecordError, read_json, write_json
from jobs.attempt.console import complain
from jobs.errors import Diverged

Answers = list[Any]  # JSON values; floats come back to the last bit


class Shards(Protocol):
    """Computes a part, or knows it already."""

    def obtain(self, name: str, asked: Any, compute: Callable[[], Answers]) -> Answers:
        """The answers of one part.

        Args:
            asked: JSON values that decide the answers, with the model.
        """


class UnstoredShards:
    """Keeps nothing."""

    def obtain(self, name: str, asked: Any, compute: Callable[[], Answers]) -> Answers:
        """See `Shards`."""
        return plain(name, compute())


class StoredShards:
    """Keeps every part in a file of its own, for whichever attempt comes next.

    Args:
        folder: of one adapter on one base model.
        confirm: ends the process if another attempt has the trial.
    """

    def __init__(self, folder: Path, confirm: Callable[[], None]) -> None:
        self._folder = folder
        self._confirm = confirm
        self.earlier_s = 0.0  # that earlier attempts spent on the parts that were there
        self.spent_s = 0.0  # on all parts that were asked for, by whichever attempt

    def obtain(self, name: str, asked: Any, compute: Callable[[], Answers]) -> Answers:
        """See `Shards`; a part that answers another question is made anew."""
        path = self._folder / f"{quote(name, safe='')}.json"
        question = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()
        with suppress(FileNotFoundError, RecordError, KeyError, TypeError):
            record = read_json(path)
            if record["question"] == question:
                self.earlier_s += float(record["seconds"])
                self.spent_s += float(record["seconds"])
                return list(record["answers"])
        began = time.monotonic()
        answers = plain(name, compute())
        seconds = time.monotonic() - began
        self.spent_s += seconds
        self._confirm()
        self._write(
            path,
            {"schema_version": SCHEMA_VERSION, "question": question, "seconds": seconds, "answers": answers},
        )
        return answers

    def _write(self, path: Path, record: dict[str, Any]) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, record)
        except OSError as error:
            complain(f"cannot write {path}: {error}; going on without")


def plain(name: str, answers: Answers) -> Answers:
    """Answers as they come back from a file.

    Raises:
        Diverged: one is no finite number.
    """
    for value in _numbers(answers):
        if not math.isfinite(value):
            raise Diverged(f"{name}: got {value}, expected a finite number")
    return list(json.loads(json.dumps(answers)))


def _numbers(answers: Any) -> list[float]:
    if isinstance(answers, float):
        return [answers]
    if isinstance(answers, list | tuple):
        return [number for one in answers for number in _numbers(one)]
    return []
