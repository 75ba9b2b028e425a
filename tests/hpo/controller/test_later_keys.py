"""Keys of the recipe that came later: a study from before goes on where they are left as things were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from hpo.controller.assembly import Assembly, assemble, later_keys
from hpo.controller.compose import compose_config
from hpo.study.recipe import content_hash, without_later
from hpo.study.store import differences
from jobs.recipes.data import DataRecipe

TESTS = Path(__file__).resolve().parents[2]
BEFORE = TESTS / "assets" / "flat_layout_study"
CONF = TESTS.parent / "conf"


def again(*more: str) -> Assembly:
    """The study of before, as its own command composes it today."""
    overrides = ["experiment=none", "trainer=synthetic", "cluster=local", "trainer.seconds=12"]
    return assemble(*compose_config([*overrides, *more]))


def identity() -> dict[str, Any]:
    """Of the study of before, as its journal has it."""
    with (BEFORE / "journal.jsonl").open(encoding="utf-8") as lines:
        found: dict[str, Any] = json.loads(next(lines))["identity"]
    return found


def test_a_study_from_before_is_the_same_study() -> None:
    """Nothing differs, and its trials have the hash that those before them had."""
    parts = again()
    assert list(differences(identity(), parts.identity)) == []
    spec = json.loads((BEFORE / "trials" / "0000" / "spec.json").read_text(encoding="utf-8"))
    assert content_hash(parts.recipe) == spec["recipe_hash"]


def test_a_later_key_that_is_set_makes_another_study() -> None:
    """It is told by its key."""
    changed = list(differences(identity(), again("data.loss_on=all").identity))
    assert changed == [("data.loss_on", "nothing", "all")]


def test_only_values_of_before_are_left_out() -> None:
    """By hand: one key as before, one that is set, groups and keys of old."""
    recipe = {"data": {"new": 1, "other": 2, "old": 1}, "model": {"new": 1}}
    later = {"data": {"new": 1, "other": 1}}
    assert without_later(recipe, later) == {"data": {"other": 2, "old": 1}, "model": {"new": 1}}


@pytest.mark.parametrize("name", ["demo", "file"])
def test_values_of_before_are_the_defaults(name: str) -> None:
    """Of the configuration, and of recipes that do not have the key."""
    shipped = yaml.safe_load((CONF / "data" / f"{name}.yaml").read_text(encoding="utf-8"))
    bare = {key: value for key, value in shipped.items() if key not in later_keys()["data"]}
    recipe = TypeAdapter(DataRecipe).validate_python(bare)
    for key, value in later_keys()["data"].items():
        assert shipped[key] == value
        assert getattr(recipe, key) == value
