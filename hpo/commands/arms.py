"""A study and its arms: studies that continue from what it found, each in its own way.

`arms: {random: [strategy=random, budget.trials=5]}` makes a study NAME-random once NAME has ended,
with NAME's results as its own (`study.known`). So a pilot is paid for once, and what follows compares fairly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from hpo.commands.tune import tune
from hpo.comparison.arm_gains import gains_of
from hpo.comparison.tables import arms_table
from hpo.controller.assembly import assemble
from hpo.controller.compose import compose_config
from hpo.errors import InputError, Problem
from hpo.objectives import parse_objectives
from hpo.paths import StudyPaths
from hpo.study.journal import load_study
from hpo.study.state import TrialState

SEEDS_APART = 1000  # between a study's seed and those of its arms, which would repeat its random trials
PICTURE = "arms.png"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]{0,31}")


def drive(overrides: Sequence[str], config_dir: str | None, console: Console, *, once: bool) -> int:
    """Drive a study and then its arms, or each of them for one pass.

    Args:
        overrides: of the configuration, in Hydra's grammar.
        config_dir: a folder with the user's own configuration groups.
        console: where to show it.
        once: one pass (`step`).

    Returns:
        As `hpo.commands.tune.tune`; 0 only when no arm was interrupted.

    Raises:
        FrontrunnerError: as `hpo.commands.tune.tune`; bad input of an arm is told before anything starts.
    """
    composed = compose_config(overrides, config_dir)
    arms = _arms(*composed)
    if not arms:
        return tune(overrides, config_dir, console, once=once, composed=composed)
    places = _checked(overrides, arms, config_dir)
    status = tune(overrides, config_dir, console, once=once)
    if status or not _ended(places[0]):
        return status
    for own in arms.values():
        # a chained step looks at all of them, so that the last one draws the picture
        status = max(status, tune(with_arm(overrides, own), config_dir, console, once=once, again=overrides))
        if status and not once:
            return status
    if all(map(_ended, places)):
        _show(places[0], dict(zip(arms, places[1:], strict=True)), console)
    return status


def check(overrides: Sequence[str], config_dir: str | None) -> None:
    """See whether a study and its arms can be assembled; nothing is begun.

    Args:
        overrides: of the configuration, in Hydra's grammar.
        config_dir: a folder with the user's own configuration groups.

    Raises:
        InputError: with every problem.
    """
    _checked(overrides, _arms(*compose_config(overrides, config_dir)), config_dir)


def _arms(raw: Mapping[str, Any], problems: Sequence[Problem]) -> dict[str, list[str]]:
    return {} if problems else arms_of(raw)


def arms_of(raw: Mapping[str, Any]) -> dict[str, list[str]]:
    """The overrides that make each arm of a study out of the study's own.

    Args:
        raw: the composed configuration.

    Raises:
        InputError: `arms` is no mapping of names to lists of overrides.
    """
    given, study = raw.get("arms") or {}, raw["study"]
    shape = "expected {name: [override, ...]} with names of letters, digits and underscores"
    if not isinstance(given, Mapping):
        raise InputError([("arms", f"got {given!r}, {shape}")])
    arms = {}
    for place, (name, own) in enumerate(given.items(), 1):
        if not (
            _NAME.fullmatch(str(name)) and isinstance(own, list) and all(isinstance(o, str) for o in own)
        ):
            raise InputError([(f"arms.{name}", f"got {own!r}, {shape}")])
        identity = [
            f"study.name={study['name']}-{name}",
            f"study.known=[{study['name']}]",
            "study.enqueue=[]",
        ]
        arms[str(name)] = ["~arms", *identity, f"study.seed={study['seed'] + SEEDS_APART * place}", *own]
    return arms


def with_arm(overrides: Sequence[str], own: Sequence[str]) -> list[str]:
    """The overrides of an arm.

    Args:
        overrides: of the study; those that say what its arms are do not count for an arm.
        own: of the arm, as `arms_of` gives them.
    """
    return [*(text for text in overrides if not text.lstrip("+~").startswith("arms")), *own]


def _checked(
    overrides: Sequence[str], arms: Mapping[str, Sequence[str]], config_dir: str | None
) -> list[StudyPaths]:
    """The folders of the study and its arms, all of which can be assembled."""
    places = [assemble(*compose_config(overrides, config_dir)).paths]
    for name, own in arms.items():
        try:
            places.append(assemble(*compose_config(with_arm(overrides, own), config_dir)).paths)
        except InputError as error:
            raise InputError(
                [(f"arms.{name}: {key}" if key else f"arms.{name}", text) for key, text in error.problems]
            ) from error
    return places


def _ended(paths: StudyPaths) -> bool:
    return Path(paths.journal).exists() and bool(load_study(paths.journal).finished)


def _show(paths: StudyPaths, arms: Mapping[str, StudyPaths], console: Console) -> None:
    """Print the table of a study and its arms, which have ended, and draw their fronts."""
    study = load_study(paths.journal)
    objectives = parse_objectives(study.objectives)
    pilot = study.in_state(TrialState.COMPLETED)
    continued = {name: load_study(arm.journal).in_state(TrialState.COMPLETED) for name, arm in arms.items()}
    gains = gains_of(pilot, continued, objectives)
    console.print(arms_table(study.name, pilot, gains, objectives))
    if not pilot:
        return
    paths.report.mkdir(exist_ok=True)
    picture = paths.report / PICTURE
    from hpo.comparison.figures import draw_arms

    draw_arms(pilot, gains, objectives, picture)
    console.print(f"picture   {picture}", highlight=False, soft_wrap=True)
