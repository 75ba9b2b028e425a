"""What kinds of cards achieve is found by the names that schedulers and drivers give them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiers import quick

from hpo.controller.assembly import assemble
from hpo.controller.compose import compose_config
from hpo.errors import InputError
from hpo.forecasts.cards import CARDS, CardRates, card_rates, kind_of

DOCS = Path(__file__).resolve().parents[3] / "docs" / "cluster.md"


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ("gpu:v100:2", "V100"),
        ("gpu v100-32g", "V100"),
        ("gpu:V100S", "V100"),
        ("Tesla V100-SXM2-32GB", "V100"),
        ("gpu:a100_80gb", "A100"),
        ("gpu:nvidia_h100_80gb_hbm3:1", "H100"),
        ("NVIDIA L40S", "L40S"),
        ("gpu:l4,license:x", "L4"),
        ("gpu:a100_3g.20gb", None),  # a slice of one
        ("gpu:a100_3g_20gb", None),
        ("gpu:a100_1g:1", None),
        ("gpu a100&mig", None),
        ("shard:a100:4", None),
        ("gpu:a100:1,shard:2", "A100"),
        ("gpu:a100.3g20gb", None),
        ("gpu v100|a100", None),  # whichever is free
        ("gpu:t400", None),
        ("gpu", None),
    ],
)
def test_a_card_is_known_by_its_name(names: str, kind: str | None) -> None:
    """Whole words; several kinds, or a part of a card, are none."""
    assert kind_of(names) == kind


def test_rates_by_hand() -> None:
    """A third of 125 at best, 5 shown; an A100 has shown what it could; of an A30 a third of 165 is all."""
    assert card_rates("auto", "gpu:v100") == CardRates.of("V100")
    assert (CardRates.of("V100").shown, CardRates.of("V100").best) == pytest.approx((5e12, 125e12 / 3))
    assert (CardRates.of("A100").shown, CardRates.of("A100").best) == (104e12, 104e12)
    assert (CardRates.of("A30").shown, CardRates.of("A30").best) == pytest.approx((55e12, 55e12))
    assert card_rates(42, "gpu:v100") == CardRates.given(42)
    assert card_rates("auto", "gpu") is None
    assert card_rates(None, "gpu:v100") is None


def test_a_card_of_which_nothing_is_known_is_refused(tmp_path: Path) -> None:
    """By its key, with those that are known, and with every other problem of the configuration."""
    overrides = ["cluster.gpu_tflops=B300", f"study.root={tmp_path}", "budget.trials=0"]
    with pytest.raises(InputError) as caught:
        assemble(*compose_config(overrides))
    told = dict(caught.value.problems)
    assert told["cluster.gpu_tflops"].startswith(
        "got 'B300', expected TFLOP/s, auto, null, or one of these cards: V100, T4"
    )
    assert "budget.trials" in told


def test_the_page_lists_what_is_known() -> None:
    """Every card with its peak, a third of it, and what was shown, by which source."""
    rows = re.findall(
        r"^  \| `(\w+)` \| (\d+) \| (\d+) \| ([\d.]*) ?\| (.*?) ?\|$", DOCS.read_text(), re.MULTILINE
    )
    told = {
        name: (f"{card.peak:g}", f"{card.peak / 3:.0f}", f"{card.shown:g}" if card.shown else "")
        for name, card in CARDS.items()
    }
    assert {name: tuple(numbers) for name, *numbers, _ in rows} == told
    assert {name: source.replace("`", "").strip() for name, *_, source in rows} == {
        name: card.source for name, card in CARDS.items()
    }


RATES = ["[1,2]", "[A100]", "inf", "nan", "1e-320", "true", "-1", "0", "{a: 1}", "''"]


@pytest.mark.parametrize("given", quick(RATES, RATES[::3]))
def test_what_is_no_rate_is_refused_once(given: str, tmp_path: Path) -> None:
    """By one message, which says what would be one."""
    with pytest.raises(InputError) as caught:
        assemble(*compose_config([f"cluster.gpu_tflops={given}", f"study.root={tmp_path}"]))
    [(key, text)] = caught.value.problems
    assert key == "cluster.gpu_tflops"
    assert "expected TFLOP/s from 0.001 to 1e6, auto, null, or a card such as V100" in text


@pytest.mark.parametrize(
    "override",
    ["budget.trials=true", "budget.settle=true", "budget.least_gain=1.5", "budget.wall_hours=inf"],
)
def test_truth_and_infinity_are_no_numbers(override: str, tmp_path: Path) -> None:
    """Of the budget, where true would be one trial."""
    with pytest.raises(InputError) as caught:
        assemble(*compose_config([override, f"study.root={tmp_path}"]))
    assert [key for key, _ in caught.value.problems] == [override.split("=")[0]]
