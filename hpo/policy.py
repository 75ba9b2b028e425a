"""What becomes of a trial whose attempt ended without a result, by cause."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from hpo.records import Cause

# The trial's own doing: another attempt would end in the same way, and the surrogate learns to stay away.
INFEASIBLE = frozenset({Cause.GPU_OUT_OF_MEMORY, Cause.DIVERGED})


class Action(StrEnum):
    """What to do with the trial."""

    RETRY = "retry"
    FAIL = "fail"
    CANCEL = "cancel"


def decide(cause: Cause, ended: int, budgets: Mapping[str, int]) -> Action:
    """What to do after an attempt ended.

    Args:
        cause: why it ended.
        ended: attempts of this trial that ended for this cause, this one included.
        budgets: further attempts allowed, per cause.
    """
    if cause is Cause.CANCELLED:
        return Action.CANCEL
    if cause in INFEASIBLE:
        return Action.FAIL
    return Action.RETRY if ended <= budgets[cause.value] else Action.FAIL


def learns(cause: Cause | None) -> bool:
    """Whether a failed trial tells the surrogate that its place is infeasible."""
    return cause in INFEASIBLE
