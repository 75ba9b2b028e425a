"""What a study folder may make its reader do: be shown. Standard library only.

Everybody may look at a folder: nothing in it is run, and no link leads its reader out of it. What acts on its
word (submitting, stopping, training) is done in folders of one's own, or of somebody who is trusted by name.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from hpo.errors import InputError
from hpo.paths import StudyPaths

TRUST = "FRONTRUNNER_TRUST"  # names, with commas: owners of folders, executors and kinds that are not ours
# Large, and of no interest to who looks: an external program and the trainer may link here as they like.
UNREAD = frozenset({"program", "checkpoints", "slurm", "helpers", "model"})
SHOWN = 3  # links that a message names


def trusted_names() -> frozenset[str]:
    """What the user trusts by name, by `--trust` or by the environment."""
    return frozenset(name for name in os.environ.get(TRUST, "").replace(",", " ").split() if name)


def refuse_ways_out(folder: Path) -> None:
    """Check that reading a study folder reads nothing else, and ends.

    Args:
        folder: of the study; that it was itself reached by a link is no matter.

    Raises:
        InputError: a link leads out of it, or something in it is no file.
    """
    found = [str(path.relative_to(folder)) for path in _ways_out(folder)]
    if found:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise InputError(
            f"{folder}: expected files alone, got what leads out of the study folder: "
            f"{', '.join(found[:SHOWN])}{more}",
            hint="nothing of it was read; a link to the whole study folder is followed, one inside it is not",
        )


def _ways_out(folder: Path) -> Iterator[Path]:
    """Depth first, over plain texts: there may be thousands of trials, and `status` is to be quick."""
    root, places = folder.resolve(), [str(folder)]
    while places:
        with suppress(FileNotFoundError, PermissionError), os.scandir(places.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in UNREAD:
                        places.append(entry.path)
                elif not entry.is_file(
                    follow_symlinks=False
                ):  # a link, or a pipe that keeps its reader for ever
                    path = Path(entry.path)
                    if not (entry.is_symlink() and path.resolve().is_relative_to(root)):
                        yield path


def foreign_owner(paths: StudyPaths) -> str:
    """Whose a study folder is; "" where it is one's own, or of somebody who is trusted."""
    for path in (paths.folder, paths.configuration, paths.journal, paths.trials, paths.batches):
        with suppress(FileNotFoundError):
            uid = path.stat().st_uid
            if uid != os.geteuid() and not trusted_names() & {_user(uid), str(uid)}:
                return _user(uid)
    return ""


def refuse_foreign(paths: StudyPaths, runs: Sequence[str] = ()) -> None:
    """Check that the folder whose word is about to be acted on is the user's own.

    Args:
        runs: what would be run, a line each.

    Raises:
        InputError: it is not, and its owner is not trusted by name.
    """
    owner = foreign_owner(paths)
    if owner:
        would = "".join(f"\n  {line}" for line in runs)
        raise InputError(
            f"{paths.folder} belongs to {owner}, and this command, run by {_user(os.geteuid())}, would do "
            f"what its files say{':' if would else ''}{would}",
            hint=f"`status`, `report` and `export` only look; if {owner} may act in your name: "
            f"--trust {owner}, or {TRUST}={owner}",
        )


def _user(uid: int) -> str:
    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)
