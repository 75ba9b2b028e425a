"""Hard histories and small spaces: every strategy goes on, or ends clearly, and keeps its promises.

All through `Optimizer`. Throughout, what reaches botorch's Pareto code is finite: with NaN it keeps rows
that it promises to drop.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiers import quick

from hpo.errors import InputError
from hpo.models.history import Proposal
from hpo.objectives import Direction, Objective
from hpo.optimizer import Optimizer, Origin
from hpo.pareto import front, hypervolume, reference_point
from hpo.records import Params
from hpo.strategies.registry import STRATEGIES

SEVERAL = [name for name in STRATEGIES if name not in ("soo", "bamsoo")]  # objectives; see test_optimistic
INFORMED = {"bo": Origin.MODEL, "nsga2": Origin.EVOLUTION}  # those that look at results
SETTINGS: dict[str, dict[str, Any]] = {"bo": {"initial": 2}, "nsga2": {"population": 2}}
SPACE = {"x": "interval(0, 1)", "c": "choice(a, b, c)"}
TWO = {"y": "min", "z": "max"}
Value = float | tuple[float, float | None]
RARE_ERRORS = [(strategy, error) for strategy in INFORMED for error in (1e-12, 1e-300, 1e300)]


@pytest.fixture(autouse=True)
def _finite_rows_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is handed to botorch's Pareto code has neither NaN nor infinity."""
    from botorch.utils.multi_objective import pareto
    from botorch.utils.multi_objective.box_decompositions import non_dominated

    def checked(function: Callable[..., object], name: str) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            for rows in (*args, *kwargs.values()):
                if hasattr(rows, "isfinite"):
                    assert rows.isfinite().all(), f"{name} was given rows that are not finite"
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(pareto, "is_non_dominated", checked(pareto.is_non_dominated, "is_non_dominated"))
    partitioning = non_dominated.FastNondominatedPartitioning
    monkeypatch.setattr(partitioning, "__init__", checked(partitioning.__init__, "the partitioning"))


def build(strategy: str, space: Any = SPACE, objectives: Any = TWO, seed: int = 0) -> Optimizer:
    """An optimizer that looks at results from the third trial on."""
    return Optimizer(space, objectives, strategy=strategy, seed=seed, **SETTINGS.get(strategy, {}))


def proposals(optimizer: Optimizer, count: int = 2) -> list[Proposal]:
    """What is proposed, once it is seen to be of the space and new."""
    before = optimizer.history.taken
    found = optimizer.propose(count)
    keys = [optimizer.space.key(optimizer.space.to_unit(own.params)) for own in found]
    assert all(optimizer.space.contains(own.params) for own in found)
    assert len(set(keys)) == len(keys)
    assert before.isdisjoint(keys)
    return found


def bowl(index: int) -> tuple[float, float]:
    """Two conflicting objectives along x, with a spread of about 1."""
    x = index / 9
    return (x - 0.3) ** 2, 1 - abs(x - 0.8)


def tell(optimizer: Optimizer, values: list[tuple[Value, ...]]) -> None:
    """Tell results at ten points and over again."""
    for index, row in enumerate(values):
        params: Params = {"x": index % 10 / 9, "c": "abc"[index % 10 % 3]}
        optimizer.tell(params, dict(zip(optimizer.objectives, row, strict=True)))


def scaled(y: float, z: float, offset: float = 0.0) -> list[tuple[Value, ...]]:
    return [(offset + y * bowl(index)[0], offset + z * bowl(index)[1]) for index in range(10)]


