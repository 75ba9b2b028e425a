"""`status`: a study's snapshot, as text or for scripts."""

from __future__ import annotations

import json
import time
from pathlib import Path

from rich.console import Console
from rich.live import Live

from hpo.snapshot import take, to_json
from hpo.store import find_study
from hpo.tables import overview

WATCH_S = 2.0


def status(name: str, root: Path, console: Console, *, as_json: bool, watch: bool) -> int:
    """Show how a study stands.

    Args:
        name: a study folder, or a name under `root`.
        root: the study root.
        console: where to show it.
        as_json: one JSON object, for scripts.
        watch: again and again, until the study is complete or Ctrl-C.

    Raises:
        InputError: there is no such study.
    """
    paths = find_study(name, root)
    if as_json:
        print(json.dumps(to_json(take(paths)), indent=1))
        return 0
    if not watch:
        console.print(overview(take(paths)))
        return 0
    with Live(console=console, auto_refresh=False) as live:
        while True:
            snapshot = take(paths)
            live.update(overview(snapshot), refresh=True)
            if snapshot.study.finished:
                return 0
            time.sleep(WATCH_S)
