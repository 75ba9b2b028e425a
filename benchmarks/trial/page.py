"""Writes the measured parts of `docs/training.md`: `python -m benchmarks.trial.page`."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.records import RESULTS, ROOT, read_records

PAGE = ROOT / "docs" / "training.md"
# part of the page -> module with FILE and `section(records) -> str`
PARTS = {
    "throughput": "benchmarks.trial.throughput",
    "startup": "benchmarks.trial.startup",
    "loss": "benchmarks.trial.loss_memory",
    "crowd": "benchmarks.trial.crowd",
    "checkpoint": "benchmarks.trial.checkpoint",
    "gpu": "benchmarks.gpu.page",
}


def replaced(page: str, part: str, text: str) -> str:
    """The page with another text between the marks of a part.

    Args:
        page: Markdown with `<!-- part -->` and `<!-- end of part -->`.
        part: of `PARTS`.
        text: Markdown.

    Raises:
        ValueError: the page lacks the marks.
    """
    begin, end = f"<!-- {part} -->", f"<!-- end of {part} -->"
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not found.search(page):
        raise ValueError(f"got a page without {begin} and {end}, expected both")
    return found.sub(lambda match: f"{begin}\n{text.strip()}\n{end}", page)


def write_part(part: str, results: Path, page: Path = PAGE) -> None:
    """Write a part from its results, if there are any."""
    module = import_module(PARTS[part])
    if records := read_records(results / module.FILE):
        page.write_text(replaced(page.read_text(), part, module.section(records)))


if __name__ == "__main__":
    for name in PARTS:
        write_part(name, RESULTS)
    sys.exit(0)
