"""The examples of a recipe without a cache, and the two sides of its split as rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from jobs.data.files import FileRow, Row
from jobs.data.rows import place, validates
from jobs.data.selection import select
from jobs.data.tokens import Examples
from jobs.evaluation.examples import mixed
from jobs.recipes.data import DataRecipe


def load_examples(
    data: DataRecipe, tokenizer: PreTrainedTokenizerBase, cache: Path | None = None
) -> Examples:
    """Read, split, render, filter and tokenise, without keeping anything."""
    return mixed(select(data, tokenizer, cache), data)


@dataclass(frozen=True)
class Split:
    """Rows to learn from and rows to be judged by."""

    train: list[Row]
    validation: list[Row]


def split(rows: Iterable[Row], data: DataRecipe) -> Split:
    """Both sides of one source, in the order of their hashes, up to their caps."""
    sides: dict[bool, list[Row]] = {True: [], False: []}
    located = [FileRow(row, "rows", number) for number, row in enumerate(rows, start=1)]
    for placed in place([located], data):
        sides[validates(placed, data)].append(placed.row)
    return Split(sides[False][: data.train_examples], sides[True][: data.validation_examples])
