"""The controller's lease: one controller a study, and a dead one's place can be taken."""

from __future__ import annotations

import os
import socket
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from hpo.errors import InputError, StudyError
from hpo.records import Record, RecordError, set_aside, utc_now, write_json, write_json_once

DAMAGED_S = 60.0  # a living controller writes its lease anew long before
RENEW_S = 20.0  # a heartbeat is one write to a shared disk: often enough to be seen, no oftener


@dataclass(frozen=True)
class ControllerLease(Record):
    """controller.json: who drives the study, and when it was last seen at it."""

    token: str
    host: str
    pid: int
    process_start: str  # tells a process from a later one with the same pid; "" where /proc is not there
    heartbeat: float  # seconds since the epoch, by the owner's clock
    started_at: str = field(default_factory=utc_now)


class HeldLease:
    """The lease in our hands; a context that gives it back.

    Args:
        path: controller.json of the study.
        stale_s: an owner on another host that has not been seen for so long is taken for dead.

    Raises:
        InputError: another controller drives the study.
    """

    def __init__(self, path: Path, stale_s: float = 180.0) -> None:
        self._path = path
        self._lease = ControllerLease(
            token=uuid.uuid4().hex,
            host=socket.gethostname(),
            pid=os.getpid(),
            process_start=process_start(os.getpid()),
            heartbeat=time.time(),
        )
        while not write_json_once(path, self._lease.to_json()):
            _clear_if_dead(path, stale_s)

    @property
    def record(self) -> ControllerLease:
        """What controller.json says of us."""
        return self._lease

    def __enter__(self) -> HeldLease:
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(OSError, RecordError):
            if ControllerLease.read(self._path).token == self._lease.token:
                self._path.unlink()

    def renew(self) -> None:
        """Say that we are alive.

        Raises:
            StudyError: the lease has been taken over.
        """
        try:
            present = ControllerLease.read(self._path) if self._path.exists() else None
        except RecordError:  # of a damaged disk: who took it over would write it anew, and so do we
            present = replace(self._lease, heartbeat=0.0)
        if present is None or present.token != self._lease.token:
            owner = f"pid {present.pid} on {present.host}" if present else "nobody"
            raise StudyError(f"{self._path}: this controller's lease was taken over by {owner}")
        if time.time() - present.heartbeat < RENEW_S:
            return
        self._lease = ControllerLease(**{**self._lease.__dict__, "heartbeat": time.time()})
        write_json(self._path, self._lease.to_json())


def owner_alive(lease: ControllerLease, stale_s: float) -> bool:
    """Whether the lease's owner may still be at work."""
    if lease.host == socket.gethostname():
        return process_start(lease.pid) == lease.process_start and _exists(lease.pid)
    return time.time() - lease.heartbeat < stale_s


def refuse_second_controller(path: Path, stale_s: float = 180.0) -> None:
    """Raise InputError if a living controller holds the lease."""
    try:
        lease = ControllerLease.read(path)
    except FileNotFoundError:
        return
    except RecordError as error:
        _refuse_lately_damaged(path, error)
        return
    if owner_alive(lease, stale_s):
        raise InputError(
            f"study {path.parent.name} is driven by another controller: pid {lease.pid} on {lease.host} "
            f"since {lease.started_at} ({path})",
            hint=f"watch it with `frontrunner status {path.parent}`, or stop that process first",
        )


def _refuse_lately_damaged(path: Path, error: RecordError) -> None:
    """Raise InputError while a controller may be alive that will mend its lease at its next pass."""
    with suppress(FileNotFoundError):
        age_s = time.time() - path.stat().st_mtime
        if 0 <= age_s < DAMAGED_S:
            raise InputError(
                f"{error}; it was changed {age_s:.0f} s ago, so a controller may be at work",
                hint=f"once it is {DAMAGED_S:.0f} s old, the same command takes it out of the way",
            ) from error


def _clear_if_dead(path: Path, stale_s: float) -> None:
    try:
        seen = ControllerLease.read(path)
    except FileNotFoundError:
        return
    except RecordError as error:
        _refuse_lately_damaged(path, error)
        with suppress(FileNotFoundError):
            set_aside(path)
        return
    refuse_second_controller(path, stale_s)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.stale")
    with suppress(FileNotFoundError):
        path.rename(aside)
        # Another controller may have cleared the dead lease and made its own between our look and the rename.
        if ControllerLease.read(aside).token != seen.token:
            with suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()


def process_start(pid: int) -> str:
    """When a process started, in the kernel's ticks; "" if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
