"""What earlier studies found, taken along into a new one when it is created."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo.errors import InputError
from hpo.journal import load_study
from hpo.objectives import Objective
from hpo.prior import is_table, read_trials
from hpo.space.space import SearchSpace
from hpo.store import find_study
from hpo.study import TrialState

_FEWEST = 2


def gather(
    settings: Mapping[str, Sequence[str]], root: Path, space: SearchSpace, objectives: Mapping[str, Objective]
) -> dict[str, list[dict[str, Any]]]:
    """The results of earlier studies, as the journal of a new one keeps them.

    Args:
        settings: `known` and `related`, each a list of study names or folders, or CSV files (`hpo.prior`).
        root: where studies are.
        space: of the new study; trials outside it are left out.
        objectives: of the new study; trials without one of them are left out.

    Returns:
        `known` and `related`, each a list of studies: name and trials (params, and metrics as [value,
        standard error or None]).

    Raises:
        InputError: a study or file that is not there, or with fewer than two trials that fit, by key path.
    """
    problems, found = [], dict[str, list[dict[str, Any]]]()
    for key in ("known", "related"):
        found[key] = []
        for name in settings[key]:
            try:
                found[key].append({"study": name, "trials": _trials(name, root, space, objectives)})
            except InputError as error:
                problems += error.under(f"study.{key}")
    if problems:
        raise InputError(problems)
    return found


def _trials(
    name: str, root: Path, space: SearchSpace, objectives: Mapping[str, Objective]
) -> list[dict[str, Any]]:
    if is_table(name):
        rows = read_trials(Path(name), space, objectives)
        if len(rows) < _FEWEST:
            raise InputError(f"{name}: expected at least {_FEWEST} completed trials, got {len(rows)}")
        return rows
    study = load_study(find_study(name, root).journal)
    completed = study.in_state(TrialState.COMPLETED)
    trials = [
        {
            "params": trial.params,
            "metrics": {
                own: [trial.metrics[own].value, trial.metrics[own].standard_error] for own in objectives
            },
        }
        for trial in completed
        if space.contains(trial.params) and all(own in trial.metrics for own in objectives)
    ]
    if len(trials) < _FEWEST:
        raise InputError(
            f"expected a study with at least {_FEWEST} completed trials in this search space that measured "
            f"{', '.join(objectives)}; of the {len(completed)} completed trials of {name}, {len(trials)} fit"
        )
    return trials
