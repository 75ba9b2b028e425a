"""The JSON records that controller and trials exchange. Standard library only.

Whole files appear whole or not at all: a uniquely named temporary file in the same folder, fsync, then
`os.replace` (the last writer wins) or `os.link` (the first one wins). Appended logs hold one JSON record a
line; a torn last line is dropped, a torn middle line is an error.
"""

from __future__ import annotations

import json
import math
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints

SCHEMA_VERSION = 1
# Of runs in trackers: a study's uid, a trial's id, and whether the trial itself logs it.
STUDY_TAG, TRIAL_TAG, LIVE_TAG = "frontrunner.study", "frontrunner.trial", "frontrunner.live"

ParamValue = str | int | float | bool
Params = Mapping[str, ParamValue]
Json = Any  # the one place where a value's type is not known: the edge to JSON


class RecordError(Exception):
    """A record that cannot be read: says which file, what was expected and what was found."""


class Cause(StrEnum):
    """Why an attempt ended without a result; the policy per cause is in `hpo.study.causes`."""

    PREEMPTED = "preempted"
    NODE_FAILURE = "node_failure"
    TIMED_OUT = "timed_out"
    HOST_OUT_OF_MEMORY = "host_out_of_memory"
    GPU_OUT_OF_MEMORY = "gpu_out_of_memory"
    DIVERGED = "diverged"
    ERROR = "error"
    CANCELLED = "cancelled"
    LOST = "lost"
    STOPPED = "stopped"  # by the controller, at a rung: a result of that fidelity


def utc(seconds: float) -> str:
    """A time in seconds since the epoch as UTC, ISO 8601 with microseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def utc_now() -> str:
    """The time now; see `utc`."""
    return utc(time.time())


@contextmanager
def _whole_file(path: Path, text: str) -> Iterator[Path]:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("x", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole file; a reader sees the old text or the new one, never a part."""
    with _whole_file(path, text) as temporary:
        temporary.replace(path)


def write_json(path: Path, record: Json) -> None:
    """Write a whole JSON file; a reader sees the old record or the new one, never a part."""
    write_text(path, json.dumps(record, indent=1, allow_nan=False) + "\n")


def write_json_once(path: Path, record: Json) -> bool:
    """Write a whole JSON file unless it is there already.

    Returns:
        Whether this call made the file; False leaves the earlier one as it was.
    """
    with _whole_file(path, json.dumps(record, indent=1, allow_nan=False) + "\n") as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        return True


