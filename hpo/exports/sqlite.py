"""Writing a new SQLite database at the speed of memory: nothing of it counts before it is whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine


@contextmanager
def unhurried_disk() -> Iterator[None]:
    """Let SQLite, by whichever library, not wait for the disk at every commit.

    For a file that takes another one's place only when it is whole: thousands of commits, as Optuna and
    MLflow make them, would each wait for the disk.
    """
    event.listen(Engine, "connect", _relax)
    try:
        yield
    finally:
        event.remove(Engine, "connect", _relax)


def _relax(connection: Any, _: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA journal_mode=MEMORY")
