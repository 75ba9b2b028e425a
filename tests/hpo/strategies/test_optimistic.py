"""Optimistic partitions: the published sequences, the published regret, and what a study adds to them."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping

import pytest
from ruled_space import RULES

from hpo.errors import InputError
from hpo.models.history import Origin
from hpo.optimizer import Optimizer
from hpo.records import ParamValue
from hpo.strategies import optimistic
from hpo.strategies.cell_tree import Cell
from hpo.strategies.optimistic import width

LINE = {"x": "interval(0, 1)"}
SQUARE = {"a": "interval(0, 1)", "b": "interval(0, 1)"}
MIXED = {
    "rate": "tag(log, interval(1e-4, 1e-1))",
    "rank": "range(2, 8)",
    "modules": "choice(qv, attention, all)",
    "alpha": "choice(8, 16)",
}
Value = Callable[[Mapping[str, ParamValue]], float]


def tent(params: Mapping[str, ParamValue]) -> float:
    """Highest at 0.8."""
    return -abs(float(params["x"]) - 0.8)


def bowl(params: Mapping[str, ParamValue]) -> float:
    """Lowest, 0, at (0.3, 0.71)."""
    return (float(params["a"]) - 0.3) ** 2 + 2 * (float(params["b"]) - 0.71) ** 2


def branin(params: Mapping[str, ParamValue]) -> float:
    """Over the unit square, less its minimum 0.397887 [Picheny2013]."""
    x, y = 15 * float(params["a"]) - 5, 15 * float(params["b"])
    root = y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6
    return root**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10 - 0.397887


def asked(optimizer: Optimizer, trials: int) -> list[int]:
    """The first points on the line, one at a time, in parts of 1/54."""
    found = []
    for _ in range(trials):
        (params,) = optimizer.ask()
        optimizer.tell(params, {"y": tent(params)})
        found.append(round(54 * float(params["x"]), 6))
    assert all(place == int(place) for place in found)
    return [int(place) for place in found]


def lowest(strategy: str, value: Value, trials: int, batch: int) -> list[float]:
    """The lowest value after each trial on the square."""
    optimizer = Optimizer(SQUARE, {"y": "min"}, strategy=strategy)
    found: list[float] = []
    while len(found) < trials:
        for params in optimizer.ask(batch):
            optimizer.tell(params, {"y": value(params)})
            found.append(min([value(params), *found[-1:]]))
    return found


def test_cells_split_into_thirds() -> None:
    """Ends and centres by hand; the middle child's centre is its parent's to the last bit."""
    cell = Cell((0, 2), (0, 1))
    assert cell.ends(1, 3) == (2 / 3, 1)
    assert cell.centre(3) == (0.5, 5 / 6)
    assert [own.centre(3)[0] for own in cell.children(0, 3)] == [1 / 6, 0.5, 5 / 6]
    assert cell.depth == 1
    for place, splits in ((40, 4), (3, 2), (0, 7)):
        own = Cell((place,), (splits,))
        assert own.children(0, 3)[1].centre(3) == own.centre(3)


def test_soo_follows_the_sequence_worked_by_hand() -> None:
    """The highest leaf a depth, from above, down to the root of the number of splits.

    Splits: the cube; 5/6 at depth 1; with t = 3 and 4 splits depths end at 1 and 2: 1/2, then 1/6 and 5/6 at
    depth 2; with t = 6 at 2 again: 13/18.
    """
    expected = [27, 9, 45, 39, 51, 21, 33, 3, 15, 43, 47, 37, 41]
    assert asked(Optimizer(LINE, {"y": "max"}, strategy="soo"), 13) == expected


def test_bamsoo_follows_the_sequence_worked_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """With bounds 0.05 around the value 51, 47 and 37 cannot be the best when 39, 43 and 41 can.

    The first two come before there is a model. 3, 15, 21 and 33 are far below.
    """
    monkeypatch.setattr(optimistic, "_bounds", _five_hundredths)
    assert asked(Optimizer(LINE, {"y": "max"}, strategy="bamsoo"), 6) == [27, 9, 45, 39, 43, 41]


def _five_hundredths(history: object) -> optimistic.ConfidenceBounds:
    return lambda point, width: (tent({"x": point[0]}) - 0.05, tent({"x": point[0]}) + 0.05)


def test_lower_bound_decides_where_nothing_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told 1/2, 1/6 and 5/6 as above: 17/18 is passed over and worth its lower bound, not its value."""
    monkeypatch.setattr(optimistic, "_bounds", _five_hundredths)
    optimizer = Optimizer(LINE, {"y": "max"}, strategy="bamsoo")
    asked(optimizer, 4)
    known = optimistic.KnownValues(optimizer.history)
    bounded = optimistic.BoundedValues(known, _five_hundredths(optimizer.history), 0.05)
    assert bounded((17 / 18,), -1 / 30) == pytest.approx(0.8 - 17 / 18 - 0.05)
    assert bounded((13 / 18,), -1 / 30) == pytest.approx(13 / 18 - 0.8)
    assert bounded((43 / 54,), -1 / 30) is None
    assert bounded.passed_over() == [(17 / 18,)]
    assert len(optimizer.history.observations) == 4


