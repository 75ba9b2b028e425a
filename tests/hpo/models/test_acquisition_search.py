"""The search over mixed spaces against exhaustive enumeration."""

import pytest
import torch
from torch import Tensor

from hpo.models.acquisition_search import AcquisitionSearch
from hpo.models.guard import guarded
from hpo.optimizer import Optimizer, Origin
from hpo.space.space import parse_space

MIXED = {
    "a": "interval(0, 1)",
    "b": "range(1, 40)",
    "c": "choice(p, q, r, s)",
    "d": "tag(log, int(interval(1, 5)))",
}


def bumps(X: Tensor) -> Tensor:
    """Two peaks; the higher one, 1 at a = 0.83, b = 31, c = r, d = 4, is the narrower."""
    space = parse_space(MIXED)
    peak = torch.tensor(space.to_unit({"a": 0.83, "b": 31, "c": "r", "d": 4}), dtype=torch.float64)
    other = torch.tensor(space.to_unit({"a": 0.2, "b": 6, "c": "p", "d": 1}), dtype=torch.float64)
    return torch.exp(-8 * (X - peak).square().sum(-1)) + 0.6 * torch.exp(-3 * (X - other).square().sum(-1))


@pytest.mark.parametrize("seed", range(4))
def test_the_highest_peak_of_a_mixed_space_is_found(seed: int) -> None:
    space = parse_space(MIXED)
    found = space.from_unit(AcquisitionSearch(space, [], seed).best(bumps, set())[0])
    assert found == {"a": pytest.approx(0.83, abs=0.03), "b": 31, "c": "r", "d": 4}


def test_a_peak_in_a_corner_is_found() -> None:
    """Of five dimensions, above a broad hill in the middle: no space-filling point is near a corner."""
    space = parse_space(dict.fromkeys("abcde", "interval(0, 1)"))
    corner = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0], dtype=torch.float64)

    def score(X: Tensor) -> Tensor:
        return torch.exp(-(X - 0.4).square().sum(-1)) + 3 * torch.exp(-8 * (X - corner).square().sum(-1))

    found = [AcquisitionSearch(space, [], seed).best(score, set())[0] for seed in range(10)]
    assert sum(point == pytest.approx(tuple(corner.tolist()), abs=0.1) for point in found) >= 9


def test_every_returned_point_is_rounded_and_untaken() -> None:
    space = parse_space(MIXED)
    first = AcquisitionSearch(space, [], 0).best(bumps, set())
    taken = {space.key(point) for point in first[:5]}
    again = AcquisitionSearch(space, [], 0).best(bumps, taken)
    assert not taken & {space.key(point) for point in again}
    assert all(space.round(point) == pytest.approx(point, abs=1e-12) for point in again)


def test_a_purely_discrete_space_is_searched_by_its_neighbours() -> None:
    """Of 20 x 20 x 5 points, the best next to a far worse start is reached."""
    space = parse_space({"a": "range(1, 20)", "b": "range(1, 20)", "c": "choice(0, 1, 2, 3, 4)"})

    def score(X: Tensor) -> Tensor:
        return -(X - torch.tensor([0.875, 0.125, 0.7], dtype=torch.float64)).square().sum(-1)

    best = max(space.configurations(), key=lambda point: float(score(torch.tensor([point]))))
    assert AcquisitionSearch(space, [], 0).best(score, set())[0] == pytest.approx(best)


def test_values_that_are_not_numbers_never_win() -> None:
    space = parse_space({"a": "interval(0, 1)"})

    def score(X: Tensor) -> Tensor:
        return torch.where(X[:, 0] > 0.5, torch.nan, X[:, 0])

    assert AcquisitionSearch(space, [], 0).best(score, set())[0][0] <= 0.5


def test_the_same_seed_finds_the_same() -> None:
    space = parse_space(MIXED)
    one, two = (AcquisitionSearch(space, [], 7).best(bumps, set()) for _ in range(2))
    assert one == two


TIED = {
    "a": "range(1, 12)",
    "b": "range(1, 12)",
    "c": "choice(p, q, r)",
    "d": "range(1, 6)",
    "conditions": {"d": "c == 'q'"},
    "constraints": ["a + b <= 13", "a * b >= 6"],
}


