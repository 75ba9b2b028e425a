"""Bayesian optimisation: usual values, the centre and Sobol first, then the largest expected gain."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from hpo.errors import FitError, Problem
from hpo.models.history import History, Origin, Proposal
from hpo.space.space import Point
from hpo.strategies.initial_design import after_design, filled_up, proven, sobol_proposals, with_model
from hpo.strategies.unused import first_unused
from hpo.validation import STRICT

_INITIAL_IF_RELATED = 8  # trials before the first model where an earlier study tells where to look
_CANDIDATES = 32  # Sobol points of which one is taken where only failures are known
_PROVEN = 6  # of these, those taken from its front
ONE = ("lognei", "qlognei", "qlogei", "qucb", "ucb")
SEVERAL = ("lognehvi", "qlognehvi", "qlogehvi", "qnehvi", "qehvi", "qlognparego")
PER_GPU_SECOND = "_per_gpu_second"  # what a name ends in where gains are divided by a foretold cost
_KINDS = ("auto", *SEVERAL, *ONE)
_DIVISIBLE = tuple(kind for kind in _KINDS if kind == "auto" or "log" in kind)  # logarithms of gains


def _known(name: str) -> str:
    """The name of an acquisition function, by GPU-seconds only where it is the logarithm of a gain."""
    kind = name.removesuffix(PER_GPU_SECOND)
    if kind not in _KINDS:
        raise ValueError(f"expected one of {', '.join(_KINDS)}")
    if kind != name and kind not in _DIVISIBLE:
        raise ValueError(f"{PER_GPU_SECOND} goes with one of {', '.join(_DIVISIBLE)}")
    return name


@dataclass(frozen=True, config=STRICT)
class BayesianOptimisation:
    """Bayesian optimisation.

    Args:
        initial: trials before the first model; None for twice the number of parameters, 4 to 10.
        acquisition: one of `hpo.models.acquisition`; `auto` is `lognehvi`, for one objective `lognei`.
            Those that are logarithms of gains may end in `_per_gpu_second`.
        beta: of `qucb`: how many variances count.
        replicates: how often a configuration may be measured; 1 for never again.
    """

    initial: Annotated[int, Field(ge=1)] | None
    acquisition: Annotated[str, AfterValidator(_known)]
    beta: Annotated[float, Field(gt=0)]
    replicates: Annotated[int, Field(ge=1)]

    def problems(self, objectives: int) -> list[Problem]:
        """What does not fit a study of so many objectives."""
        fitting = ONE if objectives == 1 else SEVERAL
        if self._kind in ("auto", *fitting):
            return []
        expected = f"expected auto or one of {', '.join(fitting)} for objectives: {objectives}"
        return [("strategy.acquisition", f"{expected}, got {self.acquisition}")]

    @property
    def _kind(self) -> str:
        """The acquisition function without what it is divided by."""
        return self.acquisition.removesuffix(PER_GPU_SECOND)

    def propose(self, history: History, count: int) -> list[Proposal]:
        """The rest of the initial design, then the model's points.

        Where no model can be had, too few results or a fit that fails, Sobol points go on, and each says why.
        """
        size = self.initial or min(max(4, 2 * len(history.space)), 10)
        if history.related:
            size = min(size, _INITIAL_IF_RELATED)
        return after_design(history, size, count, _design, self._informed)

    def _informed(self, history: History, count: int) -> list[Proposal]:
        """The model's points, or Sobol points where there is none; of these the likeliest to work."""
        without = _likely_to_work if history.failures and len(history.space) else sobol_proposals
        return with_model(history, count, self._modelled, without)

    def _modelled(self, history: History, count: int) -> list[Proposal]:
        """One after another: a replicate that is due, else the point of the largest expected gain."""
        # SciPy and torch: loaded when the first model is needed
        from hpo.models.early.foretold import with_foretold
        from hpo.models.propose import AcquisitionSettings, ModelPoints, replicate

        history, early = with_foretold(history)
        automatic = "lognehvi" if len(history.objectives) > 1 else "lognei"
        acquisition = automatic if self._kind == "auto" else self._kind
        divided = self.acquisition.endswith(PER_GPU_SECOND)
        points = ModelPoints(history, AcquisitionSettings(acquisition, self.beta, divided))
        note = "; ".join(filter(None, (points.note, early)))
        proposals: list[Proposal] = []
        while len(proposals) < count:
            known = history.with_pending(proposals)
            again = replicate(known, self.replicates)
            point = None if again else points.next(known)
            fresh = (
                [again]
                if again
                else []
                if point is None
                else first_unused(known, [point], 1, Origin.MODEL, note, remaining=False)
            )
            fresh = fresh or sobol_proposals(known, 1, "the model had no more")
            if not fresh:
                break
            proposals += fresh
        return proposals


def _likely_to_work(history: History, count: int, note: str) -> list[Proposal]:
    """Of the next Sobol points those that failures speak least against; that takes no result."""
    from hpo.models.feasibility import least_certain_to_fail

    proposals: list[Proposal] = []
    while len(proposals) < count:
        known = history.with_pending(proposals)
        candidates = [known.space.to_unit(own.params) for own in sobol_proposals(known, _CANDIDATES)]
        try:
            candidates = least_certain_to_fail(known, candidates)
        except FitError as error:
            note = f"the fit failed: {error}"
        fresh = first_unused(known, candidates, 1, Origin.SOBOL, note, remaining=False)
        if not fresh:
            break
        proposals += fresh
    return proposals


def _design(history: History, count: int) -> list[Proposal]:
    """The next points of the initial design: proven ones, usual values, the centre, then Sobol points.

    Ranges are drawn around what people believe in, so their middle is a good guess, also after a bad belief.
    """
    design: list[Proposal] = []
    if history.related and history.asked < _PROVEN:
        design = proven(history, min(count, _PROVEN - history.asked), _PROVEN)
    for point, origin in _guesses(history):
        if len(design) < count:
            known = history.with_pending(design)
            design += first_unused(known, [point], 1, origin, "initial design", remaining=False)
    return filled_up(history, design, count, "initial design")


def _guesses(history: History) -> list[tuple[Point, Origin]]:
    """The usual values until they are tried; the centre as the first trial, or right after them."""
    usual, centre = history.space.usual, ((0.5,) * len(history.space), Origin.CENTRE)
    if usual is None:
        return [] if history.asked and not history.related else [centre]
    tried = history.space.key(usual) in history.taken
    return [(usual, Origin.USUAL), *([centre] if history.related or history.asked == int(tried) else [])]
