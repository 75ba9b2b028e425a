"""Reads rows from data files, and splits them for good. Loads no torch."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs import demo_data
from jobs.cache import key_of, known_digest
from jobs.errors import DataError
from jobs.recipe import DataRecipe

FORMATS = (".jsonl", ".json", ".csv")
Row = dict[str, Any]


@dataclass(frozen=True)
class Split:
    """Rows to learn from and rows to be judged by; no row is in both."""

    train: list[Row]
    validation: list[Row]


def load(data: DataRecipe) -> list[Row]:
    """Every row of the recipe's data.

    Args:
        data: path and seed decide.

    Raises:
        DataError: the file is missing, not readable, or holds something else than rows.
    """
    return list(demo_data.rows(data.seed)) if data.path is None else read(Path(data.path))


def read(path: Path) -> list[Row]:
    """Every row of a JSON, JSONL or CSV file.

    Args:
        path: of the file; its ending says the format.

    Raises:
        DataError: see `load`.
    """
    if not data_file(path):
        raise DataError(
            f"got {str(path)!r}, expected an existing file that ends in {', '.join(FORMATS)}",
            "relative paths start at the folder in which the command is given",
        )
    try:
        rows = _parse(path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: got bytes that are not UTF-8: {error}, expected UTF-8 text") from error
    if not rows:
        raise DataError(f"{path}: got no rows, expected at least two")
    return rows


def data_file(path: Path) -> bool:
    """Whether there is a file of a known format.

    Args:
        path: of the file.
    """
    return path.suffix in FORMATS and path.is_file()


def _parse(path: Path) -> list[Row]:
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".csv":
        return [dict(row) for row in csv.DictReader(io.StringIO(text, newline=""))]
    if path.suffix == ".jsonl":
        return [_row(path, n, line) for n, line in enumerate(text.split("\n"), start=1) if line.strip()]
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: got text that is not JSON: {error}, expected a list of objects") from error
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise DataError(f"{path}: got {type(found).__name__}, expected a list of objects")
    return found


def _row(path: Path, number: int, line: str) -> Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{number}: got text that is not JSON: {error}, expected an object") from error
    if not isinstance(row, dict):
        raise DataError(f"{path}:{number}: got {type(row).__name__}, expected an object")
    return row


def split(rows: Iterable[Row], data: DataRecipe) -> Split:
    """Divide rows by the hash of their content, so that a row stays where it is when others come or go.

    Equal rows count once. Both sides are in the order of the hash: a cap takes a fixed random part.

    Args:
        rows: in any order.
        data: share of the validation rows, caps and seed.

    Raises:
        DataError: one side would be empty.
    """
    hashed = sorted({_hash(row, data.seed): row for row in rows}.items())
    validation = [row for digest, row in hashed if _place(digest) < data.validation_fraction]
    train = [row for digest, row in hashed if _place(digest) >= data.validation_fraction]
    if not train or not validation:
        raise DataError(
            f"data.validation_fraction: got {data.validation_fraction} of {len(hashed)} distinct rows, "
            f"expected at least one row on each side, got {len(train)} and {len(validation)}",
            "give more rows, or another fraction or data.seed",
        )
    return Split(train[: data.train_examples], validation[: data.validation_examples])


def _hash(row: Row, seed: int) -> str:
    text = json.dumps([seed, row], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _place(digest: str) -> float:
    """A hexadecimal hash as a number in [0, 1)."""
    return int(digest[:13], 16) / 16**13


def data_key(data: DataRecipe, cache: Path) -> str:
    """Name of the examples by their content.

    Args:
        data: of the recipe.
        cache: root of the cache, where digests are kept.
    """
    content = known_digest(Path(data.path), cache) if data.path is not None else _generated(data.seed)
    choices = [data.template, data.max_length, data.train_examples, data.validation_examples]
    return key_of(content=content, choices=[*choices, data.validation_fraction, data.seed])


def _generated(seed: int) -> str:
    return key_of(rows=demo_data.rows(seed))
