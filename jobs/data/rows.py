"""Reads rows from data files, and splits them for good. Loads no torch."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jobs.cache import key_of, known_digest
from jobs.data import demo_data
from jobs.errors import DataError
from jobs.recipes.data import FORMATS, DataRecipe, DataSource
from jobs.recipes.hub import hub_file

Row = dict[str, Any]


@dataclass(frozen=True)
class Placed:
    """A row, the number of its source, and the hash that decides where it goes."""

    digest: str
    source: int
    row: Row


def load_rows(data: DataRecipe, cache: Path | None = None) -> list[Row]:
    """Every row of every source of the recipe's data.

    Args:
        data: sources and seed decide.

    Raises:
        DataError: a file is missing, not readable, or holds something else than rows.
    """
    return [row for source in data.parts() for row in load_source(source, data.seed, cache)]


def load_source(source: DataSource, seed: int, cache: Path | None = None) -> list[Row]:
    """Every row of one source, as it is in the file.

    Raises:
        DataError: see `load_rows`.
    """
    if source.path is None:
        return list(demo_data.rows(seed))
    if source.on_hub:
        return read(hub_file(source, cache))
    return read(Path(source.path))


def read(path: Path) -> list[Row]:
    """Every row of a JSON, JSONL, CSV or Parquet file.

    Args:
        path: of the file; its ending says the format.

    Raises:
        DataError: see `load_rows`.
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
    """Whether there is a file of a known format."""
    return path.suffix in FORMATS and path.is_file()


def _parse(path: Path) -> list[Row]:
    if path.suffix == ".parquet":
        return _parquet(path)
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


def _parquet(path: Path) -> list[Row]:
    import pyarrow.parquet  # slow, and needed for this format only
    from pyarrow import ArrowInvalid

    try:
        rows: list[Row] = pyarrow.parquet.read_table(path).to_pylist()
    except (ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: got what is no Parquet: {error}, expected a table") from error
    return rows


def _row(path: Path, number: int, line: str) -> Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{number}: got text that is not JSON: {error}, expected an object") from error
    if not isinstance(row, dict):
        raise DataError(f"{path}:{number}: got {type(row).__name__}, expected an object")
    return row


def place(sources: Iterable[Iterable[Row]], data: DataRecipe) -> list[Placed]:
    """The distinct rows of all sources in the order of their hashes: those to validate with come first.

    Args:
        sources: rows of each source; of equal rows the one in the first source counts.
        data: share of the validation rows, and seed.

    Raises:
        DataError: one side would be empty.
    """
    found: dict[str, Placed] = {}
    for number, rows in enumerate(sources):
        for row in rows:
            digest = _hash(row, data.seed)
            found.setdefault(digest, Placed(digest, number, row))
    placed = [found[digest] for digest in sorted(found)]
    validation = sum(validates(one, data) for one in placed)
    if not 0 < validation < len(placed):
        raise DataError(
            f"data.validation_fraction: got {data.validation_fraction} of {len(placed)} distinct rows, "
            f"expected at least one row on each side, got {len(placed) - validation} and {validation}",
            "give more rows, or another fraction or data.seed",
        )
    return placed


def validates(placed: Placed, data: DataRecipe) -> bool:
    """Whether a row is one to be judged by, not one to learn from.

    Args:
        data: share of the validation rows.
    """
    return int(placed.digest[:13], 16) / 16**13 < data.validation_fraction


def _hash(row: Row, seed: int) -> str:
    # Parquet holds dates and decimals too, which JSON does not know
    text = json.dumps([seed, row], sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def data_key(data: DataRecipe, cache: Path) -> str:
    """Name of the examples by their content; how often each is read, the weights, is not part of it.

    Raises:
        DataError: a file is not there.
    """
    filters = asdict(data.filters)
    choices = [data.max_length, data.train_examples, data.validation_examples]
    sources = [
        [source.name, _content(source, data.seed, cache), source.template, dict(source.columns), source.cap]
        for source in data.parts()
    ]
    return key_of(sources=sources, choices=[*choices, data.validation_fraction, data.seed], filters=filters)


def _content(source: DataSource, seed: int, cache: Path) -> str:
    if source.path is None:
        return key_of(rows=demo_data.rows(seed))
    path = hub_file(source, cache) if source.on_hub else Path(source.path)
    if not path.is_file():
        raise DataError(f"got {str(path)!r}, expected an existing file")
    return known_digest(path, cache)
