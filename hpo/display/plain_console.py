"""The console of every command: it shows text of a study, and obeys none of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

SHOWN = "\ufffd"
# Controls of terminals but for line ends and tabs, C1 ones too; marks that turn the direction of writing.
_CONTROLS = [*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_AS_TEXT = dict.fromkeys(_CONTROLS, SHOWN)


class PlainConsole(Console):
    """Takes neither rich's mark-up nor names of emoji nor a terminal's control characters out of a text.

    Styles are what the program says of a text, never what the text says of itself.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """See `rich.console.Console.render`."""
        for part in super().render(renderable, options):
            yield part if part.control else Segment(as_text(part.text), part.style)


def as_text(text: str) -> str:
    """A text in which every control character is a sign that can be seen."""
    return text.translate(_AS_TEXT)
