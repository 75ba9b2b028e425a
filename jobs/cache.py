"""A folder of things made once: keyed by content, checked when used, published by rename.

Correctness rests on the rename alone: any number of processes may build the same entry, the first to
publish wins and the others take its entry. The claim file only keeps them from doing the same work; it
needs no file locking, and one whose owner stopped renewing it is passed over.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hpo.records import RecordError, read_json, write_json

MANIFEST = "manifest.json"
RENEW_S = 2.0
STALE_S = 20.0  # a claim that was not renewed for this long has lost its owner


def key_of(**parts: Any) -> str:
    """The key of what is made from `parts`: 20 hexadecimal digits.

    Args:
        parts: JSON values that decide the content.
    """
    text = json.dumps(parts, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def known_digest(path: Path, cache: Path) -> str:
    """SHA-256 of a file, read once: the answer is kept under its path, size and time of change."""
    status = path.stat()
    key = key_of(path=str(path.resolve()), size=status.st_size, changed=status.st_mtime_ns)
    note = cache / "digests" / f"{key}.json"
    with suppress(FileNotFoundError, RecordError, KeyError):
        return str(read_json(note)["sha256"])
    digest = file_digest(path)
    note.parent.mkdir(parents=True, exist_ok=True)
    write_json(note, {"path": str(path.resolve()), "sha256": digest})
    return digest


def intact(entry: Path) -> bool:
    """Whether an entry is complete and every file of it is what was written."""
    try:
        digests = read_json(entry / MANIFEST)["sha256"]
        return all(file_digest(entry / name) == digest for name, digest in digests.items())
    except (OSError, RecordError, KeyError, AttributeError):
        return False


def obtain(entry: Path, build: Callable[[Path], None], about: Mapping[str, Any]) -> Path:
    """The entry, built first if it is missing or damaged.

    Args:
        entry: folder of the entry; its name is its key.
        build: writes the content into the new folder that it is given.
        about: what the entry was made from, kept in its manifest.

    Returns:
        `entry`, complete.
    """
    entry.parent.mkdir(parents=True, exist_ok=True)
    while not intact(entry):
        with _claim(entry.with_name(f".{entry.name}.claim")) as mine:
            if mine and not intact(entry):
                _build(entry, build, about)
    return entry


def _build(entry: Path, build: Callable[[Path], None], about: Mapping[str, Any]) -> None:
    made = entry.with_name(f".{entry.name}.{uuid.uuid4().hex}.tmp")
    made.mkdir()
    try:
        build(made)
        seal(made, about)
        _publish(made, entry)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def seal(folder: Path, about: Mapping[str, Any]) -> None:
    """Flush every file of a folder to the disk and write what `intact` compares with."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    digests = {str(path.relative_to(folder)): file_digest(path) for path in files}
    write_json(folder / MANIFEST, {"about": dict(about), "sha256": digests})


def _publish(made: Path, entry: Path) -> None:
    with suppress(OSError):  # not empty: another process published, or the entry is damaged
        made.rename(entry)
        return
    if intact(entry):
        return
    aside = entry.with_name(f".{entry.name}.{uuid.uuid4().hex}.damaged")
    with suppress(FileNotFoundError):
        entry.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)
    with suppress(OSError):  # lost the race after all: the caller looks again
        made.rename(entry)


@contextmanager
def _claim(path: Path) -> Iterator[bool]:
    """Hold the claim (True), or wait until its owner let it go or stopped renewing it (False)."""
    try:
        path.open("x").close()
    except FileExistsError:
        _wait(path)
        yield False
        return
    done = threading.Event()
    renewer = threading.Thread(target=_renew, args=(path, done), daemon=True)
    renewer.start()
    try:
        yield True
    finally:
        done.set()
        renewer.join()
        path.unlink(missing_ok=True)


def _renew(path: Path, done: threading.Event) -> None:
    while not done.wait(RENEW_S):
        with suppress(FileNotFoundError):
            os.utime(path)


def _wait(path: Path) -> None:
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < STALE_S:  # by our own clock: those of the nodes may differ
        try:
            changed = path.stat().st_mtime_ns
        except FileNotFoundError:
            return
        if changed != seen:
            seen, since = changed, time.monotonic()
        time.sleep(0.2)
    path.unlink(missing_ok=True)
