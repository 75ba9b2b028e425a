"""Which trial to take: the knee of the front, and the best one under stated limits. Plain numbers only.

References:
    [Das1999] I. Das. On characterizing the "knee" of the Pareto curve based on normal-boundary intersection.
        Structural Optimization 18, 1999.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from hpo.errors import InputError, Problem
from hpo.objectives import Objectives
from hpo.pareto import Row
from hpo.study.state import Trial

_LIMIT = re.compile(r"\s*([\w.]+)\s*(<=|>=|<|>)\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*")
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True)
class MetricLimit:
    """What a metric of the trial to be taken must meet."""

    metric: str
    comparison: str
    bound: float

    def __str__(self) -> str:
        return f"{self.metric} {self.comparison} {self.bound:g}"

    def met_by(self, trial: Trial) -> bool:
        """Whether a trial measured the metric and meets the limit."""
        metric = trial.metrics.get(self.metric)
        return metric is not None and _COMPARISONS[self.comparison](metric.value, self.bound)


def parse_limits(texts: Sequence[str], known: Collection[str]) -> list[MetricLimit]:
    """Read limits such as `train_seconds<=7200`.

    Args:
        texts: METRIC, a comparison and a number, each.
        known: the metrics that trials measured; empty where none has completed, and then any name will do.

    Raises:
        InputError: with every text that is no limit on a metric of the study.
    """
    problems: list[Problem] = []
    limits = []
    for text in texts:
        found = _LIMIT.fullmatch(text)
        try:
            bound = float(found[3]) if found else None
        except ValueError:
            bound = None
        if found is None or bound is None:
            problems.append(("--limit", f"expected METRIC<=NUMBER (or >=, <, >), got {text!r}"))
        elif known and found[1] not in known:
            problems.append(
                ("--limit", f"expected a metric of the trials ({', '.join(known)}), got {found[1]}")
            )
        else:
            limits.append(MetricLimit(found[1], found[2], bound))
    if problems:
        raise InputError(problems, hint="frontrunner report STUDY --limit 'train_seconds<=7200'")
    return limits


def knee(rows: Sequence[Row]) -> int | None:
    """The place of the front where giving up some of one objective gains least of the others [Das1999].

    Args:
        rows: a front of n rows of m values to minimise.

    Returns:
        The row with the smallest sum once every objective is scaled to [0, 1] over the front: for two
        objectives the one furthest from the line between the ends. None where fewer than three differ, or
        no row is nearer to the ideal than that line.
    """
    if len(rows) < 3 or len(rows[0]) < 2:
        return None
    low, high = ([pick(column) for column in zip(*rows, strict=True)] for pick in (min, max))
    spans = [top - bottom for bottom, top in zip(low, high, strict=True)]
    if not all(spans):
        return None
    sums = [sum((x - least) / span for x, least, span in zip(row, low, spans, strict=True)) for row in rows]
    best = min(range(len(rows)), key=sums.__getitem__)
    return best if len(rows[0]) > 2 or sums[best] < 1 - 1e-9 else None


def picks(trials: Sequence[Trial], objectives: Objectives, limits: Sequence[MetricLimit]) -> dict[str, Trial]:
    """The trial with the best value of each objective among those that meet every limit.

    Args:
        trials: completed ones.
        objectives: what is optimised; one that a limit names is not asked for, unless all are.
        limits: none: the best of all.
    """
    fitting = [trial for trial in trials if all(limit.met_by(trial) for limit in limits)]
    limited = {limit.metric for limit in limits}
    wanted = [name for name in objectives if name not in limited] or list(objectives)
    return {
        name: min(fitting, key=lambda trial: objectives[name].minimised(trial.metrics[name].value))
        for name in wanted
        if fitting
    }
