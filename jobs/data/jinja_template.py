"""Templates of the user's own, in Jinja, sandboxed: the response stands between generation tags.

The tags are those that Hugging Face chat templates mark the assistant's words with.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from jobs.errors import DataError

TAGS = "{% generation %}...{% endgeneration %}"
MARK = f"\x02{uuid.uuid4().hex}\x03"  # no row holds what is drawn anew in every process


class Generation(Extension):
    """Marks where the response begins and ends in the rendered text."""

    tags = {"generation"}  # noqa: RUF012 # as Jinja declares it

    def parse(self, parser: Parser) -> nodes.Node:
        """One block."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_marked"), [], [], body).set_lineno(line)

    def _marked(self, caller: Callable[[], str]) -> str:
        return f"{MARK}{caller()}{MARK}"


def write(text: str, row: Mapping[str, Any]) -> tuple[str, str]:
    """A row as the template says.

    Returns:
        Prompt and response.

    Raises:
        DataError: it is no Jinja, needs a column that is not there, or does not end with one response.
    """
    try:
        written = _compiled(text).render(row)
    except jinja2.TemplateSyntaxError as error:
        raise DataError(
            f"got a Jinja template with a mistake in line {error.lineno}: {error.message}"
        ) from error
    except jinja2.UndefinedError as error:
        columns = ", ".join(sorted(map(str, row))) or "none"
        raise DataError(
            f"got a Jinja template that needs more than the columns {columns}: {error.message}",
            "`{% if NAME is defined %}` asks for a column that not every row has",
        ) from error
    except (SecurityError, TypeError, ValueError, OverflowError, ZeroDivisionError) as error:
        raise DataError(f"got a Jinja template that fails: {error}") from error
    pieces = written.split(MARK)
    if len(pieces) != 3 or pieces[2].strip():
        what = "text after the response" if len(pieces) == 3 else f"{len(pieces) // 2} responses"
        raise DataError(f"got a Jinja template with {what}, expected it to end with {TAGS}, once")
    return pieces[0], pieces[1]


@lru_cache(maxsize=16)
def _compiled(text: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, extensions=[Generation], trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(text)
