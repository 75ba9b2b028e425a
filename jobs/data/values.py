"""What a cell of the data means: text, a number, a structure, or nothing at all. Loads no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from jobs.errors import RowError

Row = Mapping[str, Any]


def cleaned(value: Any) -> Any:
    """A value with None in the place of every NaN, however deep: exports of pandas mean an empty cell."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        return {key: cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(item) for item in value]
    return value


def text_of(name: str, value: Any) -> str:
    """A text, number or boolean as it is written in prompts and answers.

    Args:
        name: of the column or field, for messages.

    Raises:
        RowError: it is something else; a list or an object is never written as Python or JSON has it.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return json.dumps(value)
    if isinstance(value, Decimal) and value.is_finite():
        return str(value)
    raise RowError(
        "a value that is no text",
        f"{name}: got {short(value)}, expected text, a number or a boolean",
        "a Jinja template of your own can write lists and objects",
    )


def structure(name: str, value: Any) -> Any:
    """A list or an object, which files without structure hold as JSON text.

    Raises:
        RowError: a text that is no JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return cleaned(json.loads(value))
    except ValueError as error:
        raise RowError(
            f"{name} that is no structure", f"{name}: got {short(value)}, expected a list, or JSON of one"
        ) from error


def short(value: Any) -> str:
    """The beginning of a value, for messages."""
    text = json.dumps(value, ensure_ascii=True, default=lambda other: f"<{type(other).__name__}>")
    return text if len(text) <= 80 else f"{text[:80]}..."


class Fields:
    """The columns of a row, and which of them were read.

    Args:
        row: under the names that templates read.
    """

    def __init__(self, row: Row) -> None:
        self.row = {str(name): cleaned(value) for name, value in row.items()}
        self.read: set[str] = set()

    def get(self, name: str) -> Any:
        """What is in a column; None where nothing is."""
        value = self.row.get(name)
        if value is not None:
            self.read.add(name)
        return value

    def first(self, names: tuple[str, ...]) -> tuple[str, Any]:
        """The first of several columns that has something, and what; ("", None) where none has."""
        return next(((name, value) for name in names if (value := self.get(name)) is not None), ("", None))

    def text(self, name: str) -> str:
        """What is in a column as text; "" where nothing is.

        Raises:
            RowError: it is neither text nor a number nor a boolean.
        """
        value = self.get(name)
        return "" if value is None else text_of(name, value)


def marked_wrong(fields: Fields) -> str | None:
    """The column by which a row says that its answer is not one to learn; None where none does."""
    for name in ("label", "kto_tag"):
        value = fields.row.get(name)
        if isinstance(value, str) and value.strip().lower() in ("true", "false"):
            value = value.strip().lower() == "true"
        if isinstance(value, bool):
            fields.read.add(name)
            if not value:
                return name
    return None
