"""Templates of the user's own, in Jinja, sandboxed: the answers stand between generation tags.

The tags are those that Hugging Face chat templates mark the assistant's words with.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.meta import find_undeclared_variables
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from jobs.data.values import Fields
from jobs.errors import DataError, RowError

TAGS = "{% generation %}...{% endgeneration %}"
MARK = f"\x02{uuid.uuid4().hex}\x03"  # no row holds what is drawn anew in every process
FAILS = "a Jinja template that fails"


class Generation(Extension):
    """Marks where an answer begins and ends in the rendered text."""

    tags = {"generation"}  # noqa: RUF012 # as Jinja declares it

    def parse(self, parser: Parser) -> nodes.Node:
        """One block."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_marked"), [], [], body).set_lineno(line)

    def _marked(self, caller: Callable[[], str]) -> str:
        return f"{MARK}{caller()}{MARK}"


class Absent(jinja2.StrictUndefined):
    """A cell with nothing in it: false, none and undefined, and an error where it is to be written."""

    def __bool__(self) -> bool:  # type: ignore[override]
        return False

    def __eq__(self, other: object) -> bool:  # type: ignore[override]
        return other is None or isinstance(other, Absent)

    def __ne__(self, other: object) -> bool:  # type: ignore[override]
        return not self == other

    __hash__ = object.__hash__  # type: ignore[assignment]


class Items(list[Any]):
    """A list that cannot be written as Python has it, by whatever way."""

    def __str__(self) -> str:
        raise TypeError("a list is to be written, expected text (`| tojson` and `| join` make some)")


class Entries(dict[str, Any]):
    """An object that cannot be written as Python has it."""

    def __str__(self) -> str:
        raise TypeError("an object is to be written, expected text (`| tojson` makes some)")


def write(text: str, fields: Fields) -> Iterator[tuple[str, bool]]:
    """A row as the template says.

    Returns:
        Pieces of text, and whether each is an answer.

    Raises:
        RowError: it needs a column that is not there or empty, or does not end with an answer.
        DataError: it is no Jinja.
    """
    compiled, names = _compiled(text)
    fields.read |= names & fields.row.keys()
    try:
        written = compiled.render({name: _guarded(name, value) for name, value in fields.row.items()})
    except jinja2.UndefinedError as error:
        columns = ", ".join(sorted(fields.row)) or "none"
        raise RowError(
            "a column that the Jinja template needs",
            f"got a Jinja template that needs more than the columns {columns}: {error.message}",
            "`{% if NAME %}` asks for a column that not every row has",
        ) from error
    except (SecurityError, TypeError, ValueError, OverflowError, ZeroDivisionError) as error:
        raise RowError(FAILS, f"got a Jinja template that fails: {error}") from error
    pieces = written.split(MARK)
    if len(pieces) < 3 or pieces[-1].strip():
        what = "text after the response" if len(pieces) >= 3 else f"{len(pieces) // 2} responses"
        raise RowError(
            f"a Jinja template with {what}",
            f"got a Jinja template with {what}, expected it to end with {TAGS}",
        )
    return ((piece, place % 2 == 1) for place, piece in enumerate(pieces[:-1]))


def _guarded(name: str, value: Any) -> Any:
    if value is None:
        return Absent(f"{name!r} is empty")
    if isinstance(value, Mapping):
        return Entries({key: _guarded(f"{name}.{key}", item) for key, item in value.items()})
    if isinstance(value, list):
        return Items(_guarded(f"{name}[{place}]", item) for place, item in enumerate(value))
    return value


def _plain(value: Any) -> Any:
    """What is written in place of a value: nothing but text, numbers and booleans."""
    if isinstance(value, str | int | float | jinja2.Undefined):
        return value
    str(value)  # lists and objects of the row say themselves what is wrong
    raise TypeError(f"a {type(value).__name__} is to be written, expected text, a number or a boolean")


def _json(value: Any, indent: int | None = None) -> str:
    """As in Hugging Face chat templates; Jinja's own escapes what is HTML."""
    return json.dumps(value, ensure_ascii=False, indent=indent, default=_nothing)


def _nothing(value: Any) -> None:
    if not isinstance(value, Absent):
        raise TypeError(f"{type(value).__name__} is no JSON")


@lru_cache(maxsize=16)
def _compiled(text: str) -> tuple[jinja2.Template, frozenset[str]]:
    """The template, and the columns that it names."""
    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined,
        extensions=[Generation],
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_plain,
    )
    environment.filters["tojson"] = _json
    environment.tests["none"] = lambda value: value is None or isinstance(value, Absent)
    try:
        return environment.from_string(text), frozenset(find_undeclared_variables(environment.parse(text)))
    except jinja2.TemplateSyntaxError as error:
        raise DataError(
            f"got a Jinja template with a mistake in line {error.lineno}: {error.message}"
        ) from error
