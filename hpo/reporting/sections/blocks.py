"""What a page is made of: sections of figures, tables and plain texts."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go

Cell = str | float | int | None
DIGITS = 5  # significant ones of a number in a figure: more than its size on the screen can show


@dataclass(frozen=True)
class FigureBlock:
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
class TableBlock:
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
class TextBlock:
    """A paragraph; `code` is shown as it is, for copying."""

    text: str
    code: str = ""
    folded: bool = False

    @property
    def kind(self) -> str:
        """Which part of the template shows it."""
        return "text"


Block = FigureBlock | TableBlock | TextBlock


@dataclass(frozen=True)
class Section:
    """A part of the page: its title, a sentence that says what it shows, and its blocks."""

    name: str
    title: str
    says: str
    blocks: Sequence[Block] = field(default_factory=list)


def inside_script(text: str) -> str:
    """JSON that no text inside it can end early: the same values, without a `<`."""
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def short(tree: Any) -> Any:
    """The same tree of plain JSON values with its lists of numbers rounded."""
    if isinstance(tree, dict):
        return {key: short(value) for key, value in tree.items()}
    if not isinstance(tree, list):
        return tree
    if any(isinstance(value, dict | list) for value in tree):
        return [short(value) for value in tree]
    return rounded(tree)


def rounded(values: Sequence[Any]) -> list[Any]:
    """Floats rounded to `DIGITS` significant digits, and to less than a thousandth of their spread."""
    known = [value for value in values if isinstance(value, float) and math.isfinite(value)]
    if not known:
        return list(values)
    size, spread = max(map(abs, known)), max(known) - min(known)
    # values that hardly differ, such as 1000.01 and 1000.02, need more
    digits = DIGITS + (max(0, math.floor(math.log10(size / spread))) if spread else 0)
    return [_rounded(value, digits) if isinstance(value, float) else value for value in values]


def _rounded(value: float, digits: int) -> float | int:
    near = float(f"{value:.{min(digits, 17)}g}")
    return int(near) if near.is_integer() and abs(near) < 1e15 else near
