"""How settings are checked: no key that is unknown, and every problem by key path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BeforeValidator, ConfigDict, ValidationError

from hpo.errors import Problem

STRICT = ConfigDict(extra="forbid")


def _no_truth(given: Any) -> Any:
    if isinstance(given, bool):
        raise ValueError("expected a number")
    return given


NO_TRUTH = BeforeValidator(_no_truth)  # true is no 1


def strategy_settings(group: Mapping[str, Any]) -> dict[str, Any]:
    """The strategy group without the strategy's name."""
    return {key: value for key, value in group.items() if key != "name"}


def problems_of(error: ValidationError, prefix: str = "") -> list[Problem]:
    """A pydantic error as (key path, message) pairs."""
    return [_problem(entry, prefix) for entry in error.errors(include_url=False)]


def _problem(entry: Mapping[str, Any], prefix: str) -> Problem:
    # a union adds the branch it tried ("float", "constrained-str") to the location: not a key of the user's
    parts: Sequence[Any] = [part for part in entry["loc"] if not _is_branch(part)]
    path = ".".join([*([prefix] if prefix else []), *map(str, parts)])
    if entry["type"] == "unexpected_keyword_argument":
        return path, "there is no such key"
    if entry["type"] in ("missing", "missing_argument"):
        return path, "is missing"
    message = str(entry["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return path, f"got {entry['input']!r}: {message}" if "input" in entry else message


def _is_branch(part: Any) -> bool:
    return isinstance(part, str) and (part.startswith(("constrained-", "function-")) or "[" in part)
