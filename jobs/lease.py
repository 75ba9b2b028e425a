"""Which process may write a trial's results: the newest attempt, and nobody who was overtaken by it.

After a node failure the old process of an element can still be running while the new one has started.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress

from hpo.paths import BatchPaths, TrialPaths
from hpo.records import BatchRecord, Lease, RecordError, write_json
from jobs.signals import array_element

OVERTAKEN = 75


class Ownership:
    """A lease that was taken, and the check that it still holds."""

    def __init__(self, paths: TrialPaths, lease: Lease) -> None:
        self._paths = paths
        self.lease = lease

    def confirm(self) -> None:
        """Go on only if the lease is still ours: called before every checkpoint and result.

        A process that was overtaken ends at once, without the exit code or the files of a failure.
        """
        if _present(self._paths) != self.lease:
            print("another attempt has taken this trial over: stopping", flush=True)
            os._exit(OVERTAKEN)


def refusal(batch: BatchPaths, trial: TrialPaths) -> str | None:
    """Why this process must not run the trial, or None.

    Args:
        batch: whose record names the array that was submitted for it.
        trial: with its result and its cancel marker, if there are any.
    """
    if trial.metrics.exists():
        return "the result is there already"
    if trial.cancel.exists():
        return "the trial is cancelled"
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    if array is None:
        return None
    recorded = BatchRecord.read(batch.record).job_id
    return None if recorded == array else f"this is array {array}, but the batch was submitted as {recorded}"


def take(trial: TrialPaths, name: str, batch: str) -> Ownership | None:
    """Take the lease, unless a later batch or a later restart of this element holds it.

    Args:
        trial: whose lease it is.
        name: id of the trial.
        batch: id of the batch that this process belongs to; ids compare as text.

    Returns:
        The ownership, with an attempt number one above the last one's; None if the lease is refused.
    """
    restart = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    present = _present(trial)
    if present is not None and (present.batch, present.restart) > (batch, restart):
        return None
    lease = Lease(
        trial=name,
        attempt=1 if present is None else present.attempt + 1,
        batch=batch,
        job=array_element() or batch,
        restart=restart,
        host=socket.gethostname(),
        pid=os.getpid(),
    )
    write_json(trial.lease, lease.to_json())
    return Ownership(trial, lease)


def _present(trial: TrialPaths) -> Lease | None:
    with suppress(FileNotFoundError, RecordError):
        return Lease.read(trial.lease)
    return None
