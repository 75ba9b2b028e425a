"""Which trials end at a rung: what they measured there is journalled, judged at once, and marked."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from hpo.controller.limits import Limits
from hpo.errors import FitError
from hpo.fidelity.asha import goes_on
from hpo.fidelity.gain import FEWEST, Judge
from hpo.objectives import Objectives, parse_objectives
from hpo.pareto import Row, minimised
from hpo.paths import StudyPaths
from hpo.records import Metric, RecordError, RungRecord, read_rungs
from hpo.study.journal import Journal
from hpo.study.state import Event, Study, Trial, TrialState


@dataclass
class Stopping:
    """Looks at the rungs of the trials in flight.

    Args:
        limits: whether trials measure at rungs, and whether they may be stopped there.
        say: told of files that cannot be read, once each.
        judge: of `gain`; None: no trial is weighed.
    """

    paths: StudyPaths
    journal: Journal
    limits: Limits
    say: Callable[[str], None]
    judge: Judge | None = None
    _read: dict[str, int] = field(default_factory=dict, init=False)  # trial -> bytes that were looked at
    _rows: dict[float, list[Row]] = field(default_factory=dict, init=False)  # rung -> see `_known`

    def look(self, ending: Collection[str]) -> None:
        """Journal new rungs, say of each whether the trial ends there, and mark those that do.

        Args:
            ending: trials of which files tell an end, or more: a result wins, so they are not stopped.
        """
        if not self.limits.measures:
            return
        study = self.journal.study
        trials = study.in_state(TrialState.OPEN)
        news = [(trial, record) for trial in trials for record in self._news(trial)]
        objectives = parse_objectives(study.objectives) if news else {}
        reached = [(record.rung, minimised(_values(record.metrics), objectives)) for _, record in news]
        for place, (trial, record) in enumerate(news):
            stop = trial.id not in ending and self._stops(study, objectives, reached, place)
            why: dict[str, Any] = {}
            if self.judge and trial.id not in ending and not trial.stopping:
                stop, why = _weighed(self.judge, study, trial, record, behind=stop)
            self.journal.record(
                Event.RUNG_REACHED,
                trial=trial.id,
                attempt=record.attempt,
                rung=record.rung,
                share=record.share,
                metrics={name: asdict(metric) for name, metric in record.metrics.items()},
                stop=stop,
                **why,
            )
            reached[place] = (math.nan, ())  # the study has it now
        for trial in trials:
            if trial.stopping and not self.paths.trial(trial.id).stop.exists():
                self.journal.confirm()
                self.paths.trial(trial.id).stop.touch()

    def _news(self, trial: Trial) -> list[RungRecord]:
        path = self.paths.trial(trial.id).rungs
        try:
            size = path.stat().st_size
            if size == self._read.get(trial.id):
                return []
            self._read[trial.id] = size
            known = {own.rung for own in trial.rungs}
            return [record for record in read_rungs(path, trial.id) if record.rung not in known]
        except FileNotFoundError:
            return []
        except RecordError as error:
            self.say(f"{error}; trial {trial.id} goes on without its rungs")
            return []

    def _stops(
        self, study: Study, objectives: Objectives, reached: Sequence[tuple[float, Row]], place: int
    ) -> bool:
        """Whether a trial ends at the rung that it has reached, with all that have reached it by now."""
        if self.limits.reduction is None:
            return False
        rung, own = reached[place]
        known = self._known(study, objectives, rung)
        rows = [*known, own, *(row for at, row in reached[place + 1 :] if at == rung)]
        fewest = FEWEST if self.judge else 0  # what foretells the others has to end first
        return all(map(math.isfinite, own)) and not goes_on(rows, len(known), self.limits.reduction, fewest)

    def _known(self, study: Study, objectives: Objectives, rung: float) -> list[Row]:
        """What every trial that the study knows to have reached a rung had there, in that order."""
        rows = self._rows.setdefault(rung, [])
        new = study.reached.get(rung, [])[len(rows) :]
        rows += [minimised(_values(measured.metrics), objectives) for measured in new]
        return rows


def _weighed(
    judge: Judge, study: Study, trial: Trial, record: RungRecord, *, behind: bool
) -> tuple[bool, dict[str, Any]]:
    """Whether a trial ends by what going on is worth, and what is journalled of it.

    Args:
        behind: whether it ends where its end cannot be foretold.
    """
    try:
        worth = judge.worth(study, trial, record)
    except FitError as error:
        return behind, {"note": f"compared at the rung alone: {error}"}
    return worth.ends(judge.risk), {"worth": asdict(worth)}


def thaw(journal: Journal, paths: StudyPaths, trial: Trial) -> None:
    """Let a stopped trial go on from its checkpoint; the next look submits its next attempt."""
    journal.confirm()
    paths.trial(trial.id).stop.unlink(missing_ok=True)
    journal.record(Event.TRIAL_THAWED, trial=trial.id)


def _values(metrics: Mapping[str, Metric]) -> dict[str, float]:
    return {name: metric.value for name, metric in metrics.items()}
