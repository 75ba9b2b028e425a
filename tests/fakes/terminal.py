"""A command in a pseudo-terminal, with an emulator that shows what a person would see."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyte

LINES, COLUMNS = 45, 170


class Terminal:
    """Runs a command; every screen that it showed is kept, each once.

    Args:
        command: with its arguments.
        environment: of it; the kind of terminal is set.
        folder: where it runs.
    """

    def __init__(self, command: Sequence[str], environment: dict[str, str], folder: Path) -> None:
        self._screen = pyte.HistoryScreen(COLUMNS, LINES, history=2000)
        self._stream = pyte.ByteStream(self._screen)
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self._settings = termios.tcgetattr(theirs)
        self.screens: list[str] = []
        own = {
            name: text for name, text in environment.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")
        }
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**own, "TERM": "xterm-256color"},
            cwd=folder,
            start_new_session=True,
        )
        self._theirs = theirs  # kept open: its settings are looked at in the end

    def watch(self, until: Callable[[str], object], timeout_s: float) -> None:
        """Take in what is shown until a screen is as wanted."""
        deadline = time.monotonic() + timeout_s
        while not (self.screens and until(self.screens[-1])):
            assert time.monotonic() < deadline, self.shown
            assert self._take() or self.process.poll() is None, self.shown

    def leave(self, timeout_s: float) -> int:
        """Take in what is shown until the command ends; returns its exit code."""
        deadline = time.monotonic() + timeout_s
        while self._take() or self.process.poll() is None:
            assert time.monotonic() < deadline, self.shown
        return self.process.wait()

    @property
    def shown(self) -> str:
        """The screen as it is, without what is blank at its end."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    @property
    def everything(self) -> str:
        """What has scrolled away, and the screen."""
        gone = ("".join(row[at].data for at in range(COLUMNS)).rstrip() for row in self._screen.history.top)
        return "\n".join([*gone, self.shown])

    @property
    def untidy(self) -> list[str]:
        """What the command did not put back."""
        found = []
        if self._screen.cursor.hidden:
            found.append("the cursor is hidden")
        if self._screen.cursor.x:
            found.append(f"the cursor is in column {self._screen.cursor.x}")
        if self._screen.cursor.attrs != self._screen.default_char:
            found.append("what is typed next would be coloured or bold")
        if termios.tcgetattr(self._theirs) != self._settings:
            found.append("the terminal's settings were changed")
        return found

    def close(self) -> None:
        """End the command, if it is still there."""
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    def _take(self) -> bool:
        """Whether there was something new; waits a moment for it."""
        ready: list[Any] = select.select([self._ours], [], [], 0.05)[0]
        if not ready:
            return False
        self._stream.feed(os.read(self._ours, 65536))
        if not self.screens or self.screens[-1] != self.shown:
            self.screens.append(self.shown)
        return True
