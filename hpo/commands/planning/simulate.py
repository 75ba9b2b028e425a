"""Runs a study many times on the simulated cluster, for when it ends and what it costs."""

from __future__ import annotations

import copy
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from hpo.commands.planning.model import model_of
from hpo.commands.tune import tune
from hpo.controller.assembly import Assembly, assemble
from hpo.controller.compose import compose_config
from hpo.errors import InputError
from hpo.forecasts.simulated import FEWEST, SimulatedEnds
from hpo.paths import StudyPaths
from hpo.records import write_json
from hpo.study.gpu_hours import Usage, used
from hpo.study.journal import load_study
from hpo.study.snapshot import elapsed_s
from hpo.study.state import Study
from hpo.study.store import refuse_unwritable

SEEDS = 1_000_003  # between those of two runs


def simulated(parts: Assembly, study: Study, runs: int, console: Console | None = None) -> SimulatedEnds:
    """Run what is left of a study so many times.

    Args:
        runs: at least `FEWEST`.
        console: for how far it is, where that is a terminal.

    Raises:
        InputError: there are too few runs, nothing is left, or nothing tells how long trials take.
    """
    if runs < FEWEST:
        got = f"got {runs}, expected at least {FEWEST}: of fewer runs no interval holds 90% of the true ends"
        raise InputError([("--simulate", got)])
    model, past = model_of(parts, study), used(study)
    elapsed = elapsed_s(study) if parts.paths.journal.exists() else 0.0
    hidden = console is None or not console.is_terminal
    seeds = track(range(1, runs + 1), "simulating the study", console=console, transient=True, disable=hidden)
    ends = [_run(model.raw, seed) for seed in seeds]
    hours = [past.hours + model.gpus * usage.hours for _, usage in ends]
    lost = [(past.lost + model.gpus * usage.lost) / 3600 for _, usage in ends]
    return SimulatedEnds(
        seconds=[elapsed + seconds for seconds, _ in ends],
        gpu_hours=hours,
        lost=[part / whole if whole else 0.0 for part, whole in zip(lost, hours, strict=True)],
        trials=study.spent - len(study.in_flight),
        about=model.about,
    )


def study_of(parts: Assembly) -> Study:
    """The study as it is now; one without trials where it has not begun."""
    journal = parts.paths.journal
    return load_study(journal) if journal.exists() else Study(uid="000000", name=parts.paths.name)


def print_forecast(overrides: Sequence[str], config_dir: str | None, runs: int) -> int:
    """Simulate a study, keep what came out and print it as JSON.

    Raises:
        InputError: the configuration cannot be used, or see `simulated`.
    """
    parts = assemble(*compose_config(overrides, config_dir))
    forecast = simulated(parts, study_of(parts), runs)
    keep(forecast, parts.paths)
    print(json.dumps(forecast.summary(), indent=1))
    return 0


def keep(forecast: SimulatedEnds, paths: StudyPaths) -> None:
    """Write a forecast to its study, or beside where that will be."""
    file = paths.forecast if paths.folder.exists() else paths.early_forecast
    refuse_unwritable(file.parent)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, forecast.to_json())


def _run(raw: Mapping[str, Any], seed: int) -> tuple[float, Usage]:
    """The study once, on a cluster of this seed: seconds until its end, and what it used."""
    with tempfile.TemporaryDirectory(prefix="frontrunner-plan-") as folder:
        own = copy.deepcopy(dict(raw))
        own["study"] |= {"root": folder, "name": "simulated", "seed": own["study"]["seed"] + SEEDS * seed}
        own["cluster"]["simulation_seed"] = seed
        umask = os.umask(0o077)
        try:
            tune([], None, Console(quiet=True), composed=(own, []))
        finally:
            os.umask(umask)
        study = load_study(StudyPaths(Path(folder) / "simulated").journal)
        return elapsed_s(study), used(study)
