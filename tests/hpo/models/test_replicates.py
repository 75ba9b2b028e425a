"""When a configuration is measured again, how often, and as which trial."""

import math
import random
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

from hpo.controller.proposer import SearchProposer
from hpo.models.guard import guarded
from hpo.objectives import parse_objectives
from hpo.optimizer import Optimizer, Origin, Proposal
from hpo.records import Metric, Params
from hpo.space.space import parse_space
from hpo.study.state import Study, Trial, TrialState

SPACE = {"x": "interval(0, 1)", "y": "range(1, 9)"}
OBJECTIVES = {"a": "min", "b": "min"}
Values = dict[str, float | tuple[float, float | None]]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with guarded():
        yield


def losses(params: Params, noise: float, rng: random.Random) -> Values:
    """Two distances whose front is a line; the spread of the noise is told."""
    x, y = float(params["x"]), float(params["y"]) / 10
    pure = {"a": (x - 0.3) ** 2 + (y - 0.5) ** 2, "b": (x - 0.7) ** 2 + (y - 0.5) ** 2}
    return {name: (value + rng.gauss(0, noise), noise or None) for name, value in pure.items()}


@cache
def tuned(replicates: int, noise: float) -> tuple[Proposal, ...]:
    """Everything proposed in a study of 32 trials, four at a time."""
    optimizer = Optimizer(SPACE, OBJECTIVES, seed=2, initial=8, replicates=replicates)
    rng, found = random.Random(0), list[Proposal]()
    for _ in range(8):
        batch = optimizer.propose(4)
        found += batch
        for own in batch:
            optimizer.tell(own.params, losses(own.params, noise, rng))
    return tuple(found)


def measured(proposals: tuple[Proposal, ...]) -> list[int]:
    """How often each configuration was proposed."""
    keys = [tuple(own.params.values()) for own in proposals]
    return [keys.count(own) for own in set(keys)]


@pytest.mark.slow
def test_one_measurement_each_is_the_default_whatever_the_noise() -> None:
    found = tuned(1, 0.1)
    assert set(measured(found)) == {1}
    assert Origin.REPLICATE not in {own.origin for own in found}


@pytest.mark.slow
def test_noise_leads_to_replicates_within_their_bounds() -> None:
    """No configuration more than three times, no more than one trial in four, and each one says so."""
    found = tuned(3, 0.1)
    again = [own for own in found if own.origin is Origin.REPLICATE]
    assert 1 <= len(again) <= 8
    assert max(measured(found)) in (2, 3)
    assert len(again) == sum(count - 1 for count in measured(found))
    for index in range(0, 32, 4):
        assert sum(own.origin is Origin.REPLICATE for own in found[index : index + 4]) <= 1


@pytest.mark.slow
def test_values_without_noise_are_never_measured_again() -> None:
    assert set(measured(tuned(3, 0.0))) == {1}


def test_replicates_are_of_the_front() -> None:
    """Of results with errors of 0.3 beside a plainly worse one, the worse one is left alone."""
    optimizer = Optimizer({"x": "interval(0, 1)"}, {"a": "min"}, initial=3, replicates=2)
    for x in (0.1, 0.15, 0.9):
        optimizer.tell({"x": x}, {"a": (100 * (x > 0.5) + x, 8.0)})
    again = [own for own in optimizer.propose(4) if own.origin is Origin.REPLICATE]
    assert [float(own.params["x"]) < 0.5 for own in again] == [True]


@pytest.mark.slow
def test_results_told_in_another_order_are_repeated_alike() -> None:
    told = [
        (own.params, losses(own.params, 0.1, random.Random(number)))
        for number, own in enumerate(tuned(3, 0.1)[:14])
    ]
    batches = []
    for seed in range(3):
        optimizer = Optimizer(SPACE, OBJECTIVES, seed=2, initial=8, replicates=3)
        for params, values in random.Random(seed).sample(told, len(told)):
            optimizer.tell(params, values)
        batches.append(optimizer.propose(6))
    assert batches[0] == batches[1] == batches[2]
    assert Origin.REPLICATE in {own.origin for own in batches[0]}


def proposer() -> SearchProposer:
    strategy = {"name": "bo", "initial": 8, "acquisition": "auto", "beta": 4.0, "replicates": 3}
    recipe = {"trainer": {"x": 0.0, "y": 1}}
    return SearchProposer(parse_space(SPACE), parse_objectives(OBJECTIVES), strategy, recipe, 0, [], "/cache")


def completed(number: int, params: Params, origin: str = "sobol") -> Trial:
    rng = random.Random(number)
    values = {
        name: Metric(float(own[0]), own[1])
        for name, own in losses(params, 0.1, rng).items()
        if isinstance(own, tuple)
    }
    own = Trial(f"{number:04d}", number, dict(params), origin, "0000", "")
    own.state, own.metrics = TrialState.COMPLETED, values
    return own


def noisy_study() -> Study:
    """Eleven completed trials, so that the next but one in four is due."""
    study = Study(uid="000000", name="study")
    for number, x in enumerate(np.linspace(0.05, 0.95, 11).tolist()):
        trial = completed(number, {"x": x, "y": 1 + number % 9})
        study.trials[trial.id] = trial
    return study


def test_a_replicate_is_a_trial_of_its_own_with_another_seed() -> None:
    own, study = proposer(), noisy_study()
    again = [found for found in own.propose(study, 4) if found.origin == Origin.REPLICATE]
    [found] = again
    [first] = [trial for trial in study.trials.values() if trial.params == found.spec.params]
    assert found.spec.number >= 11
    assert found.spec.trial != first.id
    seeds = {proposed.spec.seed for proposed in own.propose(study, 4)}
    assert len(seeds) == 4
    assert found.spec.recipe == {"trainer": dict(first.params)}


def test_a_replicate_under_way_stays_under_way_when_another_one_has_ended() -> None:
    """Trials 0 and 12 of a configuration have ended, 11 has not, and is numbered between them."""
    study = noisy_study()
    params = study.trials["0000"].params
    study.trials["0011"] = Trial("0011", 11, dict(params), "replicate", "0001", "")
    study.trials["0012"] = completed(12, params, "replicate")
    history = proposer().optimizer(study).history
    assert history.pending == (history.space.to_unit(params),)
    assert history.asked == 13


def test_a_record_with_a_replicate_given_up_and_one_under_way_reads_as_written() -> None:
    optimizer = Optimizer(SPACE, OBJECTIVES, initial=2)
    params: Params = {"x": 0.5, "y": 3}
    for _ in range(2):
        optimizer.add_pending(params)
    optimizer.tell_nothing(params)
    assert len(optimizer.history.pending) == 1
    assert Optimizer.from_json(optimizer.to_json()).history == optimizer.history


def test_two_measurements_make_one_row_of_half_the_variance() -> None:
    """What a replicate is for: errors of 0.1 twice are one of 0.1 / sqrt 2."""
    from hpo.models.surrogate import fit_surrogate

    optimizer = Optimizer({"x": "interval(0, 1)"}, {"a": "min"}, initial=2)
    for x in (0.0, 0.25, 0.5, 0.75, 1.0):
        optimizer.tell({"x": x}, {"a": (x, 0.1)})
    optimizer.tell({"x": 0.5}, {"a": (0.6, 0.1)})
    process = fit_surrogate(optimizer.history).processes["a"]
    assert len(process.rows) == 5
    errors = process.likelihood.told.sqrt() * process.transform.scale
    expected = [0.1 / math.sqrt(2) if x == 0.5 else 0.1 for x in process.rows[:, 0].tolist()]
    assert errors.tolist() == pytest.approx(expected)
