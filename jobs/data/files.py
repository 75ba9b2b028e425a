"""Reads the rows of data files, each with the place where it stands. Loads no torch."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.errors import DataError, RowError
from jobs.recipes.data import COMPRESSED, FORMATS, data_format, saved_dataset

Row = dict[str, Any]
DESCRIPTIONS = ("dataset_info.json", "dataset_infos.json")  # of data, beside them
MOST = min(sys.maxsize, 2**31 - 1)  # characters of a CSV cell; the library's own limit is 131,072


@dataclass(frozen=True, slots=True)
class FileRow:
    """A row, and where it stands; or why it cannot be read.

    Args:
        number: in its file, from 1; of JSON Lines the line, of CSV without the heading.
        empty_cells: whether "" means that nothing is there, as in CSV.
    """

    row: Row
    file: str
    number: int
    empty_cells: bool = False
    problem: RowError | None = None

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.file}, row {self.number}"

    @property
    def filled(self) -> Row:
        """The row with None for what is not there."""
        if not self.empty_cells:
            return self.row
        return {name: None if value == "" else value for name, value in self.row.items()}


def read_rows(path: Path, split: str = "train") -> list[FileRow]:
    """Every row of a file, or of all data files below a folder, or of what `save_to_disk` wrote.

    Args:
        path: its ending says the format, a further one how it is compressed.
        split: of a saved data set that has several.

    Raises:
        DataError: it is missing, not readable, or holds something else than rows.
    """
    if path.is_dir():
        rows = _saved(path, split) if saved_dataset(path) else _all_below(path)
    elif path.is_file() and data_format(path.name):
        rows = _read(path)
    else:
        raise DataError(
            f"got {str(path)!r}, expected an existing file that ends in {', '.join(FORMATS)} "
            f"(perhaps with {' or '.join(COMPRESSED)} after it), or a folder of such files",
            "relative paths start at the folder in which the command is given",
        )
    if not rows:
        raise DataError(f"{path}: got no rows, expected at least two")
    return rows


def files_below(path: Path) -> list[Path]:
    """The files that decide the rows of a path, in the order in which they are read."""
    if not path.is_dir():
        return [path]
    if saved_dataset(path):
        return sorted(file for file in path.rglob("*") if file.is_file())
    found = (file for file in path.rglob("*") if data_format(file.name) and file.name not in DESCRIPTIONS)
    hidden = (
        file for file in found if not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    return sorted(file for file in hidden if file.is_file())


def _all_below(folder: Path) -> list[FileRow]:
    files = files_below(folder)
    if not files:
        raise DataError(
            f"{folder}: got a folder without data files, expected some that end in {', '.join(FORMATS)}"
        )
    return [row for file in files for row in _read(file)]


def _saved(folder: Path, split: str) -> list[FileRow]:
    from datasets import DatasetDict, load_from_disk  # slow, and needed for such folders only

    try:
        saved = load_from_disk(str(folder))
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        said = " ".join(str(error).split())[:200]
        raise DataError(
            f"{folder}: got what `load_from_disk` does not read: {said}, expected a saved data set"
        ) from error
    if isinstance(saved, DatasetDict):
        if split not in saved:
            raise DataError(
                f"{folder}: got the split {split!r}, expected one of {', '.join(map(str, saved))}",
                "data.hub.split names it",
            )
        saved = saved[split]
    return [FileRow(row, str(folder), number) for number, row in enumerate(saved.to_list(), start=1)]


def _read(path: Path) -> list[FileRow]:
    kinds: dict[str, Callable[[Path, bytes], list[FileRow]]] = {
        ".parquet": _parquet,
        ".csv": _csv,
        ".jsonl": _json,
        ".json": _json,
    }
    try:
        return kinds[data_format(path.name) or ""](path, _content(path))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: got bytes that are not UTF-8: {error}, expected UTF-8 text") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: got what cannot be read: {error}, expected a whole file") from error


def _content(path: Path) -> bytes:
    """The bytes of a file, decompressed."""
    content, ending = path.read_bytes(), path.suffix.lower()
    if ending == ".gz":
        return gzip.decompress(content)
    if ending == ".zst":
        import pyarrow  # slow, and needed for this kind only

        return bytes(pyarrow.CompressedInputStream(pyarrow.BufferReader(content), "zstd").read())
    return content


def _csv(path: Path, content: bytes) -> list[FileRow]:
    csv.field_size_limit(MOST)
    # strict: a quotation mark that is never closed would swallow all rows after it
    reader = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
    try:
        heading = next(reader, [])
        if doubled := sorted({name for name in heading if heading.count(name) > 1}):
            raise DataError(
                f"{path}: got several columns called {', '.join(doubled)}, expected one of each name"
            )
        return [_cells(path, number, heading, cells) for number, cells in _records(reader)]
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: got what is no CSV: {error}, expected rows"
        ) from error


def _records(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    return enumerate((cells for cells in reader if cells), start=1)


def _cells(path: Path, number: int, heading: list[str], cells: list[str]) -> FileRow:
    if len(cells) == len(heading):
        return FileRow(dict(zip(heading, cells, strict=True)), str(path), number, empty_cells=True)
    got = f"got {len(cells)} cells, expected {len(heading)}, as the heading has"
    problem = RowError(
        "another number of cells than the heading", got, "cells with commas stand in quotes", "path"
    )
    return FileRow({}, str(path), number, problem=problem)


def _json(path: Path, content: bytes) -> list[FileRow]:
    """A list of objects, or an object a line: whichever it is, by either ending."""
    text = content.decode("utf-8-sig")
    if _in_lines(text, data_format(path.name) == ".jsonl"):
        lines = enumerate(text.split("\n"), start=1)
        return [_line(path, number, line) for number, line in lines if line.strip()]
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: got text that is not JSON: {error}, expected a list of objects") from error
    if not isinstance(found, list):
        raise DataError(f"{path}: got {type(found).__name__}, expected a list of objects")
    return [_object(path, number, row) for number, row in enumerate(found, start=1)]


def _in_lines(text: str, expected: bool) -> bool:
    """Whether a text has an object in every line.

    Args:
        expected: what its ending says.
    """
    begun = text.lstrip()
    if expected:
        first, _, more = begun.partition("\n")
        return not (begun.startswith("[") and not (_is_json(first) and more.strip()))
    first, _, more = begun.partition("\n")
    return begun.startswith("{") and bool(more.strip()) and _is_json(first)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    return True


def _line(path: Path, number: int, line: str) -> FileRow:
    try:
        return _object(path, number, json.loads(line))
    except json.JSONDecodeError as error:
        problem = RowError(
            "text that is not JSON", f"got text that is not JSON: {error}, expected an object", setting="path"
        )
        return FileRow({}, str(path), number, problem=problem)


def _object(path: Path, number: int, row: Any) -> FileRow:
    if isinstance(row, dict):
        return FileRow(row, str(path), number)
    problem = RowError("no object", f"got {type(row).__name__}, expected an object", setting="path")
    return FileRow({}, str(path), number, problem=problem)


def _parquet(path: Path, content: bytes) -> list[FileRow]:
    import pyarrow  # slow, and needed for this format only
    import pyarrow.parquet

    try:
        rows: list[Row] = pyarrow.parquet.read_table(pyarrow.BufferReader(content)).to_pylist()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: got what is no Parquet: {error}, expected a table") from error
    return [FileRow(row, str(path), number) for number, row in enumerate(rows, start=1)]
