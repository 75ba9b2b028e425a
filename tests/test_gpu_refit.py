"""Constants of forecasts, refitted to measurements whose truth is known."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from benchmarks.gpu.page import section
from benchmarks.gpu.refit import FEWEST, fitted, left_out, memory_line, rate_line, reached, rows_of_memory
from jobs.memory.peak import CONTEXT, LOGIT_BYTES, WASTE

GIB = 2**30
ABOUT = {
    "card": "NVIDIA H100 80GB HBM3", "commit": "abc", "torch": "2", "transformers": "5", "peft": "0",
    "bitsandbytes": "1",
}  # fmt: skip


def _records(
    waste: float, context: float, logit_bytes: float, noise: float, count: int = 24
) -> list[dict[str, Any]]:
    """Recipes whose peaks are by these constants, up to noise."""
    draw = random.Random(3)
    made = []
    for number in range(count):
        rest, logits = draw.uniform(3.0, 12.0), draw.choice([0.0, 2.0, 6.0])
        peak = rest * waste / WASTE + logits * waste / WASTE * logit_bytes / LOGIT_BYTES + context / GIB
        parts = {"base": rest, "logits": logits, "context": CONTEXT / GIB}
        foretold = rest + logits + CONTEXT / GIB
        made.append(
            {"part": "memory", "model": "M", "case": str(number), "length": 1024, "micro_batch": 4,
             "quantisation": "nf4", "peak_gib": peak * (1 + draw.gauss(0.0, noise)), "foretold_gib": foretold,
             "parts_gib": parts, **ABOUT}
        )  # fmt: skip
    return made


def test_constants_are_found_again() -> None:
    """A quarter less for logits, twice the context: within 3% of them from 24 recipes with errors of 1%."""
    truth = 1.1, 0.9e9, 12.0
    own = fitted(rows_of_memory(_records(*truth, noise=0.01)))
    assert (own.waste, own.logit_bytes) == pytest.approx((truth[0], truth[2]), rel=0.03)
    assert own.context == pytest.approx(truth[1], rel=0.2)  # a tenth of the peaks
    exact = rows_of_memory(_records(WASTE, CONTEXT, LOGIT_BYTES, noise=0.0))
    again = fitted(exact)
    assert (again.waste, again.context, again.logit_bytes) == pytest.approx((WASTE, CONTEXT, LOGIT_BYTES))
    assert np.abs(left_out(exact)).max() < 1e-6


def test_a_recipe_is_judged_by_the_others() -> None:
    """One peak of twice the truth is an error of two, though it was among those that were fitted."""
    records = _records(WASTE, CONTEXT, LOGIT_BYTES, noise=0.0)
    records[5]["peak_gib"] *= 2
    errors = np.exp(left_out(rows_of_memory(records)))
    assert errors[5] == pytest.approx(2.0, rel=1e-3)
    assert abs(np.log(errors[4])) < 0.1


def test_the_page_has_the_constants_and_few_recipes_have_none() -> None:
    """Which they are, what they were, and how they do."""
    records = _records(1.1, 0.9e9, 12.0, noise=0.0)
    assert memory_line(records[: FEWEST - 1]) == ""
    text = section(records)
    assert (
        "Refitted to these 24 recipes, constants of `jobs/memory/peak.py` (now 1.05, 4.5e+08, 16): WASTE 1.1"
        in text
    )
    assert "LOGIT_BYTES 12." in text


def test_what_a_card_reached_is_the_median_of_trials_in_its_own_precision() -> None:
    """Of 100, 140 and 120: neither plain scripts count, nor the policy that was forced."""
    common = {"part": "speed", "model": "M", "arm": "trial", "forced": False, **ABOUT}
    records = [
        {**common, "case": str(rate), "tokens_per_second": 1.0, "tflops": rate}
        for rate in (100.0, 140.0, 120.0)
    ]
    records += [
        {**records[0], "forced": True, "tflops": 9.0},
        {**records[0], "arm": "plain", "tflops": 8.0},
    ]
    assert reached(records) == 120.0
    assert "reached 120 TFLOP/s of the model: `shown` of H100 in" in rate_line(records)
    assert "330 are thought possible, none shown" in rate_line(records)
    assert rate_line(records[3:4]) == ""
    assert rate_line([]) == ""
