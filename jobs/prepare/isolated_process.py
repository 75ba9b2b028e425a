"""Runs a piece of work that loads torch in a process of its own, so that the caller stays light."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.errors import TrialError


def run_isolated(
    module: str, recipe: Mapping[str, Any], cache: str, say: Callable[[str], None], *more: str
) -> None:
    """Run `python -m MODULE RECIPE.json CACHE`.

    Args:
        say: told what it prints, a line at a time.

    Raises:
        TrialError: with what it complained of.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipe.json"
        file.write_text(json.dumps(dict(recipe)), encoding="utf-8")
        _run([sys.executable, "-m", module, str(file), cache, *more], say)


def entry(work: Callable[..., None]) -> Callable[..., int]:
    """The `main` of a module that `run_isolated` runs: it does the work, and tells on stderr what went wrong.

    Args:
        work: called with the recipe, the root of the cache and the further arguments.

    Returns:
        What is called with the command line and returns the exit code: 0, or 2 after a message.
    """

    def main(recipe_file: str, cache: str, *more: str) -> int:
        try:
            work(json.loads(Path(recipe_file).read_text(encoding="utf-8")), Path(cache), *more)
        except TrialError as error:
            print(error, file=sys.stderr)
            return 2
        return 0

    return main


def _run(command: Sequence[str], say: Callable[[str], None]) -> None:
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as complaints,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            say(line.rstrip())
        if process.wait() != 0:
            complaints.seek(0)
            raise TrialError(complaints.read().strip() or f"{command[2]} ended with {process.returncode}")
