"""What is wrong with the data of a recipe, as far as it can be seen without a tokenizer. Loads no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from jobs.data.rows import Row, load_source, place, read
from jobs.data.templates import mapped, render
from jobs.errors import DataError
from jobs.recipes.data import TEMPLATE_FILES, DataRecipe, DataSource

ROWS_CHECKED = 100
Problem = tuple[str, str]


def data_problems(data: DataRecipe) -> list[Problem]:
    """(key path, what is wrong) for the files, columns, template and split of a recipe.

    Rows of the hub are not looked at: where they are depends on the cache.
    """
    paths = [Path(source.path) for source in data.parts() if source.path is not None]
    files = tuple((str(path), path.stat().st_mtime_ns) for path in paths if path.is_file())
    plain = asdict(data)
    for source in plain["sources"].values():
        source["weight"] = 1.0  # rows are read alike whatever the weights, which are tuned
    del plain["curation"]  # likewise
    return list(_examined(json.dumps(plain), files))


@lru_cache(maxsize=8)  # asked again for the ends of every parameter's range
def _examined(data_json: str, files: tuple[tuple[str, int], ...]) -> tuple[Problem, ...]:
    data = TypeAdapter(DataRecipe).validate_python(json.loads(data_json))
    found: list[Problem] = []
    rows: list[list[Row]] = []
    for source in data.parts():
        problem = None if source.on_hub else _source_problem(data, source, rows)
        found += [problem] if problem else []
    if not found and len(rows) == len(data.parts()):
        try:
            place(rows, data)
        except DataError as error:
            found.append(_keyed(error))
    return tuple(found)


def _source_problem(data: DataRecipe, source: DataSource, rows: list[list[Row]]) -> Problem | None:
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
    for number, row in enumerate(rows[-1][:ROWS_CHECKED], start=1):
        setting = "columns"
        try:
            renamed = mapped(row, source.columns)
            setting = "template"
            render(template, renamed, lambda said, ask: "")
        except DataError as error:
            return data.key_of(source, setting), f"{source.origin}, row {number}: {error}"
    return None


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
            read(Path(path))
    except DataError as error:
        return [("data.path", str(error))]
    return []
