"""`data`, what trials of a configuration read, and `prefetch`, which puts it into the cache."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from hpo.controller.assembly import assemble
from hpo.controller.compose import compose_config

MASKED = re.compile("⟦(.*?)⟧")


def preview(overrides: Sequence[str], config_dir: str | None, console: Console) -> int:
    """Show what the trial kind tells of its data; on a terminal, what is not learned is dim.

    Raises:
        InputError: the configuration cannot be used.
    """
    parts = assemble(*compose_config(overrides, config_dir))

    def say(line: str) -> None:
        shown = dimmed(line) if console.is_terminal else Text(line)
        console.print(shown, soft_wrap=True, highlight=False)

    parts.kind.preview(parts.recipe, parts.cache, say)
    return 0


def prefetch(overrides: Sequence[str], config_dir: str | None, console: Console) -> int:
    """Put into the cache what every trial needs.

    Raises:
        InputError: the configuration cannot be used.
    """
    parts = assemble(*compose_config(overrides, config_dir))
    parts.kind.prepare(parts.recipe, parts.cache, lambda line: console.print(line, markup=False))
    console.print(f"ready in {parts.cache}", highlight=False)
    return 0


def dimmed(line: str) -> Text:
    """A line with its masked parts dim, and without their brackets."""
    shown, end = Text(), 0
    for masked in MASKED.finditer(line):
        shown.append(line[end : masked.start()])
        shown.append(masked[1], style="dim")
        end = masked.end()
    shown.append(line[end:])
    return shown
