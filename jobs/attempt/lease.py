"""Which process may write a trial's results: the newest attempt, and nobody who was overtaken by it.

After a node failure the old process of an element can still be running while the new one has started.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress

from hpo.paths import TrialPaths
from hpo.records import AttemptRecord, Lease, RecordError, write_json
from jobs.attempt.console import say
from jobs.attempt.signals import array_element

OVERTAKEN = 75


class Ownership:
    """A lease that was taken, and the check that it still holds."""

    def __init__(self, paths: TrialPaths, lease: Lease) -> None:
        self._paths = paths
        self.lease = lease

    @property
    def overtaken(self) -> bool:
        """Whether another attempt has the trial now; raises OSError where that cannot be seen."""
        present = _present(self._paths, self.lease.trial)
        if present is None:  # missing or damaged: no proof that anybody took it
            return newest_attempt(self._paths) > self.lease.attempt
        return present != self.lease

    def confirm(self) -> None:
        """Go on only if the lease is still ours: called before every checkpoint and result.

        A process that was overtaken ends at once, without the exit code or the files of a failure.

        Raises:
            OSError: it cannot be seen whose the lease is.
        """
        if self.overtaken:
            say("another attempt has taken this trial over: stopping")
            os._exit(OVERTAKEN)


def take(trial: TrialPaths, name: str, batch: str) -> Ownership | None:
    """Take the lease, unless a later batch or a later restart of this element holds it.

    Args:
        batch: id of the batch that this process belongs to; ids compare as text.

    Returns:
        The ownership, with an attempt number above every earlier one's; None if the lease is refused.

    Raises:
        OSError: the lease cannot be read or written.
    """
    restart = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    newest = newest_attempt(trial)
    last = _present(trial, name) or _told(trial, name, newest)
    if last is not None and (last.batch, last.restart) > (batch, restart):
        return None
    lease = Lease(
        trial=name,
        attempt=1 + max(newest, last.attempt if last is not None else 0),
        batch=batch,
        job=array_element() or batch,
        restart=restart,
        host=os.environ.get("SLURMD_NODENAME") or socket.gethostname(),  # as Slurm calls the node
        pid=os.getpid(),
    )
    write_json(trial.lease, lease.to_json())
    return Ownership(trial, lease)


def newest_attempt(trial: TrialPaths) -> int:
    """The highest number of an attempt that left a file; 0 if there is none."""
    with suppress(FileNotFoundError):
        stems = (name.removesuffix(".json") for name in os.listdir(trial.attempts))  # noqa: PTH208 # names suffice
        return max((int(stem) for stem in stems if stem.isdecimal()), default=0)
    return 0


def _present(trial: TrialPaths, name: str) -> Lease | None:
    """The lease; None if there is none, or none that makes sense."""
    with suppress(FileNotFoundError, RecordError):
        lease = Lease.read(trial.lease)
        return lease if _sound(lease, name) else None
    return None


def _told(trial: TrialPaths, name: str, attempt: int) -> AttemptRecord | None:
    """What the newest attempt said of itself: stands in for a damaged lease."""
    with suppress(FileNotFoundError, RecordError):
        record = AttemptRecord.read(trial.attempt(attempt))
        return record if _sound(record, name) else None
    return None


def _sound(record: Lease | AttemptRecord, name: str) -> bool:
    kinds: list[tuple[object, type]] = [(record.attempt, int), (record.restart, int), (record.batch, str)]
    return record.trial == name and all(isinstance(value, kind) for value, kind in kinds)
