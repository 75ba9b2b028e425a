"""Sweeps over whole studies: `tune -m experiment=a,b seed=1,2,3` makes one study per combination.

A study of a sweep that stops by errors does not keep the others from running.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product

from rich.console import Console

from hpo.commands.arms import check, drive
from hpo.controller.compose import compose_config, swept
from hpo.errors import InputError, StudyError

LONGEST = 64  # characters of a study's name


def drive_all(
    studies: Sequence[Sequence[str]], config_dir: str | None, console: Console, *, once: bool
) -> int:
    """Drive one study after the other, or each for one pass, once all of them are seen to be right.

    Args:
        studies: the overrides of each, as `expand` gives them.
        config_dir: a folder with the user's own configuration groups.
        console: where to show it.
        once: one pass (`step`).

    Returns:
        0, or 3 when one was interrupted: those behind it were not begun.

    Raises:
        FrontrunnerError: as `hpo.commands.arms.drive`.
        StudyError: with every study that stopped, after the others have run.
    """
    for own in studies:
        check(own, config_dir)
    stopped = []
    for own in studies:
        try:
            if status := drive(own, config_dir, console, once=once):
                return status
        except StudyError as error:
            name = own[-1].partition("=")[2]
            console.print(f"study {name} stopped: {error}", markup=False, highlight=False, soft_wrap=True)
            stopped.append(name)
    if stopped:
        raise StudyError(
            f"{len(stopped)} of {len(studies)} studies of the sweep stopped: {', '.join(stopped)}",
            hint="the same command goes on with these",
        )
    return 0


def expand(overrides: Sequence[str], config_dir: str | None = None) -> list[list[str]]:
    """The overrides of each study of a sweep.

    Args:
        overrides: in Hydra's grammar; `key=a,b`, `choice` and `range` are swept over, but not under `space.`
            and `objectives.`, where they say what is searched.
        config_dir: a folder with the user's own configuration groups.

    Returns:
        One list per combination, in the order of Hydra's own sweeps (the last key changes fastest). Where
        there is a sweep, `study.name` is set to the study's own name with the swept values behind it.

    Raises:
        InputError: a sweep that does not list its values, or two studies of one name.
    """
    choices = [swept(text) for text in overrides]
    places = [place for place, of in enumerate(choices) if len(of) > 1]
    if not places:
        return [list(overrides)]
    studies = [list(combination) for combination in product(*choices)]
    for own in studies:
        raw, problems = compose_config(own, config_dir)
        if problems:
            raise InputError(problems)
        values = [own[place] for place in places if not own[place].startswith("experiment=")]
        named = "-".join([raw["study"]["name"], *map(_short, values)])[:LONGEST]
        own.append(f"study.name={named}")
    names = [own[-1] for own in studies]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(
            [("study.name", f"got {twice.partition('=')[2]} for two studies of the sweep, expected one each")]
        )
    return studies


def _short(override: str) -> str:
    """What a swept value adds to the name: seed=1 is seed1, strategy=bo is bo."""
    key, _, value = override.partition("=")
    last = key.lstrip("+").rpartition(".")[2]
    named = value if not re.match(r"[-+.\d]", value) else f"{last}{value}"
    return re.sub(r"[^A-Za-z0-9.]+", "_", named).strip("_")
