"""Any option of a group beside any option of another: what presets say never stands in the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from tiers import quick

from hpo.controller.assembly import assemble
from hpo.controller.compose import compose_config, override_config
from hpo.controller.groups import CLOSED_GROUPS, CONF, option_values, options
from hpo.errors import InputError, Problem

GROUPS = (*CLOSED_GROUPS, "space", "objectives", "experiment", "scale")
# what is said of a key that nobody named
UNNAMED = ("there is no such key", "is missing", "unknown key", "missing, expected")


def problems_of(overrides: Sequence[str]) -> list[Problem]:
    """What is wrong with a study, as a user is told."""
    try:
        assemble(*compose_config(overrides))
    except InputError as error:
        return error.problems
    return []


def strange(overrides: Sequence[str]) -> list[Problem]:
    """The problems with keys that are not there or have no value, but for parameters of the space."""
    return [
        (key, text)
        for key, text in problems_of(overrides)
        if not key.startswith("space.") and any(words in text for words in UNNAMED)
    ]


@pytest.mark.parametrize("strategy", ["random", "sobol", "lhs", "grid", "powers_of_two", "nsga2"])
def test_any_strategy_on_the_default_study(strategy: str) -> None:
    """The demo's number of initial trials is passed over by strategies that have no such phase."""
    assert problems_of([f"strategy={strategy}"]) == []


@pytest.mark.parametrize("strategy", ["soo", "bamsoo"])
def test_strategies_for_one_objective_say_so(strategy: str) -> None:
    """The default study has two; with one there is nothing to say."""
    ((key, text),) = problems_of([f"strategy={strategy}"])
    assert key == "strategy.name"
    assert "objectives=loss" in text
    assert problems_of([f"strategy={strategy}", "objectives=loss"]) == []


@pytest.mark.slow
@pytest.mark.parametrize("group", ["model", "data", "trainer", "evaluation", "cluster"])
def test_any_option_on_a_preset(group: str) -> None:
    """Of a preset and a scale that set keys of every group."""
    for option in options(group, None):
        if (group, option) != ("cluster", "base"):  # what the others are made of
            chosen = [f"{group}={option}", "experiment=openllama_3b", "scale=demo"]
            assert strange(chosen) == [], chosen


def _preset_keys(path: Path) -> Iterator[tuple[str, str]]:
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    for group in CLOSED_GROUPS:
        yield from ((group, key) for key in content.get(group) or {})


@pytest.mark.parametrize("folder", ["experiment", "at_scale", "scale"])
def test_presets_set_keys_that_some_option_has(folder: str) -> None:
    """So that each of them is either used or known to belong to another option."""
    known = {
        (group, key)
        for group in CLOSED_GROUPS
        for name in options(group, None)
        for key in option_values(group, name) or {}
    }
    for path in sorted((CONF / folder).glob("*.yaml")):
        assert [pair for pair in _preset_keys(path) if pair not in known] == [], path


def test_a_key_that_the_user_names_is_checked() -> None:
    """Only what presets say is passed over."""
    ((key, text),) = problems_of(["strategy=random", "strategy.initial=4"])
    assert (key, text) == ("strategy.initial", "there is no such key")


def test_a_misspelt_key_of_a_preset_is_told(tmp_path: Path) -> None:
    """No option has it."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nstrategy:\n  inital: 3\n")
    with pytest.raises(InputError) as caught:
        assemble(*compose_config(["experiment=mine"], str(tmp_path)))
    assert [key for key, _ in caught.value.problems] == ["strategy.inital"]


def test_key_of_another_option_is_told_with_that_option() -> None:
    """One need not guess which group it belongs to."""
    ((key, text),) = problems_of(["evaluation.tasks.limit=3"])
    assert key == "evaluation.tasks.limit"
    assert text == "there is no such key; evaluation=tasks has it"


@pytest.mark.parametrize("size", quick([1, 3, 8], [3]))
@pytest.mark.parametrize("experiment", ["demo", "none"])
def test_a_smaller_batch_has_a_smaller_refill(experiment: str, size: int) -> None:
    """`batch.size` alone is always right; a refill that the user gave is not touched."""
    raw, problems = compose_config([f"experiment={experiment}", f"batch.size={size}"])
    assert problems == []
    refill = raw["batch"]["refill"]
    assert refill == "auto" or refill <= size
    assert problems_of([f"batch.size={size}", f"batch.refill={size + 1}"]) != []


def test_a_group_put_over_an_earlier_study_comes_without_the_demo() -> None:
    """`evaluate STUDY cluster=slurm` has no limit on trials at once, as conf/cluster/slurm.yaml says."""
    raw, _ = compose_config([])
    changed, problems = override_config(raw, ["cluster=slurm"])
    assert problems == []
    assert changed["cluster"]["max_parallel"] is None


def covering_rows() -> list[dict[str, str]]:
    """Choices in which every pair of options of two groups comes at least once."""
    names = {group: [name for name in options(group, None) if name != "base"] for group in GROUPS}
    left = {
        ((one, a), (other, b))
        for one, other in combinations(GROUPS, 2)
        for a in names[one]
        for b in names[other]
    }
    rows = []
    while left:
        row = dict(min(left))
        for group in (group for group in GROUPS if group not in row):
            row[group] = max(names[group], key=lambda name: len(left & _pairs({**row, group: name})))
        rows.append(row)
        left -= _pairs(row)
    return rows


def _pairs(row: dict[str, str]) -> set[tuple[tuple[str, str], tuple[str, str]]]:
    chosen = [(group, row[group]) for group in GROUPS if group in row]
    return set(combinations(chosen, 2))


@pytest.mark.slow
@pytest.mark.long(70)
def test_every_pair_of_options() -> None:
    """Composed and assembled: refused only for what was chosen, such as a metric that nothing measures."""
    rows = covering_rows()
    wrong = {
        str(row): found
        for row in rows
        if (found := strange([f"{group}={option}" for group, option in row.items()]))
    }
    assert wrong == {}
