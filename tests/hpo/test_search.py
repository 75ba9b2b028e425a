"""The search over mixed spaces against exhaustive enumeration."""

import pytest
import torch
from torch import Tensor

from hpo.search import MixedSearch
from hpo.space import parse_space

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
    found = space.from_unit(MixedSearch(space, [], seed).best(bumps, set())[0])
    assert found == {"a": pytest.approx(0.83, abs=0.03), "b": 31, "c": "r", "d": 4}


def test_every_returned_point_is_rounded_and_untaken() -> None:
    space = parse_space(MIXED)
    first = MixedSearch(space, [], 0).best(bumps, set())
    taken = {space.key(point) for point in first[:5]}
    again = MixedSearch(space, [], 0).best(bumps, taken)
    assert not taken & {space.key(point) for point in again}
    assert all(space.round(point) == pytest.approx(point, abs=1e-12) for point in again)


def test_a_purely_discrete_space_is_searched_by_its_neighbours() -> None:
    """Of 20 x 20 x 5 points, the best next to a far worse start is reached."""
    space = parse_space({"a": "range(1, 20)", "b": "range(1, 20)", "c": "choice(0, 1, 2, 3, 4)"})

    def score(X: Tensor) -> Tensor:
        return -(X - torch.tensor([0.875, 0.125, 0.7], dtype=torch.float64)).square().sum(-1)

    best = max(space.configurations(), key=lambda point: float(score(torch.tensor([point]))))
    assert MixedSearch(space, [], 0).best(score, set())[0] == pytest.approx(best)


def test_values_that_are_not_numbers_never_win() -> None:
    space = parse_space({"a": "interval(0, 1)"})

    def score(X: Tensor) -> Tensor:
        return torch.where(X[:, 0] > 0.5, torch.nan, X[:, 0])

    assert MixedSearch(space, [], 0).best(score, set())[0][0] <= 0.5


def test_the_same_seed_finds_the_same() -> None:
    space = parse_space(MIXED)
    one, two = (MixedSearch(space, [], 7).best(bumps, set()) for _ in range(2))
    assert one == two