@pytest.mark.parametrize("strategy", INFORMED)
@pytest.mark.parametrize(
    "values",
    [
        pytest.param(scaled(1e-9, 1e-9), id="1e-9", marks=pytest.mark.slow),
        pytest.param(scaled(1e9, 1e9), id="1e9", marks=pytest.mark.slow),
        pytest.param(scaled(1e-9, 1e9), id="mixed"),
        pytest.param(scaled(1e-3, 1e-6, offset=1e9), id="a spread of 1e-6 about 1e9", marks=pytest.mark.slow),
        pytest.param(scaled(1e-9, 1e9, offset=-1e9), id="mixed about -1e9", marks=pytest.mark.slow),
        pytest.param([(1e30 if index == 4 else 1.0, float(index)) for index in range(10)], id="outlier"),
        pytest.param(
            [(-1e30 if index == 4 else 1.0, float(index)) for index in range(10)],
            id="good outlier",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            [(10.0 ** (3 * index), 1.0) for index in range(10)], id="27 magnitudes", marks=pytest.mark.slow
        ),
        pytest.param([(7.0, 7.0)] * 10, id="all equal"),
        pytest.param([(0.0, 0.0)] * 10, id="all zero", marks=pytest.mark.slow),
        pytest.param(
            [(float(index % 10), 1.0) for index in range(60)],
            id="every value six times",
            marks=pytest.mark.slow,
        ),
        pytest.param([(float(index // 10), -float(index)) for index in range(30)], id="same x, other y"),
    ],
)
def test_results_of_any_size_are_learned_from(strategy: str, values: list[tuple[Value, ...]]) -> None:
    """And not passed over: what is proposed comes from the results."""
    optimizer = build(strategy)
    tell(optimizer, values)
    assert [own.origin for own in proposals(optimizer)] == [INFORMED[strategy]] * 2


@pytest.mark.parametrize(
    ("strategy", "error"),
    [
        *((strategy, error) for strategy in INFORMED for error in (0.0, 1e30)),
        *(pytest.param(*given, marks=pytest.mark.slow) for given in RARE_ERRORS),
    ],
)
def test_standard_errors_of_any_size_are_taken(strategy: str, error: float) -> None:
    optimizer = build(strategy)
    tell(optimizer, [((y, error), (z, None)) for y, z in map(bowl, range(10))])
    assert [own.origin for own in proposals(optimizer)] == [INFORMED[strategy]] * 2


@pytest.mark.parametrize("strategy", INFORMED)
@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("sizes", [(1e300, 1e-300), (1.7e308, 5e-324)], ids=str)
def test_the_ends_of_the_floating_point_range_break_nothing(
    strategy: str, sizes: tuple[float, float]
) -> None:
    optimizer = build(strategy)
    large, small = sizes
    tell(optimizer, [((-large, small, large)[index % 3], small * (index % 2)) for index in range(10)])
    assert len(proposals(optimizer)) == 2


@pytest.mark.parametrize("strategy", SEVERAL)
def test_one_result_is_enough_to_go_on(strategy: str) -> None:
    optimizer = build(strategy)
    tell(optimizer, [(1.0, 2.0)])
    assert len(proposals(optimizer, 3)) == 3


@pytest.mark.parametrize("strategy", SEVERAL)
def test_one_point_told_300_times_is_one_point(strategy: str) -> None:
    optimizer = build(strategy)
    for number in range(300):
        optimizer.tell({"x": 0.5, "c": "a"}, {"y": number % 7, "z": (1.0, 0.1)})
    assert len(proposals(optimizer)) == 2


@pytest.mark.parametrize("strategy", SEVERAL)
@pytest.mark.parametrize("successes", [0, 1, 2])
def test_when_nearly_all_trials_fail_the_search_goes_on(strategy: str, successes: int) -> None:
    optimizer = build(strategy)
    for index in range(12):
        params: Params = {"x": index / 11, "c": "abc"[index % 3]}
        if index < successes:
            optimizer.tell(params, {"y": 1.0, "z": 1.0})
        else:
            optimizer.tell_failure(params, "out_of_memory")
    assert len(proposals(optimizer)) == 2


@pytest.mark.parametrize("strategy", INFORMED)
@pytest.mark.parametrize("value", quick([math.nan, math.inf, -math.inf], [math.inf]))
def test_a_value_that_is_not_finite_is_refused_and_changes_nothing(strategy: str, value: float) -> None:
    optimizer, other = build(strategy), build(strategy)
    for own in (optimizer, other):
        tell(own, [bowl(index) for index in range(4)])
    wrongs: list[dict[str, Any]] = [{"y": value, "z": 1.0}, {"y": 1.0, "z": (1.0, value)}]
    for wrong in wrongs:
        with pytest.raises(InputError, match=r"metrics\.[yz]: expected a "):
            optimizer.tell({"x": 0.55, "c": "a"}, wrong)
    assert optimizer.history == other.history
    assert [own.params for own in proposals(optimizer)] == [own.params for own in proposals(other)]


@pytest.mark.parametrize("strategy", INFORMED)
@pytest.mark.parametrize(
    "thresholds", quick([(-5.0, 5.0), (50.0, -50.0), (-1e12, 1e12)], [(50.0, -50.0)]), ids=str
)
def test_thresholds_out_of_reach_or_without_effect_stop_nothing(
    strategy: str, thresholds: tuple[float, float]
) -> None:
    worst, least = thresholds
    objectives = {"y": Objective(Direction.MIN, worst), "z": Objective(Direction.MAX, least)}
    optimizer = build(strategy, objectives=objectives)
    tell(optimizer, [bowl(index) for index in range(10)])
    assert [own.origin for own in proposals(optimizer)] == [INFORMED[strategy]] * 2


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("dimensions", [1, 12])
def test_spaces_of_one_and_of_twelve_dimensions(strategy: str, dimensions: int) -> None:
    space = {f"x{index}": "interval(-1, 1)" for index in range(dimensions)}
    optimizer = build(strategy, space, {"y": "min"})
    for _ in range(3):
        found = proposals(optimizer, 2 if dimensions == 12 else 1)
        for own in found:
            optimizer.tell(own.params, {"y": sum(float(value) ** 2 for value in own.params.values())})
    assert len(optimizer.history.taken) == (6 if dimensions == 12 else 3)


@pytest.mark.parametrize("strategy", SEVERAL)
@pytest.mark.parametrize(
    ("space", "size"),
    [
        pytest.param({"a": "choice(x)"}, 1, id="one choice"),
        pytest.param({"a": 3, "b": 0.5}, 1, id="constants"),
        pytest.param({"a": "choice(x, y)"}, 2, id="two choices"),
        pytest.param({"a": "range(0, 2)", "b": "choice(x, y, z)", "c": True}, 9, id="nine"),
    ],
)
def test_a_small_space_is_tried_out_and_then_ends(strategy: str, space: dict[str, object], size: int) -> None:
    """Whatever became of the trials; every strategy meets every configuration."""
    optimizer = build(strategy, space)
    for number in range(20):
        found = proposals(optimizer, 1)
        if not found:
            break
        if number % 4 == 3:
            optimizer.tell_failure(found[0].params)
        else:
            optimizer.tell(found[0].params, {"y": 1.0, "z": float(number % 3)})
    assert len(optimizer.history.taken) == size
    assert optimizer.ask(5) == []


@pytest.mark.parametrize("strategy", ["grid", "powers_of_two"])
def test_a_used_up_grid_ends_though_results_go_on(strategy: str) -> None:
    optimizer = Optimizer({"x": "interval(0, 1)"}, {"y": "min"}, strategy=strategy, levels=4)
    for own in proposals(optimizer, 9):
        optimizer.tell(own.params, {"y": 1.0})
    assert len(optimizer.history.taken) == 4
    optimizer.tell({"x": 0.123}, {"y": 0.0})
    assert optimizer.ask(3) == []


def mirrored(strategy: str, values: list[tuple[float, float]]) -> Iterator[list[Proposal]]:
    """What is proposed for min y, max z; and for max -y, min -z."""
    for sign in (1, -1):
        directions = (Direction.MIN, Direction.MAX)[::sign]
        thresholds = (sign * 0.4, sign * 0.1)
        objectives = {
            name: Objective(way, at) for name, way, at in zip("yz", directions, thresholds, strict=True)
        }
        optimizer = build(strategy, objectives=objectives)
        tell(optimizer, [((sign * y, 0.01), sign * z) for y, z in values])
        optimizer.tell_failure({"x": 0.95, "c": "b"})
        yield proposals(optimizer, 3)


@pytest.mark.parametrize("strategy", quick(SEVERAL, ["nsga2", "random"]))
def test_minimising_a_value_is_maximising_its_negative(strategy: str) -> None:
    first, second = mirrored(strategy, [bowl(index) for index in range(10)])
    assert first == second


@pytest.mark.parametrize("strategy", quick(["nsga2", "bo"], ["nsga2"]))
def test_the_mirror_image_of_skewed_values_is_treated_like_them(strategy: str) -> None:
    first, second = mirrored(strategy, [(math.exp(index % 10 / 2), 1.0) for index in range(20)])
    assert [own.note for own in first] == [own.note for own in second]
    assert first == second


facts = st.lists(
    st.tuples(
        st.sampled_from(["told", "failed", "pending", "nothing"]),
        st.sampled_from([0.0, 0.25, 0.5 - 1e-12, 0.5, 1.0]),
        st.sampled_from(["a", "b", "c"]),
        st.floats(-1e100, 1e100) | st.sampled_from([0.0, 1.0, 1e-9, 1e30]),
        st.sampled_from([None, 0.0, 1e-12, 0.5, 1e12]),
    ),
    max_size=8,
)


@settings(max_examples=15, deadline=None)
@given(facts=facts, several=st.booleans(), seed=st.integers(0, 3))
def test_no_history_breaks_the_model(
    facts: list[tuple[str, float, str, float, float | None]], several: bool, seed: int
) -> None:
    optimizer = build("bo", objectives=TWO if several else {"y": "max"}, seed=seed)
    for kind, x, choice, value, error in facts:
        params: Params = {"x": x, "c": choice}
        match kind:
            case "told":
                metrics: dict[str, Any] = {"y": (value, error), "z": x} if several else {"y": (value, error)}
                optimizer.tell(params, metrics)
            case "failed":
                optimizer.tell_failure(params)
            case "pending":
                optimizer.add_pending(params)
            case "nothing":
                optimizer.tell_nothing(params)
    assert len(proposals(optimizer)) == 2


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize(
    "wrong", [(math.nan, 0.0), (0.0, math.nan), (-math.inf, 0.0), (0.0, math.inf)], ids=str
)
def test_rows_that_are_not_finite_are_dropped_wherever_they_stand(
    place: int, wrong: tuple[float, float]
) -> None:
    """The first row too, where botorch would keep it; each of these would win if it counted."""
    rows = [(1.0, 3.0), (2.0, 2.0), (3.0, 3.0)]
    objectives = {"y": Objective(Direction.MIN), "z": Objective(Direction.MIN)}
    mixed = [*rows[:place], wrong, *rows[place:]]
    assert [mixed[index] for index in front(mixed)] == rows[:2]
    assert hypervolume(mixed, (4.0, 4.0)) == hypervolume(rows, (4.0, 4.0)) == 5.0
    assert reference_point(mixed, objectives) == reference_point(rows, objectives)
