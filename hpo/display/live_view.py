"""What `tune` shows while it works: a live picture on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from hpo.display.event_lines import event_line, progress_line, waiting_line
from hpo.display.overview import overview
from hpo.study.snapshot import Snapshot
from hpo.study.state import Study

PLAIN_EVERY_S = 15.0


def make_view(console: Console) -> LiveView | PlainView:
    """A live view on a terminal, plain lines elsewhere."""
    return LiveView(console) if console.is_terminal else PlainView(console)


class PlainView:
    """One line per event, and one per running trial every now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: Mapping[str, tuple[str, int]] = {}
        self._waiting: Mapping[str, int] = {}
        self._next = 0.0

    def say(self, text: str) -> None:
        """Print the time and the text."""
        now = datetime.now().strftime("%H:%M:%S")
        self._console.print(f"{now}  {text}", soft_wrap=True, markup=False, highlight=False)

    def event(self, event: dict[str, Any], study: Study) -> None:
        """Print the event, if it says something to people."""
        line = event_line(event, study)
        if line:
            self.say(line)

    def update(self, look: Callable[[], Snapshot]) -> None:
        """Print the running trials that have moved, at intervals."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + PLAIN_EVERY_S
        snapshot = look()
        seen = {one.trial.id: (one.progress.phase, one.progress.step) for one in snapshot.running}
        if snapshot.waiting and snapshot.waiting != self._waiting:
            self.say(waiting_line(snapshot))
        self._waiting = snapshot.waiting
        for one in snapshot.running:
            if self._shown.get(one.trial.id) != seen[one.trial.id]:
                self.say(progress_line(one))
        self._shown = seen

    def close(self) -> None:
        """Nothing to leave."""


class LiveView:
    """The study's overview, redrawn in place, with the events scrolling above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        self._live.start()

    def say(self, text: str) -> None:
        """Print the text above the picture."""
        self._console.print(Text(text))

    def event(self, event: dict[str, Any], study: Study) -> None:
        """Print the event above the picture."""
        line = event_line(event, study)
        if line:
            self.say(line)

    def update(self, look: Callable[[], Snapshot]) -> None:
        """Redraw."""
        hint = Text("Ctrl-C leaves the trials running; the same command goes on", style="dim")
        self._live.update(Group(Text(), overview(look(), self._console.height), hint))

    def close(self) -> None:
        """Take the picture away."""
        self._live.stop()
