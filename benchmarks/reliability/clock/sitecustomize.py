"""Moves the clock of the one process that has this folder on its PYTHONPATH, by what a file says.

Only the wall clock: a monotonic one does not jump. Scaffolding of `benchmarks.reliability`, loaded by nothing
else; the processes that this one starts do not find it any more.
"""

from __future__ import annotations

import datetime
import os
import time
from pathlib import Path
from typing import Any

_HERE = str(Path(__file__).parent)
_OFFSET = os.environ.get("CHAOS_CLOCK", "")
_time, _time_ns = time.time, time.time_ns
_Datetime = datetime.datetime


def _offset_s() -> float:
    try:
        return float(Path(_OFFSET).read_text())
    except (OSError, ValueError):
        return 0.0


class _Meta(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _Datetime)


class _Shifted(_Datetime, metaclass=_Meta):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        """The shifted time, a plain datetime."""
        return _Datetime.now(tz) + datetime.timedelta(seconds=_offset_s())


if _OFFSET:
    time.time = lambda: _time() + _offset_s()
    time.time_ns = lambda: _time_ns() + int(_offset_s() * 1e9)
    datetime.datetime = _Shifted  # type: ignore[misc]
    _others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != _HERE]
    os.environ["PYTHONPATH"] = os.pathsep.join(_others)
