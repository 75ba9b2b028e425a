"""Fronts and hypervolumes against hand-worked values, brute force and botorch."""

import math
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.objectives import parse_objectives
from hpo.pareto import dominates, front, hypervolume, minimised, reference_point

# The front (1, 4), (2, 2), (4, 1) below (5, 5): 4 + 3 x 2 + 1 x 1, worked from the left, is 11.
STAIRCASE = [(1.0, 4.0), (2.0, 2.0), (4.0, 1.0)]


def _rows(m: int) -> st.SearchStrategy[list[tuple[float, ...]]]:
    value = st.integers(0, 4).map(float)
    return st.lists(st.tuples(*[value] * m), max_size=12)


@given(st.integers(1, 4).flatmap(_rows))
def test_the_front_is_what_nothing_dominates(rows: list[tuple[float, ...]]) -> None:
    expected = [i for i, row in enumerate(rows) if not any(dominates(other, row) for other in rows)]
    assert front(rows) == expected


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("position", [0, 1])
def test_rows_that_are_not_finite_are_never_on_a_front(bad: float, position: int) -> None:
    """The first row is tried too: a library's own test of it is known to let NaN through."""
    rows = [(5.0, 5.0), (6.0, 4.0)]
    rows.insert(position, (bad, 0.0))
    assert front(rows) == [index for index in range(3) if index != position]


def test_equal_rows_share_the_front() -> None:
    assert front([(1.0, 2.0), (1.0, 2.0), (1.0, 3.0)]) == [0, 1]
    assert front([(1.0, 2.0, 0.0), (1.0, 2.0, 0.0)]) == [0, 1]


def test_no_rows_have_no_front_and_no_volume() -> None:
    assert front([]) == []
    assert hypervolume([], (1.0, 1.0)) == 0.0


def test_two_objectives_sum_to_a_staircase() -> None:
    assert hypervolume(STAIRCASE, (5.0, 5.0)) == 11.0


def test_points_beyond_the_reference_or_dominated_add_nothing() -> None:
    more = [*STAIRCASE, (0.0, 5.0), (6.0, 0.0), (3.0, 3.0), (1.0, 4.0), (math.nan, 0.0)]
    assert hypervolume(more, (5.0, 5.0)) == 11.0


def test_three_objectives_by_inclusion_and_exclusion() -> None:
    """Boxes 1 x 2 x 3 = 6, 2 x 1 x 3 = 6 and 3 x 3 x 1 = 9 below (3, 3, 3).

    They meet pairwise in 3, 2 and 2, all three in 1, so the union is 21 - 7 + 1 = 15.
    """
    rows = [(2.0, 1.0, 0.0), (1.0, 2.0, 0.0), (0.0, 0.0, 2.0)]
    assert hypervolume(rows, (3.0, 3.0, 3.0)) == 15.0


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5])
def test_a_single_point_spans_a_box(m: int) -> None:
    assert hypervolume([(0.5,) * m], (1.0,) * m) == pytest.approx(0.5**m)


@pytest.mark.parametrize("m", [2, 3, 4])
@pytest.mark.parametrize("seed", [0, 1])
def test_volumes_agree_with_botorch(m: int, seed: int) -> None:
    import torch
    from botorch.utils.multi_objective.hypervolume import Hypervolume

    source = random.Random(seed)
    rows = [tuple(source.random() for _ in range(m)) for _ in range(25)]
    best = torch.tensor([rows[index] for index in front(rows)], dtype=torch.float64)
    theirs = Hypervolume(ref_point=torch.full((m,), -0.9, dtype=torch.float64)).compute(-best)
    assert hypervolume(rows, (0.9,) * m) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("m", [2, 3])
def test_two_thousand_rows_take_a_fifth_of_a_second(m: int) -> None:
    source = random.Random(0)
    rows = [tuple(source.random() for _ in range(m)) for _ in range(2000)]
    started = time.process_time()
    front(rows)
    assert time.process_time() - started < 0.2


def test_directions_turn_signs_and_a_missing_value_is_nan() -> None:
    objectives = parse_objectives({"loss": "min", "accuracy": "max"})
    assert minimised({"accuracy": 0.7, "loss": 2.0, "tokens": 5}, objectives) == (2.0, -0.7)
    assert math.isnan(minimised({"loss": 2.0}, objectives)[1])


def test_both_directions_give_the_same_volume() -> None:
    objectives = parse_objectives({"a": "min", "b": {"direction": "max"}})
    rows = [minimised({"a": a, "b": -b}, objectives) for a, b in STAIRCASE]
    assert hypervolume(rows, (5.0, 5.0)) == 11.0


def test_the_reference_lies_a_tenth_of_the_range_behind_the_front() -> None:
    objectives = parse_objectives({"a": "min", "b": "min"})
    rows = [*STAIRCASE, (9.0, 9.0), (math.nan, 1.0)]
    assert reference_point(rows, objectives) == pytest.approx((4.3, 4.3))


def test_thresholds_take_the_place_of_what_was_observed() -> None:
    objectives = parse_objectives({"a": "min", "b": {"direction": "max", "threshold": 0.5}})
    assert reference_point([(1.0, -0.7), (2.0, -0.9)], objectives) == pytest.approx((2.1, -0.5))


def test_a_single_point_still_has_a_reference_behind_it() -> None:
    objectives = parse_objectives({"a": "min", "b": "min"})
    assert reference_point([(2.0, 0.0)], objectives) == pytest.approx((2.2, 0.1))
    assert reference_point([], objectives) == (1.0, 1.0)
