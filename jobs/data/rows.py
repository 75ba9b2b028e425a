"""The rows of a recipe's sources, and their split for good. Loads no torch."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from jobs.cache import key_of, known_digest
from jobs.data import demo_data
from jobs.data.files import FileRow, Row, files_below, read_rows
from jobs.data.trees import conversations, is_forest
from jobs.errors import DataError
from jobs.recipes.data import DataRecipe, DataSource, saved_dataset
from jobs.recipes.hub import fetched, hub_file

FORMAT = 2  # raised when what rows are read as changes: tokens and losses of before are not those of now


@dataclass(frozen=True)
class Placed:
    """A row, the number of its source, and the hash that decides where it goes."""

    digest: str
    source: int
    at: FileRow

    @property
    def row(self) -> Row:
        """As it is in the file."""
        return self.at.row


def load_source(source: DataSource, seed: int, cache: Path | None = None) -> list[FileRow]:
    """Every row of one source, as it is in the file; also those that cannot be read.

    Args:
        seed: of the generated data.

    Raises:
        DataError: a file is missing, not readable, or holds something else than rows.
    """
    if source.path is None:
        generated = enumerate(demo_data.rows(seed), start=1)
        return [FileRow(dict(row), source.origin, number) for number, row in generated]
    if not source.on_hub:
        rows = read_rows(Path(source.path), source.hub.split)
    elif source.may_lack and cache is not None and not fetched(source, cache):
        return []
    else:
        rows = read_rows(hub_file(source, cache))
        rows = [FileRow(one.row, source.path, one.number, problem=one.problem) for one in rows]
    rows = [one for one in rows if one.problem or _chosen(one.row, source.where)]
    return list(conversations(rows)) if is_forest(rows) else rows


def _chosen(row: Row, where: Mapping[str, str]) -> bool:
    """Whether the columns of a row hold what they must."""
    return all(re.search(wanted, str(row.get(name) or "")) for name, wanted in where.items())


def place(sources: Iterable[Iterable[FileRow]], data: DataRecipe) -> list[Placed]:
    """The distinct rows of all sources in the order of their hashes: those to validate with come first.

    The hash is that of the row as the file has it, so that no row changes sides with what is made of it.

    Args:
        sources: rows of each source; of equal rows the one in the first source counts.
        data: share of the validation rows, and seed.

    Raises:
        DataError: one side would be empty.
    """
    found: dict[str, Placed] = {}
    for number, rows in enumerate(sources):
        for one in rows:
            if one.problem is None:
                digest = _hash(one.row, data.seed)
                found.setdefault(digest, Placed(digest, number, one))
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
    taken = [FORMAT, data.loss_on, data.bad_rows, data.bad_rows_limit]
    choices: list[object] = [data.max_length, data.train_examples, data.validation_examples]
    sources = [
        [source.name, _content(source, data.seed, cache), source.template, dict(source.columns), source.cap]
        + ([dict(source.where)] if source.where else [])
        for source in data.parts()
    ]
    choices += [data.validation_fraction, data.seed]
    return key_of(sources=sources, choices=choices, filters=filters, taken=taken)


def _content(source: DataSource, seed: int, cache: Path) -> str:
    if source.path is None:
        return key_of(rows=demo_data.rows(seed))
    if source.on_hub and source.may_lack and not fetched(source, cache):
        return "missing"
    path = hub_file(source, cache) if source.on_hub else Path(source.path)
    if path.is_file():
        return known_digest(path, cache)
    digests = {
        str(file.relative_to(path)): known_digest(file, cache) for file in files_below(path) if file.is_file()
    }
    if not digests:
        raise DataError(f"got {str(path)!r}, expected an existing file, or a folder of some")
    return key_of(files=digests, split=source.hub.split if saved_dataset(path) else None)
