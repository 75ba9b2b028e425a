"""One report, made by a process of its own: of low priority, with one thread.

Where memory runs out, it is the first that the kernel ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from hpo.controller.notify import last_words

GRACE_S = 5.0  # to take away half-written files
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}


class ReportProcess:
    """Starts making a report; nothing here waits but `stop`.

    Args:
        nice: how much more than this process it gives way to others, up to 19.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, folder: Path, nice: int) -> None:
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        # A session of its own: Ctrl-C is for the controller, and the nice value of a session counts, too.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hpo.commands.report_process", str(folder), str(nice)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._complaints,
            env={**os.environ, **ONE_THREAD},
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def ended(self) -> str | None:
        """None while it works, then what went wrong, or ""."""
        code = self._process.poll()
        if code is None or not code:
            return "" if code == 0 else None
        return f"it ended with code {code}: {last_words(self._complaints)}"

    def kill(self) -> None:
        """End it at once, whatever it leaves behind."""
        self._process.kill()

    def stop(self) -> None:
        """End it, and wait some seconds for that; a page that is there stays whole."""
        self._process.terminate()
        for _ in range(2):
            with suppress(subprocess.TimeoutExpired):  # a process that a disk holds cannot be waited for
                self._process.wait(GRACE_S)
            self._process.kill()


def main(folder: str, nice: str) -> None:
    """Become `frontrunner report FOLDER`, of low priority: what `ReportProcess` starts."""
    os.nice(int(nice))
    # Where the kernel shares out the processor by sessions, nice values count only within one; trials have
    # sessions of their own, and their time may be an objective.
    for file, value in (("autogroup", nice), ("oom_score_adj", "1000")):
        with suppress(OSError):
            Path("/proc/self", file).write_text(value, encoding="utf-8")
    os.execv(sys.executable, [sys.executable, "-m", "hpo", "report", folder])


if __name__ == "__main__":
    main(*sys.argv[1:])
