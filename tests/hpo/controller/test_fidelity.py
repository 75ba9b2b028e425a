"""The group `fidelity`: what it tells trials, and one clear error for each way to get it wrong."""

from __future__ import annotations

import pytest

from hpo.controller.assembly import assemble
from hpo.controller.compose import compose_config
from hpo.errors import InputError
from hpo.study.recipe import content_hash

BASE = ("experiment=none", "trainer=synthetic", "cluster=local")
QLORA = ("experiment=none", "cluster=local", "trainer.max_steps=30")


def problems_of(*overrides: str) -> list[tuple[str, str]]:
    """What a user is told."""
    with pytest.raises(InputError) as refused:
        assemble(*compose_config(overrides))
    return refused.value.problems


def test_a_study_that_stops_nothing_measures_nothing() -> None:
    """By default; and no recipe has a key of this group, so that studies under way stay what they are."""
    parts = assemble(*compose_config(BASE))
    stopping = assemble(*compose_config([*BASE, "fidelity.stopping=asha"]))
    assert parts.config.fidelity.in_spec["rungs"] == []
    assert stopping.config.fidelity.in_spec["rungs"] == [1 / 9, 1 / 3]
    assert content_hash(parts.identity) == content_hash(stopping.identity)
    assert (parts.limits.reduction, stopping.limits.reduction) == (None, 3)


def test_rungs_are_fractions_or_numbers_and_the_end_is_none() -> None:
    """A list of one's own is measured at without stopping."""
    parts = assemble(*compose_config([*BASE, "fidelity.rungs=[1/27, 0.25, '1/2', 1]"]))
    assert parts.config.fidelity.shares == [1 / 27, 0.25, 0.5]


@pytest.mark.parametrize(
    ("rungs", "words"),
    [
        ("[1/3,1/9]", "shares that increase"),
        ("[1/3,1/3]", "shares that increase"),
        ("[1/3,2]", "above 0 and at most 1"),
        ("[0,1/3]", "above 0 and at most 1"),
        ("[1/0]", "above 0 and at most 1"),
        ("[]", "above 0 and at most 1"),
        ("third", "above 0 and at most 1"),
    ],
)
def test_rungs_that_are_none(rungs: str, words: str) -> None:
    """One message, by the key."""
    ((key, text),) = problems_of(*BASE, f"fidelity.rungs={rungs}")
    assert key == "fidelity.rungs"
    assert words in text


def test_rungs_finer_than_a_step() -> None:
    """Of the shortest trial that the space allows."""
    ((key, text),) = problems_of(*QLORA, "fidelity.rungs=[1/60,1/3]")
    assert key == "fidelity.rungs"
    assert "30 steps" in text


def test_an_objective_that_a_rung_cannot_measure() -> None:
    """Told with the way to measure tasks."""
    ((key, text),) = problems_of(
        *QLORA, "objectives=none", "objectives.adapter_bytes=min", "fidelity.stopping=asha"
    )
    assert key == "fidelity.stopping"
    assert "adapter_bytes cannot be measured at a rung" in text


@pytest.mark.parametrize("strategy", ["soo", "bamsoo"])
def test_a_strategy_that_needs_every_result(strategy: str) -> None:
    """Its tree would wait for values that never come."""
    ((key, text),) = problems_of(*BASE, "objectives=loss", f"strategy={strategy}", "fidelity.stopping=asha")
    assert key == "fidelity.stopping"
    assert strategy in text


def test_stopping_without_a_rung() -> None:
    """There is nowhere to stop."""
    ((key, _),) = problems_of(*BASE, "fidelity.rungs=[1]", "fidelity.stopping=asha")
    assert key == "fidelity.rungs"


def test_gain_is_weighed_in_the_controller_alone() -> None:
    """A controller that only asks jobs for proposals would have to fit models itself."""
    parts = assemble(*compose_config([*BASE, "fidelity.stopping=gain", "fidelity.risk=0.2"]))
    assert (parts.limits.risk, parts.limits.reduction) == (0.2, 3)
    ((key, text),) = problems_of(*BASE, "fidelity.stopping=gain", "controller.propose_on=job")
    assert key == "fidelity.stopping"
    assert "propose_on=login" in text
