"""What an earlier study foretells, and what happens when it misleads."""

from __future__ import annotations

import itertools
import json
import math
import random

import numpy as np
import pytest
import torch
from processes import process

from hpo.errors import InputError
from hpo.models.gp import Data
from hpo.models.posterior import Posterior
from hpo.models.surrogate import fit_surrogate
from hpo.models.transfer import ObjectiveFit, aligned_fit
from hpo.models.transforms import make_transform
from hpo.optimizer import Optimizer, Origin
from hpo.records import Params

SPACE = {"x": "interval(0, 1)", "z": "interval(0, 1)"}
Told = list[tuple[Params, dict[str, float]]]


def valley(params: Params, at: float = 0.3) -> float:
    return (
        (float(params["x"]) - at) ** 2
        + (float(params["z"]) - 0.7) ** 2
        + 0.1 * math.sin(9 * float(params["x"]))
    )


def earlier(sign: float = 1.0, count: int = 24) -> Told:
    """An earlier study on another scale; upside down where `sign` is -1."""
    source = Optimizer(SPACE, {"loss": "min"}, "sobol", seed=5)
    return [(params, {"loss": 3 * sign * valley(params) + 10}) for params in source.ask(count)]


def build(related: Told | None, seed: int = 0) -> Optimizer:
    optimizer = Optimizer(SPACE, {"loss": "min"}, seed=seed)
    if related:
        optimizer.learn_from(related)
    return optimizer


def best_after(optimizer: Optimizer, trials: int) -> float:
    values: list[float] = []
    while len(values) < trials:
        for params in optimizer.ask(2):
            values.append(valley(params))
            optimizer.tell(params, {"loss": values[-1]})
    return min(values)


def test_values_are_put_on_the_scale_of_what_is_foretold() -> None:
    """This study saw (0, 4) standardised to (-1, 1), thrice; foretold (2, 3): the mean 0 becomes 2.5."""
    X = np.linspace(0, 1, 4)[:, None]
    data = Data(X, np.array([-1.0, -1.0, 1.0, 1.0]), np.full(4, 0.04), np.ones(4), np.full(4, 0.04))
    transform = make_transform(np.array([-4.0, -4.0, 0.0, 0.0]), log=False)
    own = ObjectiveFit(data, process(X, data.y.tolist(), [0.4], transform=transform), 0.0)
    moved = aligned_fit(own, np.array([2.0, 2.0, 3.0, 3.0]))
    assert moved.data.y == pytest.approx([2.0, 2.0, 3.0, 3.0])
    assert moved.data.noise == pytest.approx(np.full(4, 0.01)), "a quarter of the variance at half the scale"
    assert moved.data.told == pytest.approx(np.full(4, 0.01))
    said = moved.process.transform(torch.tensor([-4.0, 0.0]).double())[0]
    assert said.tolist() == pytest.approx([2.0, 3.0]), "the transform says the same"


def test_what_is_foretold_passes_through_what_was_seen() -> None:
    X = np.array([[0.1, 0.9], [0.5, 0.5], [0.9, 0.2]])
    own = process(X, [1.0, -0.5, 0.25], [0.4, 0.4], mean=0.2)
    found = Posterior(own).mean(torch.from_numpy(X))
    assert found[:, 0].tolist() == pytest.approx([1.0, -0.5, 0.25], abs=1e-5)


def test_a_kindred_study_is_used_and_said_to_be() -> None:
    """Six trials of this study, and the model is right about places that only the earlier one saw."""
    optimizer = build(earlier())
    for params in optimizer.ask(6):
        optimizer.tell(params, {"loss": valley(params)})
    surrogate = fit_surrogate(optimizer.history)
    assert surrogate.joint == ("loss",)
    assert surrogate.note == "earlier studies used for loss"
    elsewhere = Optimizer(SPACE, {"loss": "min"}, "sobol", seed=77).ask(12)
    points = torch.tensor([optimizer.space.to_unit(params) for params in elsewhere], dtype=torch.float64)
    believed = -optimizer.model().posterior(points).mean[:, 0].detach()
    truth = np.array([valley(params) for params in elsewhere])
    assert np.abs(believed.numpy() - truth).max() < 0.1 * np.ptp(truth)


def test_a_misleading_study_is_left_aside() -> None:
    optimizer = build(earlier(sign=-1.0))
    for params in Optimizer(SPACE, {"loss": "min"}, "sobol", seed=9).ask(10):
        optimizer.tell(params, {"loss": valley(params)})
    assert fit_surrogate(optimizer.history).joint == ()


def test_the_first_trials_are_proven_ones() -> None:
    source = earlier()
    first = build(source).propose(6)
    assert [own.origin for own in first][:2] == [Origin.RELATED, Origin.CENTRE], (
        "one objective has one best point"
    )
    assert first[0].params == min(source, key=lambda told: told[1]["loss"])[0]


@pytest.mark.slow
def test_a_start_from_a_kindred_study_is_ahead_and_from_a_misleading_one_not_far_behind() -> None:
    cold = best_after(build(None), 14)
    assert best_after(build(earlier()), 8) < cold + 0.01
    assert best_after(build(earlier(sign=-1.0)), 14) < cold + 0.05


def test_neither_the_order_nor_a_restart_changes_what_follows() -> None:
    source, other = earlier(), earlier(sign=-1.0, count=5)
    first = build(source)
    first.learn_from(other)
    second = build(other)
    second.learn_from(random.Random(0).sample(source, len(source)))
    for optimizer in (first, second):
        for params in [params for params, _ in itertools.islice(earlier(count=7), 7)]:
            optimizer.tell(params, {"loss": valley(params)})
    third = Optimizer.from_json(json.loads(json.dumps(first.to_json())))
    expected = first.propose(3)
    assert second.propose(3) == expected
    assert third.propose(3) == expected


def test_a_study_of_one_trial_teaches_nothing_and_is_refused() -> None:
    with pytest.raises(InputError, match="at least 2 trials"):
        build(earlier(count=1))
