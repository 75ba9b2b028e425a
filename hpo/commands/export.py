"""`export`: a study in the format of another tool."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from hpo.errors import FrontrunnerError, InputError
from hpo.study.snapshot import Snapshot, take
from hpo.study.state import Trial
from hpo.study.store import find_study

Each = Callable[[], Iterable[Trial]]


@dataclass(frozen=True)
class ExportFormat:
    """One format.

    Args:
        file: name of what is written, in the study's folder `export`.
        package: that writes it; "" for the standard library.
        opens: the command that shows it, with `{}` for the place; "" where there is none.
        write: (study, place, the trials with a progress bar).
        url: what stands before a path in the address of such a database; "" where there are no addresses.
    """

    file: str
    package: str
    opens: str
    write: Callable[[Snapshot, str, Each], None]
    url: str = ""


def export(name: str, root: Path, kind: str, to: str | None, console: Console) -> int:
    """Write a study in another format, at any time.

    Args:
        name: a study folder, or a name under `root`.
        root: the study root.
        kind: a key of `FORMATS`.
        to: a new file or folder, or the address of a database or server; None: in the study's folder
            `export`, in place of an earlier export.
        console: where to say what is done.

    Raises:
        InputError: there is no such study, or `to` is there already.
        FrontrunnerError: the package that writes it is not installed.
    """
    own, snapshot = FORMATS[kind], take(find_study(name, root))
    address = bool(to) and "://" in str(to)
    if address and not own.url:
        raise InputError(f"--to: expected a path for --format {kind}, got {to}")

    def each() -> Iterable[Trial]:
        trials = list(snapshot.study.trials.values())
        return track(trials, "exporting", console=console, transient=True, disable=not console.is_terminal)

    try:
        place = _write(own, snapshot, to, each, address=address)
    except ImportError as error:
        hint = f"pip install 'frontrunner[{kind}]'"
        raise FrontrunnerError(f"`export --format {kind}` needs {own.package}: {error}", hint) from error
    console.print(f"{len(snapshot.study.trials)} trials in {place}", highlight=False, soft_wrap=True)
    if own.opens:
        console.print(f"open it with: {own.opens.format(place)}", highlight=False, soft_wrap=True)
    return 0


def _write(own: ExportFormat, snapshot: Snapshot, to: str | None, each: Each, *, address: bool) -> str:
    """Write it; returns the place, as the tool takes it."""
    if address:
        own.write(snapshot, str(to), each)
        return str(to)
    target = Path(to).resolve() if to else snapshot.paths.export / own.file
    if to and target.exists():
        raise InputError(f"--to: expected a path where there is nothing, got {target}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with _whole(target) as place:
        if own.url:
            with _unhurried_disk():
                own.write(snapshot, f"{own.url}{place}", each)
        else:
            own.write(snapshot, str(place), each)
    return f"{own.url}{target}"


@contextmanager
def _unhurried_disk() -> Iterator[None]:
    """Let SQLite, by whichever library, not wait for the disk at every commit.

    For a file that takes another one's place only when it is whole: thousands of commits, as Optuna and
    MLflow make them, would each wait for the disk.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    event.listen(Engine, "connect", _relax)
    try:
        yield
    finally:
        event.remove(Engine, "connect", _relax)


def _relax(connection: Any, _: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA journal_mode=MEMORY")


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A place beside the target, which takes the target's place at the end; nothing is left of it else."""
    place = target.with_name(f".{uuid.uuid4().hex}.{target.name}")
    try:
        yield place
        if target.is_dir():
            shutil.rmtree(target)
        if place.is_file():
            with place.open("rb+") as stream:
                os.fsync(stream.fileno())
        place.replace(target)
    finally:
        if place.is_dir():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)


def _csv(snapshot: Snapshot, place: str, each: Each) -> None:
    from hpo.exports.table import write_csv

    write_csv(snapshot, Path(place))


def _parquet(snapshot: Snapshot, place: str, each: Each) -> None:
    from hpo.exports.table import write_parquet

    write_parquet(snapshot, Path(place))


def _optuna(snapshot: Snapshot, place: str, each: Each) -> None:
    from optuna.exceptions import DuplicatedStudyError

    from hpo.exports.optuna_study import write_study

    try:
        write_study(snapshot, place, each())
    except DuplicatedStudyError as error:
        text = f"--to: expected a storage without a study {snapshot.study.name!r}, got {place}"
        raise InputError(text) from error


def _mlflow(snapshot: Snapshot, place: str, each: Each) -> None:
    from hpo.exports.mlflow_runs import write_runs

    artifacts = snapshot.paths.export / "mlflow-artifacts"  # nothing is put there; MLflow wants a place
    write_runs(snapshot, place, artifacts.as_uri() if place.startswith(SQLITE) else None, each())


def _tensorboard(snapshot: Snapshot, place: str, each: Each) -> None:
    from hpo.exports.tensorboard_runs import write_runs

    Path(place).mkdir()
    write_runs(snapshot, Path(place), each())


SQLITE = "sqlite:///"
FORMATS: Mapping[str, ExportFormat] = {
    "csv": ExportFormat("trials.csv", "", "", _csv),
    "parquet": ExportFormat("trials.parquet", "pyarrow", "", _parquet),
    "optuna": ExportFormat("optuna.db", "Optuna", "optuna-dashboard {}", _optuna, SQLITE),
    "mlflow": ExportFormat("mlflow.db", "MLflow", "mlflow ui --backend-store-uri {}", _mlflow, SQLITE),
    "tensorboard": ExportFormat("tensorboard", "TensorBoard", "tensorboard --logdir {}", _tensorboard),
}
