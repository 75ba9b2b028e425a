"""What the controller goes by: the budget, and the time limit of an array."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from hpo.paths import StudyPaths
from hpo.ports import SiteLimits
from hpo.study.gpu_hours import used_by_now
from hpo.study.state import Study, Trial, TrialState

# `cluster.time_limit=auto`: the longest trial so far with a margin, once there are so many to judge by.
ENOUGH_TRIALS = 3
MARGIN = 1.5
MARGIN_MIN = 10
# Slurm may warn a minute before it was asked to, and looks at the time limit only now and then.
COARSE_S = 60
MOST_DOUBLINGS = 6


@dataclass(frozen=True)
class Limits:
    """Budget, batch sizes and patience; from the configuration, with the executor's defaults filled in."""

    trials: int
    wall_hours: float | None
    gpu_hours: float | None
    batch_size: int
    refill: int
    identical_errors: int
    node_failures: int
    submit_tries: int
    gone_s: float
    retries: Mapping[str, int]
    max_parallel: int | None = None
    auto_time_limit: bool = False
    propose_on_job: bool = False
    keep_adapters: str = "all"
    measures: bool = False  # whether trials measure at rungs
    reduction: int | None = None  # of asha, and of gain before ends are foretold; None: stops no trial
    risk: float | None = None  # of gain; None: it stops no trial
    settle: int | None = None  # batches in a row that promised next to nothing; None: that ends no study
    least_gain: float = 0.0  # share of the hypervolume that is next to nothing in any case
    scancels: int = 3  # tasks cancelled from outside, without a result between them, that stop the study


def scancels_allowed(on_scancel: str | None, batch_size: int, identical: int) -> tuple[int, int]:
    """What `cluster.on_scancel` comes to.

    Args:
        on_scancel: stop, forget or retry; None of a study that knows no such key: forget.
        batch_size: trials in flight.
        identical: `controller.identical_errors`.

    Returns:
        How many in a row stop the study, and how many further attempts a trial has.
    """
    if on_scancel == "stop":
        return 1, 0
    if on_scancel == "retry":
        return identical * batch_size, identical - 1
    return min(identical, batch_size), 0


def array_minutes(study: Study, trials: Sequence[Trial], site: SiteLimits, *, auto: bool) -> int | None:
    """The time limit that an array of these trials should ask for.

    A trial that ran into its limit without getting on gets twice the time, and twice again.

    Args:
        study: with the trials that have ended so far.
        site: its limits and default.
        auto: whether the limit follows from what was observed.

    Returns:
        Minutes; None where the default of the settings is right.
    """
    doublings = min(max((trial.stalled for trial in trials), default=0), MOST_DOUBLINGS)
    observed = _observed_minutes(study, site["warning_s"]) if auto else None
    if observed is None and not doublings:
        return None
    minutes = (observed or site["default_minutes"]) << doublings
    return min(minutes, site["minutes"]) if site["minutes"] else minutes


def _observed_minutes(study: Study, warning_s: int) -> int | None:
    needed: dict[str, float] = {}
    for end in study.ends:
        needed[end.trial] = needed.get(end.trial, 0.0) + end.useful_seconds
    completed = [needed.get(trial.id, 0.0) for trial in study.in_state(TrialState.COMPLETED)]
    if len(completed) < ENOUGH_TRIALS:
        return None
    least = 3 * (warning_s + COARSE_S) / 60
    return math.ceil(max(MARGIN * max(completed) / 60 + MARGIN_MIN, least))


def warned_s(minutes: int, warning_s: int) -> float:
    """The age of a task from which on a warning can only be that of its time limit."""
    return max(0.0, minutes * 60.0 - warning_s - COARSE_S - 15.0)


def shares(waiting: Sequence[tuple[str, int]], at_once: int) -> dict[str, int]:
    """How many tasks of each array may run, so that all together keep to a limit.

    Args:
        waiting: (array, number of its tasks that are not over), the oldest first.
        at_once: of all arrays together.

    Returns:
        array -> number of tasks; the oldest arrays get theirs first, and the last ones may get 0.
    """
    left, given = at_once, {}
    for array, unfinished in waiting:
        given[array] = min(left, unfinished)
        left -= given[array]
    return given


def settled(study: Study, patience: int, least_gain: float) -> str:
    """Why a study is over as nothing worth a trial is left to gain, in words; "" while something is.

    Args:
        patience: batches in a row of which the best trial must have promised so little.
        least_gain: share of the hypervolume that is too little in any case.
    """
    last = study.outlooks[-patience:]
    if len(last) < patience or any(own.gain >= max(own.noise, least_gain) for own in last):
        return ""
    own = last[-1]
    return (
        f"the best new trial is expected to add {100 * own.gain:.2g}% to the hypervolume, which is known to "
        f"{100 * own.noise:.2g}%: so little for budget.settle={patience} batches in a row"
    )


FRESH_S = 10.0  # what running attempts have used by now is read from a file of each


@dataclass
class Budget:
    """Looks at a study's use of its budget.

    Args:
        limits: with the budget.
        clock: seconds since the epoch.
    """

    limits: Limits
    paths: StudyPaths
    clock: Callable[[], float]
    _read: tuple[float, int, float] = field(default=(-FRESH_S, -1, 0.0))  # when, after how many ends, hours

    def spent(self, study: Study) -> str:
        """Which part of the budget is spent, in words; "" while there is some left."""
        limits = self.limits
        if study.spent >= limits.trials:
            return f"budget.trials={limits.trials} is spent"
        hours = (self.clock() - datetime.fromisoformat(study.created_at).timestamp()) / 3600
        if limits.wall_hours and hours >= limits.wall_hours:
            return f"budget.wall_hours={limits.wall_hours:g} is spent"
        if limits.gpu_hours and self._gpu_hours(study) >= limits.gpu_hours:
            return f"budget.gpu_hours={limits.gpu_hours:g} is spent"
        return settled(study, limits.settle, limits.least_gain) if limits.settle else ""

    def _gpu_hours(self, study: Study) -> float:
        at, ends, hours = self._read
        now = self.clock()
        if ends != len(study.ends) or not 0.0 <= now - at < FRESH_S:
            hours = used_by_now(study, self.paths).hours
            self._read = (now, len(study.ends), hours)
        return hours