def slope(X: Tensor) -> Tensor:
    """Rises towards a corner that the constraints cut off, c = q and d = 4."""
    peak = torch.tensor([0.95, 0.85, 0.5, 0.6], dtype=torch.float64)
    return -((X - peak).square() * torch.tensor([1.0, 1.3, 0.6, 0.8], dtype=torch.float64)).sum(-1)


@pytest.mark.parametrize("seed", range(4))
def test_the_best_of_a_constrained_space_is_that_of_its_enumeration(seed: int) -> None:
    """One of the two best of 544: the search changes one number at a time, and a constraint ties two."""
    space = parse_space(TIED)
    values = sorted(slope(torch.tensor(list(space.configurations()), dtype=torch.float64)).tolist())
    found = AcquisitionSearch(space, [], seed).best(slope, set())[0]
    assert float(slope(torch.tensor([found]))) >= values[-2] - 1e-12


def test_the_best_of_what_is_left_is_found_as_a_small_space_fills() -> None:
    """With the ten best taken, it is the eleventh."""
    space = parse_space(TIED)
    every = sorted(space.configurations(), key=lambda own: -float(slope(torch.tensor([own]))))
    taken = {space.key(point) for point in every[:10]}
    found = AcquisitionSearch(space, every[:3], 0).best(slope, taken)[0]
    assert float(slope(torch.tensor([found]))) == pytest.approx(float(slope(torch.tensor([every[10]]))))


@pytest.mark.parametrize("seed", range(2))
def test_only_allowed_points_with_their_own_coordinates_are_returned(seed: int) -> None:
    """An inactive parameter has its fixed coordinate, or one configuration would be two points."""
    space = parse_space({**TIED, "e": "interval(0, 1)", "constraints": ["a + 10 * e <= 9"]})

    def score(X: Tensor) -> Tensor:
        return -(X - 0.9).square().sum(-1)

    found = AcquisitionSearch(space, [], seed).best(score, set())
    assert all(space.allowed(found))
    assert all(space.round(point) == pytest.approx(point, abs=1e-12) for point in found)
    values = [space.from_unit(point) for point in found]
    assert all(("d" in own) == (own["c"] == "q") for own in values)


def test_a_continuous_best_on_the_edge_of_what_is_allowed_is_neared() -> None:
    """The nearest to (0.9, 0.9) with x + y <= 1 is (0.5, 0.5), at 0.32."""
    space = parse_space({"x": "interval(0, 1)", "y": "interval(0, 1)", "constraints": ["x + y <= 1"]})

    def score(X: Tensor) -> Tensor:
        return -(X - 0.9).square().sum(-1)

    best = AcquisitionSearch(space, [], 0).best(score, set())[0]
    assert space.allows(best)
    assert -float(score(torch.tensor([best]))) == pytest.approx(0.32, abs=0.02)


@pytest.mark.slow
def test_the_model_proposes_allowed_points_of_a_constrained_and_conditional_space() -> None:
    """Six batches after the design: all of the space, all of the model, and close to the best allowed."""
    optimizer = Optimizer({**TIED, "e": "interval(0, 1)"}, {"loss": "min"}, seed=0, initial=8)
    losses, origins = [], []
    with guarded():
        for _ in range(8):
            for own in optimizer.propose(4):
                assert optimizer.space.contains(own.params)
                a, b, e = (float(own.params[name]) for name in "abe")
                depth = abs(float(own.params.get("d", 9)) - 4)
                losses.append((11 - a) ** 2 / 100 + (9 - b) ** 2 / 50 + (e - 0.3) ** 2 + depth / 10)
                origins.append(own.origin)
                optimizer.tell(own.params, {"loss": losses[-1]})
    assert set(origins[8:]) == {Origin.MODEL}
    allowed = [
        (11 - a) ** 2 / 100 + (9 - b) ** 2 / 50
        for a in range(1, 12)
        for b in range(1, min(12, 14 - a))
        if a * b >= 6
    ]
    assert min(losses) < min(allowed) + 0.05
