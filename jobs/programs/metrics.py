"""What an external program reports: a JSON file of names and numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpo.records import Metric
from jobs.errors import Diverged, TrialError

FORM = '{"name": number, "other": [number, standard error]}'


def read_metrics(path: Path, wanted: Sequence[str]) -> dict[str, Metric]:
    """Read the metrics of a program that ended well.

    Args:
        wanted: metrics that must be there; others are taken over if they are numbers.

    Raises:
        Diverged: a wanted metric is no finite number.
        TrialError: there is no such file, it is no JSON object, or a wanted metric is missing.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        what = f"got no file {path} from the program, which ended with exit code 0, expected {FORM}"
        hint = "{metrics} in trainer.argv tells the program the path; trainer.metrics_file chooses another"
        raise TrialError(f"metrics: {what}", hint) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise TrialError(f"metrics: got what is not JSON in {path}: {error}, expected {FORM}") from error
    if not isinstance(told, dict):
        raise TrialError(f"metrics: got {type(told).__name__} in {path}, expected {FORM}")
    if missing := [name for name in wanted if name not in told]:
        held = ", ".join(sorted(told)) or "nothing"
        raise TrialError(
            f"metrics: got {held} in {path}, expected {', '.join(missing)} too",
            "trainer.metrics lists what every trial must report",
        )
    metrics = {name: _wanted(name, told[name], path) for name in wanted}
    others = {name: metric_of(value) for name, value in told.items() if name not in metrics}
    return metrics | {name: metric for name, metric in others.items() if metric is not None}


def _wanted(name: str, value: Any, path: Path) -> Metric:
    metric = metric_of(value)
    if metric is not None:
        return metric
    first = value[0] if isinstance(value, list) and value else value
    if _number(first) and not math.isfinite(first):
        raise Diverged(f"metrics: got {name}={first} in {path}, expected a finite number")
    raise TrialError(
        f"metrics: got {name}={value!r} in {path}, expected a number, or [number, standard error]"
    )


def metric_of(value: Any) -> Metric | None:
    """A number, or [number, standard error]; None for anything else."""
    if _number(value) and math.isfinite(value):
        return Metric(float(value))
    if isinstance(value, list) and len(value) == 2 and all(map(_number, value)) and math.isfinite(value[0]):
        known = math.isfinite(value[1]) and value[1] >= 0
        return Metric(float(value[0]), float(value[1]) if known else None)
    return None


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
