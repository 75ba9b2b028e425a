"""What an external program tells of its progress: a file of JSON lines, followed while it grows."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any


class LineFollower:
    """The whole lines of a file that grows, each once.

    Args:
        begin: byte from which on they count.
    """

    def __init__(self, path: Path, begin: int = 0) -> None:
        self._path, self._read, self._torn = path, begin, b""

    def news(self) -> list[bytes]:
        """The lines that were added; none while there is no file."""
        with suppress(OSError), self._path.open("rb") as stream:
            if self._path.stat().st_size < self._read:
                self._read, self._torn = 0, b""  # the program wrote the file anew
            stream.seek(self._read)
            text = stream.read()
            self._read += len(text)
            *whole, self._torn = (self._torn + text).split(b"\n")
            return whole
        return []


class ProgramProgress:
    """The latest of what was told; lines of earlier attempts are passed over, and so is what is no JSON.

    Args:
        path: of the file, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.step = self.steps = 0
        self.loss: float | None = None
        self.learning_rate: float | None = None
        self.saved = False  # a line said so, since this was last set to False
        self._lines = LineFollower(path, path.stat().st_size if path.exists() else 0)

    def news(self) -> bool:
        """Read on; whether there was anything new."""
        lines = [line for line in map(_parsed, self._lines.news()) if line is not None]
        for line in lines:
            self._take(line)
        return bool(lines)

    def _take(self, line: dict[str, Any]) -> None:
        self.step = _count(line.get("step"), self.step)
        self.steps = _count(line.get("steps"), self.steps)
        self.loss = _finite(line.get("loss"), self.loss)
        self.learning_rate = _finite(line.get("learning_rate"), self.learning_rate)
        self.saved = self.saved or line.get("saved") is True


def _parsed(line: bytes) -> dict[str, Any] | None:
    with suppress(ValueError):
        told = json.loads(line)
        return told if isinstance(told, dict) else None
    return None


def _count(value: Any, known: int) -> int:
    finite = _finite(value, None)
    return known if finite is None else int(finite)


def _finite(value: Any, known: float | None) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) else known
