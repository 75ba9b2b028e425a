"""What is foretold of whether configurations fit the card, given what finished trials have measured.

All of it follows from the configuration and the journal, so that a replay foretells the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from statistics import NormalDist
from typing import Any

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
class Memory:
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
class Foreteller:
    """Foretells the memory of a study's trials.

    Args:
        kind: knows what a recipe takes.
        space: whose parameters are applied to the recipe.
        recipe: of every trial.
        cache: absolute path of the cache.
        given_gib: memory of a card as the user gives it; None: that of the smallest that trials have met.
        tflops: what a card achieves in training as the user gives it, in TFLOP/s; None: not known.
    """

    kind: TrialKind
    space: SearchSpace
    recipe: Mapping[str, Any]
    cache: str
    given_gib: float | None
    tflops: float | None = None
    _outlooks: dict[Memory, MemoryOutlook | None] = field(default_factory=dict, repr=False)

    def memory(self, study: Study) -> Memory:
        """What is known by now."""
        trials = study.in_state(TrialState.COMPLETED)
        results = [{name: metric.value for name, metric in trial.metrics.items()} for trial in trials]
        seen = self.kind.memory_seen(results)
        card = seen.get("card") if self.given_gib is None else self.given_gib * 2**30
        return Memory(card, seen["factor"], round(seen["trials"]))

    def peak(self, recipe: Mapping[str, Any], memory: Memory) -> Mapping[str, float] | None:
        """What a recipe takes at its peak, see `hpo.ports.TrialKind.peak_memory`."""
        return self.kind.peak_memory(recipe, self.cache, memory.card, memory.factor)

    def effort(self, recipe: Mapping[str, Any], memory: Memory) -> Mapping[str, float] | None:
        """What a recipe computes, see `hpo.ports.TrialKind.training_effort`."""
        return self.kind.training_effort(recipe, self.cache, memory.card, memory.factor)

    def applied(self, params: Params) -> dict[str, Any]:
        """The recipe of a configuration."""
        return apply_params(self.recipe, self.space.in_recipe(params))

    def outlook(self, study: Study) -> MemoryOutlook | None:
        """What the optimiser is to believe; None where nothing is known that would tell points apart."""
        memory = self.memory(study)
        if memory not in self._outlooks:
            outlook = MemoryOutlook(self, memory)
            self._outlooks[memory] = outlook if outlook.tells_apart() else None
        return self._outlooks[memory]


class MemoryOutlook:
    """The probability that a configuration fits the card.

    Args:
        foreteller: of the study.
        memory: what is known of its cards.

    Attributes:
        names: the parameters that it depends on, in the order of the space.
    """

    def __init__(self, foreteller: Foreteller, memory: Memory) -> None:
        self._foreteller, self._memory = foreteller, memory
        keys = set(foreteller.kind.memory_keys)
        parameters, recipe = foreteller.space.parameters, foreteller.recipe
        own = [name for name, parameter in parameters.items() if not parameter.auxiliary]
        self.names = tuple(name for name in own if ".".join(key_path(name, recipe)) in keys)
        self._known: dict[tuple[ParamValue | None, ...], float] = {}

    def __call__(self, params: Params) -> float:
        """The probability, in [0, 1], for a configuration; only the parameters in `names` matter."""
        own = tuple(params.get(name) for name in self.names)
        if own not in self._known:
            self._known[own] = self._chance({name: params[name] for name in self.names if name in params})
        return self._known[own]

    def _chance(self, params: Params) -> float:
        peak = self._foreteller.peak(apply_params(self._foreteller.recipe, params), self._memory)
        return _MOST if peak is None else min(max(peak["chance"], _LEAST), _MOST)

    def tells_apart(self) -> bool:
        """Whether it differs between configurations, as far as the corners of the space tell."""
        if self._memory.card is None or not self.names:
            return False
        extremes = extreme_values(self._foreteller.space)
        values = [extremes.get(name, []) for name in self.names]
        corners = (dict(zip(self.names, corner, strict=True)) for corner in product(*values))
        return len({self(params) for params, _ in zip(corners, range(_CORNERS), strict=False)}) > 1


def memory_cells(peak: Mapping[str, float] | None) -> dict[str, str]:
    """What `plan` shows of the memory of a trial, by heading.

    Args:
        peak: of `hpo.ports.TrialKind.peak_memory`.
    """
    if peak is None:
        return {}
    total, least = (f"{peak[name] / 2**30:.1f}" for name in ("total", "least"))
    if "micro_batch" not in peak:  # the trial will choose, on a card that is not known yet
        return {"GPU memory": f"{total} GiB" if total == least else f"{least} to {total} GiB"}
    checkpointed = ", checkpointed" if peak["checkpointing"] else ""
    unsure = f", fits by {peak['chance']:.0%}" if peak["chance"] < _MOST else ""
    return {"GPU memory": f"{total} GiB", "micro-batch": f"{peak['micro_batch']:.0f}{checkpointed}{unsure}"}


def memory_line(memory: Memory, *, given: bool) -> str:
    """What `plan` goes by in foretelling memory.

    Args:
        memory: what is known.
        given: whether the user has named the card's memory.
    """
    if memory.card is None:
        line = "GPU memory: trials size their forward passes by the card; cluster.gpu_memory_gb foretells how"
    else:
        source = "cluster.gpu_memory_gb" if given else "the smallest card so far"
        line = f"GPU memory: for cards of {memory.card / 2**30:.4g} GiB ({source})"
    if memory.trials:
        line += f"; corrected by the peaks of {memory.trials} trials, {memory.factor:.2f} times the forecast"
    return line
