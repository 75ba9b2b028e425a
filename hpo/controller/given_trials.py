"""Trials that were decided on beforehand: what `train`, `merge` and `evaluate` hand to the controller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo.controller.proposer import ProposedTrial
from hpo.records import Params, TrialSpec
from hpo.study.recipe import content_hash
from hpo.study.state import LeftToGain, Study, trial_id
from hpo.tracking import TrackingSettings

ORIGIN = "given"


@dataclass(frozen=True)
class GivenTrial:
    """One trial; its parameters tell it from the others and are what is shown of it."""

    params: Params
    recipe: Mapping[str, Any]  # resolved, with everything applied
    seed: int
    adapter: str | None = None  # see `hpo.records.TrialSpec`


@dataclass(frozen=True)
class GivenTrials:
    """All that a study is made of in place of a search.

    Args:
        trials: more may be given later; those that the study has already are not made again.
        target: `module:function` that runs one.
        of: which study and trial they come from; it may not change while the study goes on.
    """

    trials: Sequence[GivenTrial]
    target: str
    of: Mapping[str, Any]

    def missing(self, study: Study) -> list[GivenTrial]:
        """The trials that a study does not have yet."""
        known = [trial.params for trial in study.trials.values()]
        return [one for one in self.trials if dict(one.params) not in known]

    def proposer(
        self,
        objectives: list[str],
        cache: str,
        tracking: TrackingSettings = TrackingSettings(),  # noqa: B008
    ) -> GivenProposer:
        """What makes their specs."""
        return GivenProposer(self, objectives, cache, tracking)


@dataclass
class GivenProposer:
    """See `hpo.controller.proposer.Proposer`."""

    given: GivenTrials
    objectives: list[str]
    cache: str
    tracking: TrackingSettings
    exhausted: bool = False
    outlook: LeftToGain | None = None

    def propose(self, study: Study, room: int) -> list[ProposedTrial]:
        """The next trials that the study does not have yet, at most `room`."""
        missing = self.given.missing(study)
        self.exhausted = len(missing) <= room
        return [
            ProposedTrial(self._spec(study, study.next_number + place, one), ORIGIN, "")
            for place, one in enumerate(missing[: max(0, room)])
        ]

    def make_trials(self, study: Study, chosen: Sequence[tuple[Params, str, str]]) -> list[ProposedTrial]:
        """As many of the next trials as were chosen: which ones is decided already."""
        return self.propose(study, len(chosen))

    def _spec(self, study: Study, number: int, one: GivenTrial) -> TrialSpec:
        return TrialSpec(
            study=study.name,
            trial=trial_id(number),
            number=number,
            params=dict(one.params),
            recipe=dict(one.recipe),
            objectives=self.objectives,
            seed=one.seed,
            cache=self.cache,
            recipe_hash=content_hash(one.recipe),
            adapter=one.adapter,
            tracking=self.tracking.for_trials(study.uid),
        )
