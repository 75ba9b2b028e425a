"""What is wrong with the data of a recipe, as far as it can be seen without a tokenizer. Loads no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from jobs.data.account import reading_notes
from jobs.data.bad_rows import BadRowCount
from jobs.data.conversation import Conversation
from jobs.data.files import FileRow, files_below, read_rows
from jobs.data.pieces import Example
from jobs.data.reader import RowReader
from jobs.data.rows import load_source, place
from jobs.errors import DataError, RowError
from jobs.recipes.data import TEMPLATE_FILES, DataRecipe, DataSource, LossOn

Problem = tuple[str, str]


@dataclass
class Examination:
    """What is wrong, and how the sources are read."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def data_problems(data: DataRecipe) -> list[Problem]:
    """(key path, what is wrong) for the files, rows, columns, template and split of a recipe.

    Rows of the hub are not looked at: where they are depends on the cache.
    """
    return list(_examination(data).problems)


def data_notes(data: DataRecipe) -> list[str]:
    """How the files are read: templates that were recognised, columns not read, rows skipped."""
    return list(_examination(data).notes)


def _examination(data: DataRecipe) -> Examination:
    paths = [Path(source.path) for source in data.parts() if source.path is not None and not source.on_hub]
    found = (file for path in paths if path.exists() for file in files_below(path))
    files = tuple((str(file), file.stat().st_mtime_ns) for file in found if file.is_file())
    plain = asdict(data)
    for source in plain["sources"].values():
        source |= {"weight": 1.0, "copies": 1}  # rows are read alike whatever the weights, which are tuned
    del plain["curation"]  # likewise
    return _examined(json.dumps(plain), files)


@lru_cache(maxsize=8)  # asked again for the ends of every parameter's range
def _examined(data_json: str, files: tuple[tuple[str, int], ...]) -> Examination:
    data = TypeAdapter(DataRecipe).validate_python(json.loads(data_json))
    made, bad, rows = Examination(), BadRowCount(data), list[list[FileRow]]()
    for source in data.parts():
        problem = None if source.on_hub else _look_at(data, source, bad, rows, made.notes)
        made.problems += [problem] if problem else []
    if not made.problems:
        try:
            bad.conclude()
            if len(rows) == len(data.parts()):
                place(rows, data)
        except DataError as error:
            made.problems.append(_keyed(error))
    made.notes += bad.lines()
    return made


def _look_at(
    data: DataRecipe, source: DataSource, bad: BadRowCount, rows: list[list[FileRow]], notes: list[str]
) -> Problem | None:
    """Read every row of a source, but for what a chat template makes of it."""
    template = source.template
    try:
        if template.endswith(TEMPLATE_FILES) and "{%" not in template:
            template = Path(template).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return data.key_of(source, "template"), f"got {template!r}: {error}, expected a text file"
    try:
        rows.append(load_source(source, data.seed))
    except DataError as error:
        return data.key_of(source, "path"), str(error)
    reader = RowReader(source, data.loss_on, _some_chat, template)
    bad.rows += len(rows[-1])
    try:
        for one in rows[-1]:
            try:
                reader.read(one)
            except RowError as error:
                bad.meet(source, one.where, error)
    except DataError as error:
        told = str(error)
        return _keyed(error) if told.startswith("data.") else (data.key_of(source, "template"), told)
    notes += reading_notes(source.name, reader.recognised or "", reader.unread)
    return None


def _some_chat(said: Conversation, loss_on: LossOn) -> Example:
    return Example("", "")


def _keyed(error: DataError) -> Problem:
    key, _, problem = str(error).partition(": ")
    return key, problem


def file_problems(recipe: Mapping[str, Any]) -> list[Problem]:
    """What can be said of the data file when other settings of the data are wrong.

    Args:
        recipe: with a group `data` that could not be read.
    """
    data = recipe.get("data")
    path = data.get("path") if isinstance(data, Mapping) else None
    try:
        if isinstance(path, str) and not (not path and data and data.get("sources")):
            read_rows(Path(path).expanduser())
    except DataError as error:
        return [("data.path", str(error))]
    return []
