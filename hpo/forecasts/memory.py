"""What is foretold of whether configurations fit the card, given what finished trials have measured.

All of it follows from the configuration and the journal, so that a replay foretells the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from statistics import NormalDist
from typing import Any

from hpo.forecasts.cards import CardRates
from hpo.ports import TrialKind
from hpo.records import Params, ParamValue
from hpo.space.extremes import extreme_values
from hpo.space.space import SearchSpace
from hpo.study.recipe import apply_params, key_path
from hpo.study.state import Study, TrialState

# Beyond these the model of feasibility takes one probability like any other: two deviations either way.
_LEAST, _MOST = NormalDist().cdf(-2.0), NormalDist().cdf(2.0)
_CORNERS = 256  # combinations of extreme values that are looked at


@dataclass(frozen=True)
class CardMemory:
    """What is known of the cards that trials get.

    Args:
        card: bytes of a card; None where they are not known.
        factor: measured over foretold peaks of the trials so far.
        trials: how many have measured theirs.
    """

    card: float | None
    factor: float
    trials: int


@dataclass
class Forecaster:
    """Forecasts memory and training effort of a study's trials.

    Args:
        recipe: of every trial, before its parameters are applied.
        cache: absolute path.
        given_gib: memory of a card as the user gives it; None: that of the smallest that trials have met.
        rates: what a card achieves in training; None: not known.
    """

    kind: TrialKind
    space: SearchSpace
    recipe: Mapping[str, Any]
    cache: str
    given_gib: float | None
    rates: CardRates | None = None
    _probabilities: dict[CardMemory, FitProbability | None] = field(default_factory=dict, repr=False)

    def memory(self, study: Study) -> CardMemory:
        """What is known by now."""
        trials = study.in_state(TrialState.COMPLETED)
        results = [{name: metric.value for name, metric in trial.metrics.items()} for trial in trials]
        seen = self.kind.memory_seen(results)
        card = seen.get("card") if self.given_gib is None else self.given_gib * 2**30
        return CardMemory(card, seen["factor"], round(seen["trials"]))

    def peak(self, recipe: Mapping[str, Any], memory: CardMemory) -> Mapping[str, float] | None:
        """What a recipe takes at its peak, see `hpo.ports.TrialKind.peak_memory`."""
        return self.kind.peak_memory(recipe, self.cache, memory.card, memory.factor)

    def effort(self, recipe: Mapping[str, Any], memory: CardMemory) -> Mapping[str, float] | None:
        """What a recipe computes, see `hpo.ports.TrialKind.training_effort`."""
        return self.kind.training_effort(recipe, self.cache, memory.card, memory.factor)

    def applied(self, params: Params) -> dict[str, Any]:
        """The recipe of a configuration."""
        return apply_params(self.recipe, self.space.in_recipe(params))

    def fit_probability(self, study: Study) -> FitProbability | None:
        """What the optimiser is to believe; None where nothing is known that would tell points apart."""
        memory = self.memory(study)
        if memory not in self._probabilities:
            probability = FitProbability(self, memory)
            self._probabilities[memory] = probability if probability.tells_apart() else None
        return self._probabilities[memory]


class FitProbability:
    """The probability that a configuration fits the card.

    Attributes:
        names: the parameters that it depends on, in the order of the space.
    """

    def __init__(self, forecaster: Forecaster, memory: CardMemory) -> None:
        self._forecaster, self._memory = forecaster, memory
        keys = set(forecaster.kind.memory_keys)
        parameters, recipe = forecaster.space.parameters, forecaster.recipe
        applied = [name for name, parameter in parameters.items() if not parameter.auxiliary]
        self.names = tuple(name for name in applied if ".".join(key_path(name, recipe)) in keys)
        self._known: dict[tuple[ParamValue | None, ...], float] = {}

    def __call__(self, params: Params) -> float:
        """The probability, in [0, 1], for a configuration; only the parameters in `names` matter."""
        values = tuple(params.get(name) for name in self.names)
        if values not in self._known:
            self._known[values] = self._chance({name: params[name] for name in self.names if name in params})
        return self._known[values]

    def _chance(self, params: Params) -> float:
        peak = self._forecaster.peak(apply_params(self._forecaster.recipe, params), self._memory)
        return _MOST if peak is None else min(max(peak["chance"], _LEAST), _MOST)

    def tells_apart(self) -> bool:
        """Whether it differs between configurations, as far as the corners of the space tell."""
        if self._memory.card is None or not self.names:
            return False
        extremes = extreme_values(self._forecaster.space)
        values = [extremes.get(name, []) for name in self.names]
        corners = (dict(zip(self.names, corner, strict=True)) for corner in product(*values))
        return len({self(params) for params, _ in zip(corners, range(_CORNERS), strict=False)}) > 1


def memory_cells(peak: Mapping[str, float] | None) -> dict[str, str]:
    """What `plan` shows of `hpo.ports.TrialKind.peak_memory` of a trial, by heading."""
    if peak is None:
        return {}
    total, least = (f"{peak[name] / 2**30:.1f}" for name in ("total", "least"))
    if "micro_batch" not in peak:  # the trial will choose, on a card that is not known yet
        return {"GPU memory": f"{total} GiB" if total == least else f"{least} to {total} GiB"}
    checkpointed = ", checkpointed" if peak["checkpointing"] else ""
    unsure = f", fits by {peak['chance']:.0%}" if peak["chance"] < _MOST else ""
    return {"GPU memory": f"{total} GiB", "micro-batch": f"{peak['micro_batch']:.0f}{checkpointed}{unsure}"}


def memory_line(memory: CardMemory, *, given: bool) -> str:
    """What `plan` goes by in foretelling memory; `given`: the user has named the card's."""
    if memory.card is None:
        line = "GPU memory: trials size their forward passes by the card; cluster.gpu_memory_gb foretells how"
    else:
        source = "cluster.gpu_memory_gb" if given else "the smallest card so far"
        line = f"GPU memory: for cards of {memory.card / 2**30:.4g} GiB ({source})"
    if memory.trials:
        line += f"; corrected by the peaks of {memory.trials} trials, {memory.factor:.2f} times the forecast"
    return line
