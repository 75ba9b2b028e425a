"""How the parameters of a trial become part of its recipe (model, data, trainer, evaluation)."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from hpo.errors import Problem
from hpo.records import ParamValue

DEFAULT_GROUP = "trainer"
OPEN_MAPPING = "args"  # a mapping of the recipe whose keys belong to a library, so any key is welcome
OWN = (
    "parameters"  # a mapping of a trainer that runs a program of the user's own: any key is welcome here too
)
ENTRIES = "sources"  # a mapping of named entries that need not give every key; the trial kind knows them


def key_path(name: str, recipe: Mapping[str, Any]) -> list[str]:
    """The place of a parameter in the recipe.

    A bare name is a key of the trainer; of its `parameters`, where it has such a mapping.
    """
    if "." in name:
        return name.split(".")
    trainer = recipe.get(DEFAULT_GROUP)
    own = isinstance(trainer, Mapping) and isinstance(trainer.get(OWN), Mapping)
    return [DEFAULT_GROUP, OWN, name] if own else [DEFAULT_GROUP, name]


def completed(recipe: Mapping[str, Any], params: Mapping[str, ParamValue]) -> dict[str, Any]:
    """The recipe with a value for every parameter of the user's own program that has none in it.

    Args:
        params: a value of each parameter that every trial gets; those of other places are passed over.
    """
    trainer = recipe.get(DEFAULT_GROUP)
    known = trainer.get(OWN) if isinstance(trainer, Mapping) else None
    if not isinstance(known, Mapping):
        return dict(recipe)
    placed = {name: key_path(name, recipe) for name in params}
    missing = [
        name for name, (*at, last) in placed.items() if at == [DEFAULT_GROUP, OWN] and last not in known
    ]
    return apply_params(recipe, {name: params[name] for name in missing})


def apply_params(recipe: Mapping[str, Any], params: Mapping[str, ParamValue]) -> dict[str, Any]:
    """A copy of the recipe with the parameters in their places; names are as `unknown_names` accepts.

    Keys of the recipe that no parameter names keep their values; see `SearchSpace.in_recipe` for `params`.
    """
    applied = copy.deepcopy(dict(recipe))
    for name, value in params.items():
        *parents, last = key_path(name, recipe)
        place = applied
        for parent in parents:
            place = place[parent]
        place[last] = value
    return applied


def without_later(recipe: Mapping[str, Any], later: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The recipe without the keys that came later, where they are as things were before.

    Args:
        later: of each group the later keys and these values; see `conf/later.yaml`.
    """
    return {
        group: {key: value for key, value in keys.items() if not _as_before(key, value, later[group])}
        if group in later and isinstance(keys, Mapping)
        else keys
        for group, keys in recipe.items()
    }


def _as_before(key: str, value: Any, later: Mapping[str, Any]) -> bool:
    return key in later and value == later[key]


def unknown_names(recipe: Mapping[str, Any], names: Iterable[str]) -> list[Problem]:
    """A problem for each parameter that has no place in the recipe."""
    return [
        (
            f"space.{name}",
            f"the recipe has no key {'.'.join(key_path(name, recipe))}; {_siblings(recipe, name)}",
        )
        for name in names
        if not _has_place(recipe, key_path(name, recipe))
    ]


def _has_place(recipe: Mapping[str, Any], path: list[str]) -> bool:
    place: Any = recipe
    for depth, key in enumerate(path):
        if not isinstance(place, Mapping):
            return False
        if key not in place:
            opened = path[depth - 1] in (OPEN_MAPPING, OWN) or (depth > 1 and path[depth - 2] == ENTRIES)
            return depth > 0 and opened and depth == len(path) - 1
        place = place[key]
    return True


def _siblings(recipe: Mapping[str, Any], name: str) -> str:
    group = key_path(name, recipe)[0]
    keys = recipe.get(group)
    if not isinstance(keys, Mapping):
        return f"expected one of the groups {', '.join(sorted(recipe))}"
    return f"{group} has {', '.join(sorted(keys))}"


def content_hash(value: Any) -> str:
    """A short hash of plain JSON values, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
