"""Which adapters a study keeps: others are deleted with their checkpoints, once the journal says so.

Two sides look at each other's mark before they act. Who is about to use an adapter marks it, then reads the
journal; the controller tells the journal, then looks for the mark. So none is deleted that somebody uses.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import suppress

from hpo.objectives import Objective
from hpo.paths import StudyPaths, TrialPaths
from hpo.study.journal import Journal, load_study
from hpo.study.snapshot import pareto_trials
from hpo.study.state import Event, Study, Trial, TrialState

ALL, FRONT, NONE = "all", "front", "none"  # values of study.keep_adapters


def superfluous(study: Study, objectives: dict[str, Objective], keep: str) -> list[Trial]:
    """The completed trials whose adapters are there and need not be kept."""
    if keep == ALL:
        return []
    front = {trial.id for trial in pareto_trials(study, objectives)} if keep == FRONT else set()
    completed = study.in_state(TrialState.COMPLETED)
    return [trial for trial in completed if not trial.adapter_deleted and trial.id not in front]


def give_up(journal: Journal, paths: StudyPaths, trials: Iterable[Trial]) -> None:
    """Delete what trials have left of weights, but for those that are marked as used."""
    free = [trial.id for trial in trials if not paths.trial(trial.id).adapter_used.exists()]
    if free:
        journal.record(Event.ADAPTERS_DELETED, trials=free)
        for name in free:
            journal.confirm()
            delete_weights(paths.trial(name))


def delete_given_up(study: Study, paths: StudyPaths) -> None:
    """Delete what a controller could not, as it was killed after it had told the journal."""
    for trial in study.in_state(TrialState.COMPLETED):
        if trial.adapter_deleted:
            delete_weights(paths.trial(trial.id))


def delete_weights(files: TrialPaths) -> None:
    """Delete adapter and checkpoints of a completed trial, unless it is marked as used."""
    if not files.adapter_used.exists():
        shutil.rmtree(files.adapter, ignore_errors=True)
        shutil.rmtree(files.checkpoints, ignore_errors=True)


def use(paths: StudyPaths, trial: Trial) -> bool:
    """Mark the adapter of a trial as used, for good; False where it has been deleted."""
    mark = paths.trial(trial.id).adapter_used
    with suppress(OSError):  # of a study that we may read alone, whose controller is somebody else's
        mark.touch()
    deleted = load_study(paths.journal).trials[trial.id].adapter_deleted
    if deleted:
        with suppress(OSError):
            mark.unlink()
    return not deleted
