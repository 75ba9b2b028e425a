"""What a page is made of: sections of figures, tables and plain texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import plotly.graph_objects as go

from hpo.reporting.sections.digits import short

Cell = str | float | int | None


@dataclass(frozen=True)
class Figure:
    """A figure to look into; its texts are escaped already."""

    name: str
    figure: go.Figure
    caption: str = ""

    @property
    def kind(self) -> str:
        """Which part of the template shows it."""
        return "figure"

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.figure.layout.height)

    def to_json(self) -> str:
        """The figure as JSON that may stand inside a script element, its numbers shortened."""
        plain = short(json.loads(self.figure.to_json()))
        return inside_script(json.dumps(plain, separators=(",", ":")))


@dataclass(frozen=True)
class Table:
    """Rows under heads; a number is shown short and sorted as it is.

    Args:
        head: titles of the columns.
        rows: cells, a row as long as the head.
        caption: what the table is; "" for none.
        folded: whether it is shown only when asked for.
        marked: numbers of rows to set off.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    folded: bool = False
    marked: frozenset[int] = frozenset()

    @property
    def kind(self) -> str:
        """Which part of the template shows it."""
        return "table"


@dataclass(frozen=True)
class Text:
    """A paragraph; `code` is shown as it is, for copying."""

    text: str
    code: str = ""
    folded: bool = False

    @property
    def kind(self) -> str:
        """Which part of the template shows it."""
        return "text"


@dataclass(frozen=True)
class Section:
    """A part of the page: its title, a sentence that says what it shows, and its blocks."""

    name: str
    title: str
    says: str
    blocks: Sequence[Figure | Table | Text] = field(default_factory=list)


def inside_script(text: str) -> str:
    """JSON that no text inside it can end early: the same values, without a `<`."""
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
