"""From a study to the specs of its next trials: the optimiser rebuilt by replay, then asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from hpo.errors import FitError
from hpo.forecasts.memory import Forecaster
from hpo.models.history import derive_seed
from hpo.objectives import Objective
from hpo.optimizer import Optimizer
from hpo.records import Params, ParamValue, TrialSpec
from hpo.space.partial import completed_params
from hpo.space.space import SearchSpace
from hpo.study.recipe import apply_params, content_hash
from hpo.study.results import tell_results
from hpo.study.state import LeftToGain, Study, trial_id
from hpo.tracking import TrackingSettings
from hpo.validation import strategy_settings

FEWEST_TO_WEIGH = 8  # results before it is asked what is left to gain


@dataclass(frozen=True)
class ProposedTrial:
    """A trial to be: its spec, where it came from, and what was noted on the way."""

    spec: TrialSpec
    origin: str
    note: str

    def to_event(self) -> dict[str, Any]:
        """As the journal records it."""
        return {
            "trial": self.spec.trial,
            "number": self.spec.number,
            "params": self.spec.params,
            "seed": self.spec.seed,
            "origin": self.origin,
            "note": self.note,
        }


class Proposer(Protocol):
    """Makes the next trials of a study; the same study always gives the same ones."""

    exhausted: bool
    outlook: LeftToGain | None  # of the last proposals, where it was asked for

    def propose(self, study: Study, room: int) -> list[ProposedTrial]:
        """At most `room` new trials; fewer where there are no more."""

    def make_trials(self, study: Study, chosen: Sequence[tuple[Params, str, str]]) -> list[ProposedTrial]:
        """The next trials of a study, from (parameters, origin, note) of each."""


@dataclass
class SearchProposer:
    """Makes the next trials of a study; the same study always gives the same ones.

    Args:
        space: what to search.
        objectives: what to optimise, by metric name.
        strategy: name and settings of the strategy.
        recipe: of every trial, before its parameters are applied.
        enqueue: parameters to try first, in this order; some may be missing.
        cache: absolute path of the cache.
        forecaster: of what trials take of a card; None: nothing is foretold.
        tracking: who follows the trials; None: nobody.
        early: where they measure on their way, as fields of a spec.
        weighs: whether to say with every proposal what is left to gain.
    """

    space: SearchSpace
    objectives: Mapping[str, Objective]
    strategy: Mapping[str, Any]
    recipe: Mapping[str, Any]
    seed: int
    enqueue: list[Params]
    cache: str
    forecaster: Forecaster | None = None
    tracking: TrackingSettings | None = None
    early: Mapping[str, Any] = field(default_factory=dict)
    exhausted: bool = False
    weighs: bool = False
    outlook: LeftToGain | None = None

    def propose(self, study: Study, room: int) -> list[ProposedTrial]:
        """At most `room` new trials; fewer where the strategy has no more."""
        if room <= 0:
            return []
        first = study.next_number
        given = self._enqueued(first, room)
        chosen = [(params, "enqueued", "") for params in given]
        wanted = room - len(given)
        if wanted:
            optimizer = self.optimizer(study)
            for params in given:
                optimizer.add_pending(params)
            self.outlook = left_to_gain(optimizer) if self.weighs else None
            proposals = optimizer.propose(wanted)
            self.exhausted = len(proposals) < wanted
            chosen += [(proposal.params, proposal.origin, proposal.note) for proposal in proposals]
        return self.make_trials(study, chosen)

    def _enqueued(self, first: int, room: int) -> list[Params]:
        """What was given by hand for trials from number `first` on; what is missing is filled in."""
        given = enumerate(self.enqueue[first : first + room], first)
        return [enqueued_params(self.space, params, self.seed, number) for number, params in given]

    def make_trials(self, study: Study, chosen: Sequence[tuple[Params, str, str]]) -> list[ProposedTrial]:
        """The next trials of a study, from (parameters, origin, note) of each."""
        first = study.next_number
        factor = self.forecaster.memory(study).factor if self.forecaster else 1.0
        return [
            ProposedTrial(self._spec(study, first + offset, params, factor), origin, note)
            for offset, (params, origin, note) in enumerate(chosen)
        ]

    def optimizer(self, study: Study) -> Optimizer:
        """The optimiser, told everything that the study knows."""
        settings = strategy_settings(self.strategy)
        optimizer = Optimizer(
            self.space,
            self.objectives,
            strategy=self.strategy["name"],
            seed=self.seed,
            feasibility_prior=self.forecaster.fit_probability(study) if self.forecaster else None,
            **settings,
        )
        tell_results(optimizer, study)
        return optimizer

    def _spec(
        self, study: Study, number: int, params: Mapping[str, ParamValue], memory_factor: float
    ) -> TrialSpec:
        return TrialSpec(
            study=study.name,
            trial=trial_id(number),
            number=number,
            params=dict(params),
            recipe=apply_params(self.recipe, self.space.in_recipe(params)),
            objectives=list(self.objectives),
            seed=trial_seed(self.seed, number),
            cache=self.cache,
            recipe_hash=content_hash(self.recipe),
            memory_factor=memory_factor,
            tracking=self.tracking.for_trials(study.uid) if self.tracking else {},
            **self.early,
        )


def left_to_gain(optimizer: Optimizer) -> LeftToGain | None:
    """What the next trials may add; None where too little is known for a model."""
    from hpo.models.early.foretold import with_foretold
    from hpo.models.early.outlook import Outlook

    history = optimizer.history
    results = len(history.observations)
    if results < FEWEST_TO_WEIGH or not len(history.space):
        return None
    try:
        outlook = Outlook(with_foretold(history)[0])
        return LeftToGain(results, outlook.fresh(), outlook.noise)
    except FitError:
        return None


def enqueued_params(space: SearchSpace, given: Params, study_seed: int, number: int) -> Params:
    """The configuration of an enqueued trial: a function of these alone, so that a replay gives the same.

    Nothing is known yet of first trials; what is not given is where the study's Sobol sequence has it.

    Raises:
        InputError: the values are not of the space, or no configuration has them.
    """
    return completed_params(space, given, derive_seed(study_seed, "sobol"), number)


def trial_seed(study_seed: int, number: int) -> int:
    """The seed of a trial, a number below 2^31, from those of its study and itself."""
    return int(content_hash([study_seed, number])[:8], 16) % 2**31
