"""One array of the local executor, as its files tell it.

<folder>/<job id>.json          what it runs, whether it may start, how many  the executor
<folder>/<job id>/start.sh      what each element runs                        the executor, once
<folder>/<job id>/<i>.claim     the one process that runs element i           that process, once
<folder>/<job id>/<i>-<nonce>/  submitit's files and logs of one launch       submitit
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slurm.files import read_json, write_json
from slurm.local import claim
from slurm.local.processes import is_alive


@dataclass(frozen=True)
class Claim:
    """Who runs an element, or why nobody will."""

    state: str
    pid: int
    start_ticks: int
    boot: str
    host: str
    gpu: str

    @property
    def elsewhere(self) -> bool:
        """Whether its process is on another machine, where we cannot see it."""
        return self.state == claim.RUNNING and self.host != os.uname().nodename

    @property
    def live(self) -> bool:
        """Whether the element still runs; on another machine it must be taken to."""
        if self.state != claim.RUNNING:
            return False
        here = self.boot == claim.boot_id() and is_alive(self.pid, self.start_ticks)
        return self.elsewhere or here


@dataclass(frozen=True)
class LocalArray:
    """One array: what it runs, and whether it may start."""

    folder: Path
    job_id: str
    name: str
    target: str
    arguments: tuple[tuple[str, ...], ...]
    held: bool
    at_once: int | None = None  # elements that may run at the same time
    time_limit_min: int | None = None  # None: the settings' own

    @property
    def workspace(self) -> Path:
        """Where claims, launches and the start script are."""
        return self.folder / self.job_id

    @property
    def start_script(self) -> Path:
        """What each element runs."""
        return self.workspace / "start.sh"

    def claim_file(self, index: int) -> Path:
        """The file that says who runs an element."""
        return self.workspace / f"{index}.claim"

    def claim(self, index: int) -> Claim | None:
        """Who runs an element; None if nobody has started it."""
        record = read_json(self.claim_file(index))
        if record is None:
            return None
        return Claim(**{key: record[key] for key in Claim.__dataclass_fields__})

    def withhold(self, index: int, state: str) -> bool:
        """See to it that an element never starts; False if it has been claimed before."""
        return claim.claim(str(self.claim_file(index)), state)

    def mark(self, index: int) -> str:
        """What every process of an element carries in its environment."""
        return f"{self.job_id}_{index}"

    def save(self) -> None:
        """Write the record; the array exists from now on."""
        record: dict[str, Any] = asdict(self)
        del record["folder"]
        write_json(self.folder / f"{self.job_id}.json", record)


def create(
    folder: Path,
    name: str,
    target: str,
    arguments: Sequence[Sequence[str]],
    script: str,
    *,
    at_once: int | None = None,
    time_limit_min: int | None = None,
) -> LocalArray:
    """Make a new held array in a folder; it exists once its record does, which is written last.

    Args:
        folder: an existing folder.
        name: unique name of the array.
        target: what each element runs.
        script: the text of the start script.
        at_once: elements that may run at the same time; None: no limit but the slots.
        time_limit_min: of each element; None: the settings' own.
    """
    texts = tuple(tuple(str(part) for part in element) for element in arguments)
    array = LocalArray(
        folder,
        _new_job_id(),
        name,
        target,
        texts,
        held=True,
        at_once=at_once,
        time_limit_min=time_limit_min,
    )
    array.workspace.mkdir()
    array.start_script.write_text(script, encoding="utf-8")
    array.save()
    return array


def load(folder: Path) -> Iterator[LocalArray]:
    """Every array that was submitted to a folder, oldest first."""
    for path in sorted(folder.glob("local-*.json")):
        record = read_json(path)
        if record is not None:
            yield LocalArray(
                folder,
                record["job_id"],
                record["name"],
                record["target"],
                tuple(tuple(element) for element in record["arguments"]),
                held=record["held"],
                at_once=record.get("at_once"),
                time_limit_min=record.get("time_limit_min"),
            )


def _new_job_id() -> str:
    # Sorts by time, so that every controller starts waiting elements in the same order.
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    return f"local-{moment}-{os.getpid()}{secrets.token_hex(2)}"
