"""Settings of the group `fidelity`: where trials measure early, and which of them end there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator
from pydantic.dataclasses import dataclass

from hpo.errors import Problem
from hpo.ports import TrialKind
from hpo.records import ParamValue
from hpo.strategies.registry import NEEDS_EVERY_RESULT
from hpo.study.recipe import apply_params
from hpo.validation import STRICT

USUAL = (1 / 9, 1 / 3)  # what `auto` measures at where stopping goes by it
NONE, AUTO, GAIN = "none", "auto", "gain"


def _rungs(given: Any) -> Any:
    if given == AUTO:
        return given
    shares = [_share(one) for one in given] if isinstance(given, list) else []
    if not shares or None in shares:
        raise ValueError("expected auto, or a list of shares above 0 and at most 1, as [1/9, 1/3, 1]")
    known = [share for share in shares if share is not None]
    if any(after <= before for before, after in pairwise(known)):
        raise ValueError("expected shares that increase")
    return known


def _share(given: Any) -> float | None:
    try:
        share = Fraction(given) if isinstance(given, str | int | float) else Fraction(0)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    return float(share) if 0 < share <= 1 and not isinstance(given, bool) else None


@dataclass(frozen=True, config=STRICT)
class FidelitySettings:
    """The keys of `fidelity`."""

    stopping: Literal["none", "asha", "gain"] = "none"
    rungs: Annotated[list[float] | Literal["auto"], PlainValidator(_rungs)] = "auto"
    reduction: Annotated[int, Field(ge=2)] = 3
    risk: Annotated[float, Field(gt=0, le=1)] = 0.1
    cost: Annotated[float, Field(gt=0, le=0.5)] = 0.02
    documents: Annotated[int, Field(ge=1)] | None = None

    @property
    def shares(self) -> list[float]:
        """Of a trial's full length, below 1: where it measures; none where nothing would use it."""
        if self.rungs == AUTO:
            return [] if self.stopping == NONE else list(USUAL)
        return [float(rung) for rung in self.rungs if float(rung) < 1]

    @property
    def in_spec(self) -> Mapping[str, Any]:
        """What a trial is told, as fields of its spec."""
        return {"rungs": self.shares, "rung_cost": self.cost, "rung_documents": self.documents}


def fidelity_problems(
    settings: FidelitySettings,
    kind: TrialKind,
    recipe: Mapping[str, Any],
    ends: Mapping[str, Sequence[ParamValue]],
    objectives: Sequence[str],
    strategy: str,
) -> Iterator[Problem]:
    """What does not fit the rest of the study.

    Args:
        recipe: whose problems have been told.
        ends: the extreme values of each parameter that has a place in the recipe.
    """
    yield from _too_fine(settings.shares, kind, recipe, ends)
    if settings.stopping == NONE:
        return
    if not settings.shares:
        yield "fidelity.rungs", f"got none below 1, and fidelity.stopping={settings.stopping} needs one"
    if strategy in NEEDS_EVERY_RESULT:
        text = f"got {settings.stopping} with strategy={strategy}, which needs the result of every trial"
        yield "fidelity.stopping", f"{text}, expected none, or another strategy"
    early = kind.early_metrics(recipe, documents=settings.documents is not None)
    for name in objectives:
        if name not in early:
            text = f"the objective {name} cannot be measured at a rung, expected some of {', '.join(early)}"
            hint = "fidelity.documents=20 asks so many documents of each task at a rung"
            yield "fidelity.stopping", f"{text}\n\nhint: {hint}"


def _too_fine(
    shares: Sequence[float],
    kind: TrialKind,
    recipe: Mapping[str, Any],
    ends: Mapping[str, Sequence[ParamValue]],
) -> Iterator[Problem]:
    recipes = [recipe, *(apply_params(recipe, {name: one}) for name, each in ends.items() for one in each)]
    known = [steps for one in recipes if (steps := kind.fewest_steps(one))]
    gaps = [after - before for before, after in zip([0.0, *shares], shares, strict=False)]
    if known and shares and min(gaps) * min(known) < 1 - 1e-9:
        text = f"expected rungs a step apart at least, got {min(gaps):.3g} of a trial of {min(known)} steps"
        yield "fidelity.rungs", f"{text}\n\nhint: fewer rungs, or a larger trainer.max_steps"
