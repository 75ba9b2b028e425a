"""Whether a study has used up what it was given: trials, GPU-hours or days, whichever ends first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from hpo.limits import Limits
from hpo.paths import StudyPaths
from hpo.study.gpu_hours import used_by_now
from hpo.study.state import Study

FRESH_S = 10.0  # what running attempts have used by now is read from a file of each


@dataclass
class Budget:
    """Looks at a study's use of its budget.

    Args:
        limits: with the budget.
        paths: the study's files.
        clock: seconds since the epoch.
    """

    limits: Limits
    paths: StudyPaths
    clock: Callable[[], float]
    _read: tuple[float, int, float] = field(default=(-FRESH_S, -1, 0.0))  # when, after how many ends, hours

    def spent(self, study: Study) -> str:
        """Which part of the budget is spent, in words; "" while there is some left."""
        limits = self.limits
        if len(study.trials) >= limits.trials:
            return f"budget.trials={limits.trials} is spent"
        hours = (self.clock() - datetime.fromisoformat(study.created_at).timestamp()) / 3600
        if limits.wall_hours and hours >= limits.wall_hours:
            return f"budget.wall_hours={limits.wall_hours:g} is spent"
        if limits.gpu_hours and self._gpu_hours(study) >= limits.gpu_hours:
            return f"budget.gpu_hours={limits.gpu_hours:g} is spent"
        return ""

    def _gpu_hours(self, study: Study) -> float:
        at, ends, hours = self._read
        now = self.clock()
        if ends != len(study.ends) or not 0.0 <= now - at < FRESH_S:
            hours = used_by_now(study, self.paths).hours
            self._read = (now, len(study.ends), hours)
        return hours
