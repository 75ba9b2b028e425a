"""The data sets of lm-eval's tasks, fetched once into the cache and read from there without any lock.

The library that reads them keeps its own cache under file locks, which not every shared disk has.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import datasets

from jobs.attempt.console import say
from jobs.cache import key_of, known_digest, obtain
from jobs.errors import DataError

LAYOUT = 1  # raised when what is written into an entry changes


@contextmanager
def data_from_cache(cache: Path, folder: Path | None) -> Iterator[None]:
    """Within, `datasets.load_dataset` answers from the cache, and fetches into it what it lacks.

    Args:
        folder: of the user's task files; relative names of data files in them start there.
    """
    real = datasets.load_dataset
    caching = datasets.is_caching_enabled()
    datasets.disable_caching()  # what tasks make of a data set would be written beside it

    def load(path: str, name: str | None = None, **options: Any) -> Any:
        options = {**options, **_files(options.get("data_files"), folder)}
        contents = {file: known_digest(Path(file), cache) for file in _named(options) if Path(file).is_file()}
        about = {"path": path, "name": name, "options": json.loads(json.dumps(options, default=str))}
        key = key_of(layout=LAYOUT, contents=contents, version=datasets.__version__, **about)
        entry = obtain(
            cache / "datasets" / key, partial(_fetch, real, path, name, options, bool(contents)), about
        )
        return datasets.load_from_disk(str(entry / "data"))

    try:
        with patch.object(datasets, "load_dataset", load):
            yield
    finally:
        if caching:
            datasets.enable_caching()


def _fetch(
    real: Any, path: str, name: str | None, options: Mapping[str, Any], local: bool, folder: Path
) -> None:
    label = path if name is None else f"{path} ({name})"
    say(f"fetching the data set {label}, once for this cache")
    try:
        if not local:
            real(path, name, **options).save_to_disk(str(folder / "data"))
            return
        with tempfile.TemporaryDirectory() as own:  # nobody else's, so that no lock is waited for
            real(path, name, cache_dir=own, **options).save_to_disk(str(folder / "data"))
    except (OSError, ValueError) as error:  # what no network, a wrong name or a broken file ends in
        raise DataError(
            f"evaluation.tasks: got no data set {label}, expected it in the cache: {error}",
            "on a machine with network: `frontrunner prefetch` with the same settings",
        ) from error


def _files(data_files: Any, folder: Path | None) -> dict[str, Any]:
    """The option data_files with the names that lie in the folder made absolute."""

    def place(name: Any) -> Any:
        if isinstance(name, Mapping):
            return {split: place(one) for split, one in name.items()}
        if isinstance(name, list):
            return [place(one) for one in name]
        inside = folder is not None and isinstance(name, str) and (folder / name).is_file()
        return str((folder / name).resolve()) if folder is not None and inside else name

    return {} if data_files is None else {"data_files": place(data_files)}


def _named(options: Mapping[str, Any]) -> Iterator[str]:
    """Every name of a data file."""

    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            for one in value.values():
                yield from walk(one)
        elif isinstance(value, list):
            for one in value:
                yield from walk(one)

    yield from walk(options.get("data_files"))
