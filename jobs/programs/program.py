"""A program of the user's own as a process group: started, signalled as a whole, and gone when we are."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from jobs.errors import TrialError

# Slurm sends the warning to every process of a task, and it ends a program that does not know it.
UNWARNED = 'trap "" USR2; exec "$@"'
# Waits for the end of the only process that holds the other end of its input, then ends its own group.
WATCH = 'trap "" HUP INT QUIT TERM USR1 USR2; read -r line; kill -KILL -- "-$$"'


class Program:
    """One execution.

    Whatever ends this process (also kill -9) ends the whole group of the program: the first process of that
    group waits for the end of a pipe whose other end only this process holds.

    Args:
        environment: all of it.
        output: what it prints is added here.
        errors: what it prints as errors is added here.
        warned: whether USR2 is for the program too.

    Raises:
        TrialError: the folder is not there.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        output: Path,
        errors: Path,
        *,
        warned: bool = False,
    ) -> None:
        command = list(arguments) if warned else ["/bin/sh", "-c", UNWARNED, "sh", *arguments]
        self._watch = subprocess.Popen(
            ["/bin/sh", "-c", WATCH],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        self._began = time.monotonic()
        self._ended: float | None = None
        try:
            with output.open("ab") as out, errors.open("ab") as wrong:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=wrong,
                    cwd=folder,
                    env=dict(environment),
                    process_group=self._watch.pid,
                )
        except OSError as error:
            self._dismiss()
            what = f"trainer.argv: got {arguments[0]!r} in {folder}, expected a program that starts"
            raise TrialError(f"{what}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End what is left of the group."""
        self._dismiss()
        self.wait(None)

    def _dismiss(self) -> None:
        self._watch.communicate()  # which closes the pipe, and with it the group

    @property
    def seconds(self) -> float:
        """How long it has run, or did."""
        return (time.monotonic() if self._ended is None else self._ended) - self._began

    def wait(self, seconds: float | None) -> int | None:
        """Wait for its end.

        Args:
            seconds: at most; None: for ever.

        Returns:
            Its exit code, negative of the signal that ended it; None if it still runs.
        """
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        if self._ended is None:
            self._ended = time.monotonic()
        return code

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to every process of the group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._watch.pid, number)


def last_lines(log: Path, begin: int, lines: int = 20) -> str:
    """The end of a log.

    Args:
        begin: byte from which it is of this execution.
        lines: how many at most.
    """
    with suppress(FileNotFoundError), log.open("rb") as stream:
        stream.seek(max(begin, log.stat().st_size - 200 * lines))
        text = stream.read().decode("utf-8", errors="replace")
        return "\n".join(text.strip().splitlines()[-lines:])
    return ""
