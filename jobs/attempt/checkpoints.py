"""Checkpoints of a trial: a folder per step and attempt, and a pointer that is replaced last."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hpo.paths import TrialPaths
from hpo.records import SCHEMA_VERSION, RecordError, read_json, write_json
from jobs.attempt.console import complain
from jobs.attempt.lease import Ownership
from jobs.attempt.log import AttemptLog
from jobs.cache import intact, seal

KEPT = 2  # one more than needed, should the newest be damaged


class Checkpoints:
    """Writes those of one attempt, finds the newest of all attempts."""

    def __init__(self, paths: TrialPaths, owner: Ownership, log: AttemptLog) -> None:
        self._paths = paths
        self._owner = owner
        self._log = log

    def newest(self) -> Path | None:
        """The checkpoint that the pointer names, or else the newest undamaged one."""
        named = self._named()
        if named is not None and intact(named):
            return named
        return next((folder for folder in reversed(self._all()) if intact(folder)), None)

    def resume(self) -> Path | None:
        """The checkpoint to go on from, noted in the attempt's record; None: from the start."""
        newest = self.newest()
        if newest is not None:
            self._log.resumed(int(newest.name.removeprefix("step-")))
        return newest

    def save(self, step: int, write: Callable[[Path], None]) -> Path | None:
        """Write a checkpoint whole, point to it, and drop the old ones.

        Args:
            write: writes the files into the new folder that it is given.

        Returns:
            Its folder; None if the disk does not take it now, and the one before still holds.
        """
        try:
            folder = self._save(step, write)
        except OSError as error:
            complain(f"no checkpoint of step {step} was written: {error}; going on, to try again later")
            return None
        self._log.saved(step)
        return folder

    def _save(self, step: int, write: Callable[[Path], None]) -> Path:
        self._owner.confirm()
        attempt = self._paths.checkpoints / f"{self._owner.lease.attempt:04}"
        attempt.mkdir(parents=True, exist_ok=True)
        folder, made = attempt / f"step-{step:08}", attempt / f".{uuid.uuid4().hex}.tmp"
        made.mkdir()
        try:
            write(made)
            seal(made, {"step": step, "attempt": self._owner.lease.attempt})
            self._owner.confirm()  # writing took its time
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        place = str(folder.relative_to(self._paths.checkpoints))
        write_json(self._paths.checkpoint_pointer, {"schema_version": SCHEMA_VERSION, "folder": place})
        self._prune(folder)
        return folder

    def _named(self) -> Path | None:
        with suppress(FileNotFoundError, RecordError, KeyError):
            return self._paths.checkpoints / str(read_json(self._paths.checkpoint_pointer)["folder"])
        return None

    def _all(self) -> list[Path]:
        """Oldest first: by steps done, then by attempt."""
        return sorted(
            self._paths.checkpoints.glob("*/step-*"), key=lambda folder: (folder.name, folder.parent)
        )

    def _prune(self, current: Path) -> None:
        others = [folder for folder in self._all() if folder != current]
        halves = [half for half in self._paths.checkpoints.glob("*/.*.tmp") if half.parent != current.parent]
        for folder in [*others[: len(others) - KEPT + 1], *halves]:  # half ones are of attempts that are over
            shutil.rmtree(folder, ignore_errors=True)
