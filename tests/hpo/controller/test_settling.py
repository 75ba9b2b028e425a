"""`budget.settle`: what is left to gain is asked with every batch, kept, and may end the study."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from controlled_site import LIMITS, Site

from hpo.controller import proposer
from hpo.controller.assembly import assemble
from hpo.controller.compose import compose_config
from hpo.controller.limits import settled
from hpo.controller.proposer import left_to_gain
from hpo.optimizer import Optimizer
from hpo.reporting.figures.front import outlook_figure
from hpo.study.journal import load_study
from hpo.study.state import LeftToGain, Study

LITTLE, MUCH = LeftToGain(9, 0.001, 0.01), LeftToGain(9, 0.02, 0.01)


@pytest.mark.parametrize(
    ("outlooks", "ended"),
    [
        ([], False),
        ([LITTLE] * 2, False),
        ([MUCH, LITTLE, LITTLE, LITTLE], True),
        ([LITTLE, LITTLE, MUCH], False),
        ([LITTLE, LITTLE, MUCH, LITTLE, LITTLE], False),
        ([LeftToGain(9, 5e-4, 0.0)] * 3, True),  # known exactly, and still next to nothing
        ([LeftToGain(9, 2e-3, 0.0)] * 3, False),
    ],
)
def test_a_study_has_settled_after_so_many_batches_of_next_to_nothing(
    outlooks: list[LeftToGain], ended: bool
) -> None:
    """Three in a row below the noise, or below a thousandth."""
    reason = settled(Study(outlooks=outlooks), 3, 1e-3)
    assert bool(reason) is ended
    assert not ended or "budget.settle=3" in reason


def told(function: str, count: int) -> Optimizer:
    """An optimiser of one parameter with results of a noisy constant, or of a slope."""
    optimizer = Optimizer({"x": "interval(0, 1)"}, {"loss": "min"}, seed=1)
    for number in range(count):
        x = (number + 0.5) / count
        value = {"constant": 1.0, "slope": 1.0 - x}[function] + 0.05 * math.sin(37.0 * number)
        optimizer.tell({"x": x}, {"loss": (value, 0.05)})
    return optimizer


def test_what_is_left_to_gain_is_less_than_the_noise_where_nothing_is_to_be_found() -> None:
    """Of a constant that was measured twenty times; and nothing is said of seven results."""
    found = left_to_gain(told("constant", 20))
    assert found is not None
    assert (found.results, found.gain < found.noise) == (20, True)
    assert left_to_gain(told("constant", 7)) is None


def test_a_study_ends_once_it_has_settled_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No trial is proposed after the batch that was the second of two; the journal tells all of it again."""
    site = Site(tmp_path, replace(LIMITS, settle=2, trials=100))
    controller = site.controller()
    looks = iter([MUCH, LITTLE, LITTLE, LITTLE])
    monkeypatch.setattr(proposer, "left_to_gain", lambda optimizer: next(looks))
    controller._proposer.weighs = True
    while not controller.step():
        site.run_all()
    study = load_study(site.paths.journal)
    assert study.outlooks == [MUCH, LITTLE, LITTLE]
    assert [asdict(own) for own in study.outlooks] == [
        event["outlook"] for event in site.events("batch_planned")
    ]
    assert len(study.trials) == 12
    assert study.finished.startswith("the best new trial is expected to add 0.1% to the hypervolume")
    expected, noise = outlook_figure(study).data
    assert (list(expected.x), list(expected.y)) == ([9, 9, 9], [2.0, 0.1, 0.1])
    assert list(noise.y) == [1.0, 1.0, 1.0]


def test_only_a_study_that_asks_for_it_pays_for_it() -> None:
    """By default no batch is weighed."""
    base = ("experiment=none", "trainer=synthetic", "cluster=local")
    plain = assemble(*compose_config(base))
    asking = assemble(*compose_config([*base, "budget.settle=4", "budget.least_gain=0.01"]))
    assert (plain.limits.settle, plain.proposer().weighs) == (None, False)  # type: ignore[attr-defined]
    assert (asking.limits.settle, asking.limits.least_gain) == (4, 0.01)
    assert asking.proposer().weighs is True  # type: ignore[attr-defined]