def read_json(path: Path) -> dict[str, Json]:
    """Read a JSON object.

    Raises:
        FileNotFoundError: there is no such file.
        RecordError: the file does not hold a JSON object.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: expected a JSON object, got text that is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise RecordError(f"{path}: expected a JSON object, got {type(record).__name__}")
    return record


def set_aside(path: Path) -> Path:
    """Take a damaged file out of the way: kept, under a name that nobody reads.

    Returns:
        Its new name.
    """
    return path.rename(path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"))


def append_jsonl(path: Path, record: Mapping[str, Json], *, durable: bool = True) -> None:
    """Append one record as one line; `durable` waits until it is on the disk."""
    line = json.dumps(record, allow_nan=False) + "\n"
    with path.open("a", encoding="utf-8") as stream:
        stream.write(line)
        stream.flush()
        if durable:
            os.fsync(stream.fileno())


def read_jsonl(path: Path) -> list[dict[str, Json]]:
    """Read every record of an appended log; a missing file is an empty log.

    Raises:
        RecordError: a line before the last one is torn or is no JSON object.
    """
    with suppress(FileNotFoundError):
        lines = path.read_bytes().split(b"\n")
        return list(_records(path, lines))
    return []


def _records(path: Path, lines: Sequence[bytes]) -> Iterator[dict[str, Json]]:
    for number, line in enumerate(lines, start=1):
        if number == len(lines):  # what follows the last newline is nothing, or a torn line
            return
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise RecordError(f"{path}:{number}: expected one JSON record a line: {error}") from error
        if not isinstance(record, dict):
            raise RecordError(f"{path}:{number}: expected a JSON object, got {type(record).__name__}")
        yield record


def mend_torn_tail(path: Path) -> bool:
    """Cut a torn last line off an appended log, so that the next record starts on a line of its own.

    Returns:
        Whether there was one.
    """
    if not path.exists():
        return False
    content = path.read_bytes()
    keep = content.rfind(b"\n") + 1
    if keep == len(content):
        return False
    os.truncate(path, keep)
    return True


@cache
def _kinds(record: type[Record]) -> dict[str, tuple[type, ...]]:
    """What the value of each field may be an instance of; of what it holds in turn nothing is asked."""
    hints = get_type_hints(record)
    return {entry.name: tuple(_classes(hints[entry.name])) for entry in fields(record)}


def _classes(hint: Any) -> Iterator[type]:
    for one in get_args(hint) if isinstance(hint, UnionType) else (hint,):
        yield get_origin(one) or one
        if one is float:
            yield int


def _words(kinds: Sequence[type]) -> str:
    return " or ".join(kind.__name__ for kind in kinds)


@dataclass(frozen=True)
class Record:
    """A JSON object with named fields and a schema version."""

    def to_json(self) -> dict[str, Json]:
        """The record as plain JSON values."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, record: Mapping[str, Json], where: Path | str = "") -> Self:
        """Build the record; unknown keys of a later version are passed over.

        Raises:
            RecordError: the version is newer than this program, or a field is missing.
        """
        version = record.get("schema_version")
        if not isinstance(version, int) or version > SCHEMA_VERSION:
            raise RecordError(f"{where}: schema_version: expected at most {SCHEMA_VERSION}, got {version!r}")
        kinds = _kinds(cls)  # type: ignore[arg-type]  # mypy takes type[Self] for unhashable
        given = {key: value for key, value in record.items() if key in kinds}
        for name, value in given.items():
            if not isinstance(value, kinds[name]):
                raise RecordError(f"{where}: {name}: expected {_words(kinds[name])}, got {value!r:.80}")
        try:
            return cls(**given)
        except TypeError as error:
            raise RecordError(f"{where}: expected the fields {sorted(kinds)}: {error}") from error

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the record from a file; see `read_json` and `from_json` for what is raised."""
        return cls.from_json(read_json(path), path)


@dataclass(frozen=True)
class TrialSpec(Record):
    """What a node needs to run one trial: trials/<id>/spec.json."""

    study: str
    trial: str
    number: int
    params: dict[str, ParamValue]
    recipe: dict[str, Json]  # model, data, trainer, evaluation; the parameters are already applied
    objectives: list[str]
    seed: int
    cache: str  # absolute path
    recipe_hash: str  # of the study's recipe, before the parameters were applied
    fidelity: float = 1.0
    memory_factor: float = 1.0  # measured over foretold peaks of the trials that had finished before
    adapter: str | None = None  # absolute path: weights to begin from, to judge or to merge
    tracking: dict[str, Json] = field(default_factory=dict)  # see `hpo.tracking`
    rungs: list[float] = field(default_factory=list)  # shares of the full length, below 1, to measure at
    rung_cost: float = 0.0  # share of the trial's computing that the losses at all rungs may take together
    rung_documents: int | None = None  # of each task at a rung; None: tasks are asked at the end alone


@dataclass(frozen=True)
class Metric:
    """A measured value, and its standard error where it is known."""

    value: float
    standard_error: float | None = None


@dataclass(frozen=True)
class TrialResult(Record):
    """The result of a trial: trials/<id>/metrics.json."""

    trial: str
    attempt: int
    metrics: dict[str, Metric]
    details: dict[str, Json] = field(default_factory=dict)

    @classmethod
    def from_json(cls, record: Mapping[str, Json], where: Path | str = "") -> Self:
        """Build the result; see `Record.from_json`. A value that is no finite number is a RecordError."""
        return super().from_json({**record, "metrics": _metrics(record, where)}, where)


@dataclass(frozen=True)
class RungRecord(Record):
    """One line of trials/<id>/rungs.jsonl: what a trial measured on its way."""

    trial: str
    attempt: int
    rung: float  # the share of the full length that was asked for
    share: float  # that was done: of the first whole step at or after the rung
    step: int
    metrics: dict[str, Metric]  # what grows with the steps is extrapolated to the full length
    seconds: float = 0.0  # that measuring took
    at: str = field(default_factory=utc_now)

    @classmethod
    def from_json(cls, record: Mapping[str, Json], where: Path | str = "") -> Self:
        """Build the record; see `TrialResult.from_json`."""
        return super().from_json({**record, "metrics": _metrics(record, where)}, where)


@dataclass(frozen=True)
class StoppedResult(Record):
    """The end of an attempt that was stopped at a rung: trials/<id>/stopped-<attempt>.json."""

    trial: str
    attempt: int
    rung: float
    step: int  # of the checkpoint and the adapter
    metrics: dict[str, Metric]  # of the rung
    details: dict[str, Json] = field(default_factory=dict)

    @classmethod
    def from_json(cls, record: Mapping[str, Json], where: Path | str = "") -> Self:
        """Build the record; see `TrialResult.from_json`."""
        return super().from_json({**record, "metrics": _metrics(record, where)}, where)


def read_rungs(path: Path, trial: str) -> list[RungRecord]:
    """What a trial measured at its rungs, in order; a torn last line is dropped.

    Raises:
        RecordError: another line is torn, or none of this trial's.
    """
    records = []
    for number, line in enumerate(read_jsonl(path), start=1):
        record = RungRecord.from_json(line, f"{path}:{number}")
        if record.trial != trial or not 0.0 < record.rung <= 1.0:
            what = f"rung {record.rung:g} of trial {record.trial}"
            raise RecordError(f"{path}:{number}: expected a rung in (0, 1] of trial {trial}, got {what}")
        records.append(record)
    return records


def _metrics(record: Mapping[str, Json], where: Path | str) -> dict[str, Metric]:
    found = record.get("metrics")
    if not isinstance(found, dict):
        raise RecordError(f"{where}: metrics: expected an object, got {found!r}")
    return {name: read_metric(name, value, where) for name, value in found.items()}


def read_metric(name: str, record: Json, where: Path | str = "") -> Metric:
    """A value and its standard error; a value alone, too.

    Raises:
        RecordError: it is no finite number.
    """
    value = record.get("value") if isinstance(record, dict) else record
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise RecordError(f"{where}: metrics.{name}: expected a finite number, got {record!r}")
    error = record.get("standard_error") if isinstance(record, dict) else None
    return Metric(float(value), None if error is None else float(error))


@dataclass(frozen=True)
class Failure(Record):
    """An attempt that ended by itself without a result: trials/<id>/failure-<attempt>.json."""

    trial: str
    attempt: int
    cause: str
    message: str
    traceback: str = ""
    ended_at: str = field(default_factory=utc_now)


@dataclass(frozen=True)
class Lease(Record):
    """The attempt that owns a trial: trials/<id>/lease.json."""

    trial: str
    attempt: int
    batch: str
    job: str  # <array job id>_<index> on Slurm, <batch>_<index> on a local executor
    restart: int  # Slurm's restart count of this task
    host: str
    pid: int
    started_at: str = field(default_factory=utc_now)


@dataclass(frozen=True)
class AttemptRecord(Record):
    """What one attempt did: trials/<id>/attempts/<attempt>.json, rewritten every few seconds by its process.

    All seconds are of the node's monotonic clock, from the start of the attempt's process.
    """

    trial: str
    attempt: int
    batch: str
    job: str  # as in Lease
    restart: int  # Slurm's restart count of this task
    host: str
    gpus: int  # cards that the attempt holds; 0 on a CPU
    device: str = ""  # the card's name where it is known
    started_at: str = field(default_factory=utc_now)
    seconds: float = 0.0  # how long it has lived, when last seen
    saved_seconds: float = 0.0  # its age at its newest checkpoint: what came before that is not lost
    from_step: int = 0  # where it went on from
    saved_step: int = 0  # of its newest checkpoint
    signals: list[str] = field(default_factory=list)  # that it was sent, in order
    ended: str = ""  # completed, stopped or failed; "" while it runs, and of one that was killed


@dataclass(frozen=True)
class BatchRecord(Record):
    """One array: batches/<b>/batch.json. state: intent -> submitted -> released."""

    batch: str
    name: str  # the array's unique name: study, batch, nonce
    trials: list[str]
    state: str
    job_id: str | None = None
    at_once: int | None = None  # elements that may run at the same time, as it was last asked for
    warned_s: float | None = None  # age of a task at which it is warned of its time limit; None: not known
    created_at: str = field(default_factory=utc_now)


@dataclass(frozen=True)
class Progress(Record):
    """One line of trials/<id>/progress.jsonl."""

    attempt: int
    phase: str  # loading, training, evaluating, done
    step: int = 0
    steps: int = 0
    loss: float | None = None  # nats per token
    learning_rate: float | None = None
    tokens: int = 0
    train_seconds: float = 0.0  # training steps only, summed over the attempts
    eval_loss: float | None = None  # nats per token
    at: str = field(default_factory=utc_now)

    def curves(self) -> dict[str, float]:
        """What it adds to the learning curves, by the names that trackers and exports know them by."""
        told = {
            "curve/loss": self.loss,
            "curve/eval_loss": self.eval_loss,
            "curve/learning_rate": self.learning_rate,
        }
        return {name: value for name, value in told.items() if value is not None}
