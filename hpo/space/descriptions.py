"""Reads parameters from what a configuration file or a program gives for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hpo.errors import InputError, Problem
from hpo.space.parameters import Choice, Constant, Derived, Float, Integer, Parameter

_KINDS: dict[str, type[Float | Integer | Choice | Constant | Derived]] = {
    "float": Float,
    "integer": Integer,
    "choice": Choice,
    "constant": Constant,
    "derived": Derived,
}


def read_parameters(space: Mapping[str, object]) -> tuple[dict[str, Parameter], list[Problem]]:
    """The parameters of a mapping, and every problem by key path `space.<name>`.

    Args:
        space: name -> what `read_parameter` takes; a mapping of names is a branch, see `leaves`.
    """
    parameters: dict[str, Parameter] = {}
    problems: list[Problem] = []
    for name, value in leaves(space):
        try:
            parameters[name] = read_parameter(value)
        except InputError as error:
            problems += error.under(f"space.{name}")
    return parameters, problems


def read_parameter(value: object) -> Parameter:
    """One parameter from itself, an expression of the sweep grammar, its description or a plain value.

    Raises:
        InputError: it is none of these.
    """
    if isinstance(value, Parameter):
        return value
    if isinstance(value, str):
        from hpo.space.grammar import (
            parse_parameter,  # Hydra's parser: loaded only where a text is to be read
        )

        return parse_parameter(value)
    if isinstance(value, Mapping):
        return _from_description(value)
    if isinstance(value, bool | int | float):
        return Constant(value)
    raise InputError(f"expected a parameter, a sweep expression or a plain value, got {value!r}")


def _from_description(description: Mapping[str, Any]) -> Parameter:
    settings = dict(description)
    kind = settings.pop("type", None)
    if kind not in _KINDS:
        raise InputError(f"type: expected one of {', '.join(_KINDS)}, got {kind!r}")
    try:
        return _KINDS[kind](**settings)
    except TypeError as error:
        raise InputError(f"{kind}: {error}, got {settings!r}") from error


def leaves(tree: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """(dotted name, value) of nested mappings, which is what Hydra makes of dotted names on the command line.

    A mapping with a key `type` is a description, not a branch.
    """
    for name, value in tree.items():
        if isinstance(value, Mapping) and value and "type" not in value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
