"""What a card's measurements make of the constants of `jobs.memory.peak` and `hpo.forecasts.cards`."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from benchmarks.records import Record
from hpo.forecasts.cards import CARDS, UTILISATION, kind_of
from jobs.memory.peak import CONTEXT, LOGIT_BYTES, WASTE

FEWEST = 8  # recipes, for three constants
_GIB = 2**30
_ERROR = 0.03  # of one measurement, on the scale of logarithms
_PRIOR = 1.0  # deviation of each constant from what it is now, likewise

Rows = NDArray[np.float64]  # GiB, a recipe each: measured, foretold parts without logits and context, logits


@dataclass(frozen=True)
class Constants:
    """Of `jobs.memory.peak`."""

    waste: float = WASTE
    context: float = CONTEXT
    logit_bytes: float = LOGIT_BYTES

    def errors(self, rows: Rows) -> NDArray[np.float64]:
        """Logarithms of measured over foretold."""
        measured, rest, logits = rows.T
        parts = rest + logits * self.logit_bytes / LOGIT_BYTES
        foretold: NDArray[np.float64] = parts * self.waste / WASTE + self.context / _GIB
        return np.asarray(np.log(measured / foretold))


def rows_of_memory(records: Sequence[Record]) -> Rows:
    """Of those records that measured a peak."""
    own = [record for record in records if "peak_gib" in record and "parts_gib" in record]
    named = [(record["peak_gib"], record["parts_gib"]) for record in own]
    return np.array(
        [
            (peak, sum(parts.values()) - parts["logits"] - parts["context"], parts["logits"])
            for peak, parts in named
        ]
    ).reshape(-1, 3)


def fitted(rows: Rows) -> Constants:
    """By least squares of the errors, with each constant held a little to what it is now."""

    def constants(steps: NDArray[np.float64]) -> Constants:
        waste, context, logit_bytes = np.exp(steps)
        return Constants(WASTE * waste, CONTEXT * context, LOGIT_BYTES * logit_bytes)

    def residuals(steps: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([constants(steps).errors(rows) / _ERROR, steps / _PRIOR])

    return constants(least_squares(residuals, np.zeros(3)).x)


def left_out(rows: Rows) -> NDArray[np.float64]:
    """The logarithm of each recipe's error by constants that were fitted to the others."""
    places = range(len(rows))
    return np.array([fitted(np.delete(rows, place, 0)).errors(rows[[place]])[0] for place in places])


def memory_line(records: Sequence[Record]) -> str:
    """The constants of the memory's forecast; empty where there are too few recipes."""
    rows = rows_of_memory(records)
    if len(rows) < FEWEST:
        return ""
    own, off = fitted(rows), left_out(rows)
    sizes = sorted(map(abs, (np.exp(off) - 1).tolist()))
    now = f"{WASTE:g}, {CONTEXT:.3g}, {LOGIT_BYTES:g}"
    new = f"WASTE {own.waste:.3f}, CONTEXT {own.context:.3g}, LOGIT_BYTES {own.logit_bytes:.1f}"
    return (
        f"Refitted to these {len(rows)} recipes, constants of `jobs/memory/peak.py` (now {now}): {new}. "
        f"Each recipe by constants of the others: median error {statistics.median(sizes):.1%}, "
        f"largest {sizes[-1]:.1%}, SPREAD {np.std(off):.3f}."
    )


def reached(records: Sequence[Record]) -> float | None:
    """TFLOP/s of the model, the median of what trials reached by the card's own policy."""
    trials = [own for own in records if own.get("arm") == "trial" and "tflops" in own and not own["forced"]]
    return statistics.median(own["tflops"] for own in trials) if trials else None


def rate_line(records: Sequence[Record]) -> str:
    """What the card achieves, as `hpo/forecasts/cards.py` has it; empty where no trial was timed."""
    rate = reached(records)
    if rate is None:
        return ""
    kind = kind_of(records[-1]["card"])
    known = "it is new"
    if kind:
        known = (
            f"{CARDS[kind].peak * UTILISATION:.3g} are thought possible, {CARDS[kind].shown or 'none'} shown"
        )
    place = f"`shown` of {kind or 'this card'} in `hpo/forecasts/cards.py` ({known})"
    return f"Trials reached {rate:.3g} TFLOP/s of the model: {place}."
