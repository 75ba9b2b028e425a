"""What the arms of a study added to it: a table, and a picture of the fronts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from hpo.formatting import number
from hpo.objectives import Objective, parse_objectives
from hpo.pareto import dominates, front, hypervolume, reference_point
from hpo.paths import StudyPaths
from hpo.study.journal import load_study
from hpo.study.snapshot import objective_row
from hpo.study.state import Trial, TrialState

PICTURE = "arms.png"
Row = tuple[float, ...]


@dataclass(frozen=True)
class ArmGain:
    """What one arm added; rows are minimised."""

    trials: list[Trial]
    rows: list[Row]
    extending: list[int]  # trials on the front that no trial of the study dominates or equals
    volume: (
        float  # hypervolume with the study, as a ratio to the study's alone; one objective: the best value
    )

    @property
    def extends(self) -> int:
        """How many of the arm's trials extend the front."""
        return len(self.extending)


def show(paths: StudyPaths, arms: Mapping[str, StudyPaths], console: Console) -> None:
    """Print the table of the arms, and draw their fronts.

    Args:
        paths: of the study, which has ended.
        arms: paths of each arm, which have ended too.
        console: where to print.
    """
    study = load_study(paths.journal)
    objectives = parse_objectives(study.objectives)
    pilot = study.in_state(TrialState.COMPLETED)
    continued = {name: load_study(own.journal).in_state(TrialState.COMPLETED) for name, own in arms.items()}
    gains = gains_of(pilot, continued, objectives)
    console.print(_table(study.name, pilot, gains, objectives))
    if not pilot:
        return
    paths.report.mkdir(exist_ok=True)
    picture = paths.report / PICTURE
    from hpo.comparison.arms_figure import draw

    draw(pilot, gains, objectives, picture)
    console.print(f"picture   {picture}", highlight=False, soft_wrap=True)


def gains_of(
    pilot: list[Trial], arms: Mapping[str, list[Trial]], objectives: Mapping[str, Objective]
) -> dict[str, ArmGain]:
    """What each arm added to a study.

    Args:
        pilot: the study's completed trials.
        arms: those of each arm.
        objectives: of all of them.

    Returns:
        By arm. Hypervolumes have one reference point, that of all trials together.
    """
    known = [objective_row(trial, objectives) for trial in pilot]
    rows = {name: [objective_row(trial, objectives) for trial in trials] for name, trials in arms.items()}
    reference = reference_point([*known, *(row for own in rows.values() for row in own)], dict(objectives))
    alone = hypervolume(known, reference)
    found = {}
    for name, own in rows.items():
        on_front = set(front([*known, *own]))
        extending = [
            number
            for number, row in enumerate(own)
            if len(known) + number in on_front and not any(dominates(k, row) or k == row for k in known)
        ]
        together = hypervolume([*known, *own], reference)
        found[name] = ArmGain(arms[name], own, extending, together / alone if alone else float("nan"))
    return found


def _table(
    name: str, pilot: list[Trial], gains: Mapping[str, ArmGain], objectives: Mapping[str, Objective]
) -> Table:
    table = Table(title=f"Arms of {name}", title_justify="left", box=None, pad_edge=False)
    for title in ("arm", "trials", "on the front, and better than the study's"):
        table.add_column(title, justify="left" if title == "arm" else "right")
    single = len(objectives) == 1
    table.add_column(
        f"best {next(iter(objectives))}" if single else "hypervolume, as a ratio", justify="right"
    )
    rows = [objective_row(trial, objectives) for trial in pilot]
    sign = -1.0 if single and next(iter(objectives.values())).direction == "max" else 1.0
    best = number(sign * min(rows)[0]) if single and rows else "1"
    table.add_row("(the study)", str(len(pilot)), "", best)
    for arm, gain in gains.items():
        volume = "the study's is 0" if math.isnan(gain.volume) else number(gain.volume)
        value = number(sign * min([*rows, *gain.rows])[0]) if single and rows else volume
        table.add_row(arm, str(len(gain.trials)), f"{gain.extends} of {len(gain.trials)}", value)
    return table