def test_width_of_the_bounds() -> None:
    """By hand for N = 1: sqrt(2 log(pi^2 / 0.3)); it grows with N."""
    assert width(1, 0.05) == pytest.approx(math.sqrt(2 * 3.493433), rel=1e-6)
    assert width(100, 0.05) == pytest.approx(math.sqrt(2 * (3.493433 + 2 * math.log(100))), rel=1e-6)


def test_soo_keeps_the_published_bound() -> None:
    """Lemma 1 and Theorem 1 of [Munos2011] on a bowl, everything in them counted by brute force.

    A cell of depth h that holds the minimum has a centre of at most delta(h), the bowl at half its sides.
    With I_h centres of at most delta(h) at depth h, and t splits with t >= sqrt(t) (I_0 + ... + I_h), h at
    most sqrt(t), the cell of depth h that holds the minimum is split, so the lowest value is at most
    delta(h + 1).
    """
    sides = [(3.0 ** -((h + 1) // 2), 3.0 ** -(h // 2)) for h in range(12)]
    delta = [(a / 2) ** 2 + 2 * (b / 2) ** 2 for a, b in sides]
    near = []
    for h in range(8):
        places = itertools.product(*(range(round(1 / side)) for side in sides[h]))
        values = (bowl({"a": (a + 0.5) * sides[h][0], "b": (b + 0.5) * sides[h][1]}) for a, b in places)
        near.append(sum(value <= delta[h] for value in values))
    found = lowest("soo", bowl, 201, batch=1)
    depths = []
    for t in range(4, 101):
        reach = math.isqrt(t)
        deep = [h for h in range(min(reach, 7) + 1) if t >= reach * sum(near[: h + 1])]
        if deep:
            depths.append(max(deep))
            assert found[2 * t] <= delta[max(deep) + 1]  # 1 + 2 t evaluations
    assert max(depths) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("value", [bowl, branin])
def test_bamsoo_needs_no_more_evaluations_than_soo(value: Value) -> None:
    """Whatever SOO reaches with 24 evaluations, in arrays of four, BaMSOO reaches with as many or fewer."""
    plain, modelled = lowest("soo", value, 24, 4), lowest("bamsoo", value, 24, 4)
    for reached in sorted(set(plain)):
        assert next(n for n, own in enumerate(modelled) if own <= reached) <= plain.index(reached)


@pytest.mark.slow  # sixty fits, and a long way for SOO
def test_bamsoo_is_far_ahead_where_the_model_fits() -> None:
    """As published: its 50 evaluations leave a tenth of what 100 of SOO leave, a thousandth on a bowl."""
    for value, factor in ((branin, 0.1), (bowl, 1e-3)):
        assert lowest("bamsoo", value, 50, 2)[-1] < factor * lowest("soo", value, 100, 2)[-1]


def test_children_are_proposed_together_and_fill_an_array() -> None:
    """Both new children of a split at once; an array of nine is the centre and two layers of cells."""
    optimizer = Optimizer(LINE, {"y": "max"}, strategy="soo")
    for params in optimizer.ask(3):
        optimizer.tell(params, {"y": tent(params)})
    assert [round(54 * float(own["x"])) for own in optimizer.ask(2)] == [39, 51]
    grid = Optimizer(SQUARE, {"y": "min"}, strategy="soo").propose(9)
    assert {own.origin for own in grid} == {Origin.PARTITION}
    assert [own.note for own in grid] == ["depth 0"] + ["depth 1"] * 2 + ["depth 2"] * 6
    thirds = [1 / 6, 0.5, 5 / 6]
    assert sorted((own.params["a"], own.params["b"]) for own in grid) == [
        (pytest.approx(a), pytest.approx(b)) for a, b in itertools.product(thirds, thirds)
    ]


@pytest.mark.parametrize("strategy", ["soo", "bamsoo"])
def test_proposals_depend_on_what_was_told_alone(strategy: str) -> None:
    """Told in another order, in another process, with a trial under way: the same next ones, none twice."""
    first = Optimizer(SQUARE, {"y": "min"}, strategy=strategy)
    trials = [*first.ask(7), *first.ask(6)]
    for params in trials[:-1]:
        first.tell(params, {"y": bowl(params)})
    again = Optimizer.from_json(json.loads(json.dumps(first.to_json())))
    other = Optimizer(SQUARE, {"y": "min"}, strategy=strategy)
    for params in reversed(trials[:-1]):
        other.tell(params, {"y": bowl(params)})
    other.add_pending(trials[-1])
    expected = first.ask(5)
    assert again.ask(5) == other.ask(5) == expected
    assert all(own not in trials for own in expected)


@pytest.mark.parametrize("strategy", ["soo", "bamsoo"])
@pytest.mark.parametrize("space", [MIXED, RULES], ids=["mixed", "ruled"])
def test_mixed_spaces_bring_no_configuration_twice(strategy: str, space: object) -> None:
    """Cells of one value share its result; every proposal is allowed and new."""
    optimizer = Optimizer(space, {"y": "min"}, strategy=strategy)  # type: ignore[arg-type]
    seen = []
    for _ in range(5):
        for params in optimizer.ask(6):
            assert optimizer.space.contains(params)
            seen.append(json.dumps(params, sort_keys=True))
            optimizer.tell(params, {"y": len(seen) % 7 + len(str(params)) / 50})
    assert len(set(seen)) == len(seen) == 30


@pytest.mark.parametrize("strategy", ["soo", "bamsoo"])
def test_finite_space_is_used_up_to_the_last_configuration(strategy: str) -> None:
    """Each once, then none: the study ends."""
    space = {"rank": "range(1, 3)", "modules": "choice(qv, all)"}
    optimizer = Optimizer(space, {"y": "min"}, strategy=strategy)
    seen = []
    while trials := optimizer.ask(3):
        for params in trials:
            seen.append((params["rank"], params["modules"]))
            optimizer.tell(params, {"y": float(params["rank"])})
    assert sorted(seen) == sorted(itertools.product(range(1, 4), ("qv", "all")))


@pytest.mark.parametrize("strategy", ["soo", "bamsoo"])
def test_what_fails_is_split_last(strategy: str) -> None:
    """Above 1/3 nothing works, the centre included: what is proposed goes below, and nothing comes twice."""
    optimizer = Optimizer(LINE, {"y": "max"}, strategy=strategy)
    seen = []
    for _ in range(12):
        (params,) = optimizer.ask()
        seen.append(float(params["x"]))
        if seen[-1] > 1 / 3:
            optimizer.tell_failure(params)
        else:
            optimizer.tell(params, {"y": tent(params)})
    assert seen[:3] == [0.5, pytest.approx(1 / 6), pytest.approx(5 / 6)]
    assert seen[3:5] == [pytest.approx(1 / 18), pytest.approx(5 / 18)]
    assert max(own for own in seen if own <= 1 / 3) > 0.3
    assert len(set(seen)) == 12


def test_what_taught_nothing_stands_for_its_parent() -> None:
    """5/6 is cancelled: its cell is worth the 1/2 of its parent, so 1/2, made first of equals, goes on."""
    optimizer = Optimizer(LINE, {"y": "max"}, strategy="soo")
    centre, left, right = optimizer.ask(3)
    optimizer.tell(centre, {"y": tent(centre)})
    optimizer.tell(left, {"y": tent(left)})
    optimizer.tell_nothing(right)
    assert [round(54 * float(own["x"])) for own in optimizer.ask(4)] == [21, 33, 39, 51]


@pytest.mark.parametrize("strategy", ["soo", "bamsoo"])
def test_only_one_objective_is_taken(strategy: str) -> None:
    """Refused by key, with what would do; an even number of parts as well."""
    with pytest.raises(InputError, match=rf"strategy.name.*{strategy} expects one objective, got 2"):
        Optimizer(LINE, {"y": "min", "z": "min"}, strategy=strategy)
    with pytest.raises(InputError, match=r"strategy.parts.*expected an odd number"):
        Optimizer(LINE, {"y": "min"}, strategy=strategy, parts=4)
