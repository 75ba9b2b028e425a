"""The trial kind of conf/trainer/command.yaml: what can be known of a trial of an external program."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.kinds.base import Unforetold
from jobs.recipes.command import TRAIN_SECONDS, CommandRecipe, Problem, examine


class Command(Unforetold):
    """See `hpo.ports.TrialKind`; model, data and evaluation of the recipe are not used."""

    @property
    def target(self) -> str:
        """`module:function` that runs a trial."""
        return "jobs.run_command:main"

    def resolve(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """The recipe with the folder of the program made absolute; null is where the command is given."""
        trainer = dict(recipe["trainer"])
        trainer["cwd"] = str(_folder(trainer.get("cwd")))
        return {**recipe, "trainer": trainer}

    def problems(self, recipe: Mapping[str, Any]) -> Sequence[Problem]:
        """(key path, what is wrong) for everything that is wrong with the trainer."""
        trainer, found = examine(recipe)
        if trainer is not None:
            found += _missing(trainer)
        return found

    def metrics(self, recipe: Mapping[str, Any]) -> Sequence[str]:
        """The names of the metrics that every trial reports."""
        trainer, _ = examine(recipe)
        own = [] if trainer is None else trainer.metrics
        return (*own, TRAIN_SECONDS)

    def early_metrics(self, recipe: Mapping[str, Any], *, documents: bool) -> Sequence[str]:
        """Whatever it reports: whether it does so early is the program's own affair."""
        return self.metrics(recipe)

    def prepare(self, recipe: Mapping[str, Any], cache: str, say: Callable[[str], None]) -> None:
        """Nothing: what the program needs is its own."""

    def preview(self, recipe: Mapping[str, Any], cache: str, say: Callable[[str], None]) -> None:
        """Tell that the data are the program's own."""
        say("the program of trainer.argv reads its own data: nothing to show")

    def check(self, recipe: Mapping[str, Any], cache: str) -> Sequence[tuple[str, str, str]]:
        """Whether this machine has the program.

        Returns:
            (level, what, hint) per line.
        """
        trainer, _ = examine(recipe)  # values that only the space gives may be missing, which is no problem
        if trainer is None or not trainer.argv:
            return [("fail", "trainer.argv: got no program, expected one", "")]
        program = str(trainer.argv[0])
        if "{" in program:
            return [("ok", f"the program {program} is chosen by the trial", "")]
        found = shutil.which(program, path=str(trainer.env.get("PATH") or os.environ.get("PATH", "")))
        if found or os.sep in program:  # `problems` has looked for a path
            return [("ok", f"the program of trainer.argv: {found or program}", "")]
        hint = "nodes may have it where cluster.setup loads it; else name it by its path"
        return [("warn", f"no program {program} on this machine's PATH", hint)]


def _folder(cwd: str | None) -> Path:
    return Path(cwd).expanduser().resolve() if cwd else Path.cwd()


def _missing(trainer: CommandRecipe) -> list[Problem]:
    """A folder or a program that is named by its path and is not there."""
    folder = _folder(trainer.cwd)
    if not folder.is_dir():
        return [("trainer.cwd", f"got {str(folder)!r}, expected an existing folder")]
    program = str(trainer.argv[0]) if trainer.argv else ""
    named = os.sep in program and "{" not in program
    if named and not os.access(folder / program, os.X_OK):
        return [
            ("trainer.argv[0]", f"got {program!r}, expected a program that may be run, seen from {folder}")
        ]
    return []
