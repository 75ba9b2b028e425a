"""Which trials end at a rung by what going on is worth: `fidelity.stopping=gain`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import fmean

from hpo.errors import FitError
from hpo.optimizer import Optimizer
from hpo.records import Metric, RungRecord
from hpo.study.results import curve_of
from hpo.study.state import Rung, Study, Trial, TrialState

SECONDS = "train_seconds"  # grows with the steps, so that a rung foretells it for the full length

FEWEST = 4  # trials at a rung that go on in any case, so that something is learned of what comes after it


@dataclass(frozen=True)
class Worth:
    """What is believed of a trial at a rung.

    Args:
        gain: expected of its end, as a share of the hypervolume.
        fresh: expected of the best new trial, likewise.
        chance: that its end is on the front.
        left: of its cost, in units of what a trial of this study takes until it ends, at a rung or at last.
    """

    gain: float
    fresh: float
    chance: float
    left: float

    def ends(self, risk: float) -> bool:
        """Whether its GPU is worth more to a new trial, and it is no likely member of the front.

        Args:
            risk: the largest chance to be on the front at which a trial may end; expected gains of nearly
                nothing on both sides are compared within the noise, and then it is this that decides.
        """
        return self.chance < risk and self.gain < self.fresh * self.left


@dataclass(frozen=True)
class Judge:
    """Weighs trials at rungs.

    Args:
        told: an optimiser that is told a study.
        risk: see `Worth.ends`.
    """

    told: Callable[[Study], Optimizer]
    risk: float

    def worth(self, study: Study, trial: Trial, record: RungRecord) -> Worth:
        """What going on is worth.

        Args:
            trial: of the study.
            record: of the rung, which the study does not have yet.

        Raises:
            FitError: too few trials have gone on from there, or the numbers failed.
        """
        # torch: loaded when the first trial is judged
        from hpo.models.early.foretold import foretold_of, with_foretold
        from hpo.models.early.outlook import Outlook

        others = {name: own for name, own in study.trials.items() if name != trial.id}
        optimizer = self.told(replace(study, trials=others))
        if not len(optimizer.space):
            raise FitError("nothing varies in the search space")
        if not optimizer.space.contains(trial.params):
            raise FitError(f"trial {trial.id} is not of the search space")
        rung = Rung(record.rung, record.share, dict(record.metrics))
        alone = Optimizer(optimizer.space, optimizer.objectives)
        alone.tell_curve(trial.params, curve_of(optimizer, replace(trial, rungs=[*trial.rungs, rung])))
        [curve] = alone.history.curves
        history = optimizer.history
        history = replace(history, curves=tuple(sorted((*history.curves, curve))))
        end = foretold_of(history, curve)
        outlook = Outlook(with_foretold(history)[0])
        gain, chance = outlook.finishing(end.draws)
        left = (1.0 - record.share) * _length(study, record.metrics) / _share(study)
        return Worth(gain, outlook.fresh(), chance, left)


def _share(study: Study) -> float:
    """How much of its length a trial takes: a new one may end at a rung as well."""
    whole = len(study.in_state(TrialState.COMPLETED))
    parts = [trial.rungs[-1].share for trial in study.in_state(TrialState.STOPPED) if trial.rungs]
    return (whole + sum(parts)) / (whole + len(parts)) if whole else 1.0


def _length(study: Study, metrics: Mapping[str, Metric]) -> float:
    """How long a trial takes, in units of what trials of this study take; 1 where nobody says."""
    known = [
        trial.metrics[SECONDS].value
        for trial in study.in_state(TrialState.COMPLETED)
        if SECONDS in trial.metrics
    ]
    if SECONDS not in metrics or not known or fmean(known) <= 0:
        return 1.0
    return metrics[SECONDS].value / fmean(known)
