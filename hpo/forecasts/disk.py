"""What a study will take of its disk, against what is left there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice, product

from hpo.forecasts.memory import Forecaster
from hpo.space.extremes import extreme_values
from hpo.study.kept_adapters import ALL, FRONT
from hpo.study.recipe import apply_params, key_path
from hpo.study.room import bytes_text
from hpo.study.state import Study

MOST_CORNERS = 64  # of the space, that are looked at
LIKELY_FRONT = 10  # trials on a front that is not there yet


def trial_bytes(forecaster: Forecaster, study: Study) -> float | None:
    """The most that a trial of the space leaves on the disk; None where it is not foretold."""
    memory, ends = forecaster.memory(study), extreme_values(forecaster.space)
    names = [
        name for name in ends if ".".join(key_path(name, forecaster.recipe)) in forecaster.kind.memory_keys
    ]
    corners = (dict(zip(names, corner, strict=True)) for corner in product(*(ends[name] for name in names)))
    recipes = (apply_params(forecaster.recipe, params) for params in islice(corners, MOST_CORNERS))
    peaks = [forecaster.peak(recipe, memory) for recipe in recipes]
    return max((peak["disk"] for peak in peaks if peak and "disk" in peak), default=None)


def disk_line(
    each: float | None, trials: int, in_flight: int, keep: str, left: Sequence[tuple[str, int]]
) -> tuple[str, str, str] | None:
    """(level, what, hint): whether the weights of a study find room; None where that is not foretold.

    Args:
        each: bytes of a trial, see `trial_bytes`.
        trials: that are yet to run.
        in_flight: at the same time.
        keep: what study.keep_adapters says.
        left: of `hpo.study.room.room`.
    """
    if each is None or trials <= 0:
        return None
    at_once = {ALL: trials, FRONT: in_flight + LIKELY_FRONT}.get(keep, in_flight)
    need = each * min(trials, at_once)
    why, least = min(left, key=lambda limit: limit[1])
    count = f"{min(trials, at_once)} trials of at most {bytes_text(each)}"
    what = (
        f"disk: adapters and checkpoints take up to {bytes_text(need)} ({count}); {bytes_text(least)} {why}"
    )
    hint = "study.keep_adapters=front deletes those of trials that leave the front; or another study.root"
    return "ok" if need < least else "warn", what, hint
