"""Values as text: numbers, durations, configurations. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping

from hpo.records import ParamValue


def number(value: object) -> str:
    """A value, short: four significant digits for a float."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float | None) -> str:
    """Seconds as 1h02m, 3m04s or 5s; empty for None."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60}h{minutes % 60:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def params_text(params: Mapping[str, ParamValue]) -> str:
    """A configuration on one line."""
    return " ".join(f"{name}={number(value)}" for name, value in params.items())
