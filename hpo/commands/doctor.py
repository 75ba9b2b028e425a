"""`doctor`: what can be known about a site and a node before the first GPU-hour is spent."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console

from hpo.commands.plan import disk_forecast
from hpo.controller.assembly import Assembly, assemble
from hpo.controller.compose import compose_config
from hpo.records import write_json, write_json_once
from hpo.study.journal import load_study
from hpo.study.state import Study
from hpo.tracking import NONE

Line = tuple[str, str, str]  # (level, what, hint)
STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}
ENOUGH_GIB = 10.0


def doctor(overrides: Sequence[str], config_dir: str | None, console: Console) -> int:
    """Check the executor, the study root, the cache and the trial's needs.

    Returns:
        0, or 1 where a line says fail.

    Raises:
        InputError: the configuration cannot be used.
    """
    parts = assemble(*compose_config(overrides, config_dir))
    checked = [*parts.executor.check(), *parts.kind.check(parts.recipe, parts.cache)]
    journal = parts.paths.journal
    study = load_study(journal) if journal.exists() else Study(name=parts.paths.name)
    disk = disk_forecast(parts, study)
    return show([*_folders(parts), *([disk] if disk else []), *_tracking(parts), *checked], console)


def show(lines: Sequence[Line], console: Console) -> int:
    """Print what was found, a hint below what is not well.

    Returns:
        0, or 1 where a line says fail.
    """
    for level, what, hint in lines:
        console.print(f"{level:4}  ", style=STYLES[level], end="")
        console.print(what, markup=False, highlight=False, soft_wrap=True)
        if hint and level != "ok":
            console.print(f"      hint: {hint}", markup=False, highlight=False, soft_wrap=True)
    return int(any(level == "fail" for level, _, _ in lines))


def _folders(parts: Assembly) -> list[Line]:
    return [_writable(parts.paths.folder.parent, "study.root"), _writable(Path(parts.cache), "cache")]


def _tracking(parts: Assembly) -> Iterator[Line]:
    """That the client is there has been checked with the configuration, where that can be known."""
    tracker = parts.config.tracking.tracker
    if tracker != NONE:
        with suppress(PackageNotFoundError):
            yield "ok", f"tracking: trials are runs of {tracker}, by its client {version(tracker)}", ""


def _writable(folder: Path, key: str) -> Line:
    """Check that whole-file writes work below a folder: rename over a file, and link that refuses one."""
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix=".frontrunner-") as name:
            path = Path(name) / "probe.json"
            write_json(path, {"version": 1})
            write_json(path, {"version": 2})
            first_wins = not write_json_once(path, {"version": 3})
    except OSError as error:
        return "fail", f"{key}: {folder} cannot be written: {error}", f"set {key} to a folder of yours"
    if not first_wins:
        return "fail", f"{key}: on {place} a hard link replaces a file", f"set {key} to another file system"
    free_gib = shutil.disk_usage(place).free / 2**30
    level = "ok" if free_gib >= ENOUGH_GIB else "warn"
    mode = place.stat().st_mode & 0o777
    what = f"{key}: {folder} takes atomic writes; {free_gib:.0f} GiB free, mode {mode:o}"
    return level, what, f"adapters and 4-bit models want about {ENOUGH_GIB:.0f} GiB"
