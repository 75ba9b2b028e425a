"""Sweeps over whole studies: `tune -m experiment=a,b seed=1,2,3` makes one study per combination."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product

from hpo.compose import compose_config, swept
from hpo.errors import InputError

LONGEST = 64  # characters of a study's name


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
