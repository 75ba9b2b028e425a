"""What the arms of a study added to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hpo.objectives import Objective
from hpo.pareto import dominates, front, hypervolume, reference_point
from hpo.study.snapshot import objective_row
from hpo.study.state import Trial

Row = tuple[float, ...]


@dataclass(frozen=True)
class ArmGain:
    """What one arm added; rows are minimised."""

    trials: list[Trial]
    rows: list[Row]
    extending: list[int]  # trials on the front that no trial of the study dominates or equals
    volume: float  # hypervolume with the study, over the study's alone

    @property
    def extends(self) -> int:
        """How many of the arm's trials extend the front."""
        return len(self.extending)


def gains_of(
    pilot: list[Trial], arms: Mapping[str, list[Trial]], objectives: Mapping[str, Objective]
) -> dict[str, ArmGain]:
    """What each arm added to a study, from the completed trials of both.

    Hypervolumes have one reference point, that of all trials together.
    """
    known = [objective_row(trial, objectives) for trial in pilot]
    rows = {name: [objective_row(trial, objectives) for trial in trials] for name, trials in arms.items()}
    reference = reference_point(
        [*known, *(row for added in rows.values() for row in added)], dict(objectives)
    )
    alone = hypervolume(known, reference)
    gains = {}
    for name, added in rows.items():
        on_front = set(front([*known, *added]))
        extending = [
            number
            for number, row in enumerate(added)
            if len(known) + number in on_front and not any(dominates(k, row) or k == row for k in known)
        ]
        together = hypervolume([*known, *added], reference)
        gains[name] = ArmGain(arms[name], added, extending, together / alone if alone else float("nan"))
    return gains
