"""What a strategy may know when it proposes: the told results, the failures and the points in flight."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property

from hpo.errors import InputError
from hpo.objectives import Objective
from hpo.records import Metric, ParamValue
from hpo.space.space import Point, SearchSpace

# a configuration -> its probability of working, in [0, 1], as far as it is known beforehand
FeasibilityPrior = Callable[[Mapping[str, ParamValue]], float]
Value = float | tuple[float, float | None] | Metric  # a value, or with its standard error (None: not known)


class Origin(StrEnum):
    """Which way a proposal was found."""

    CENTRE = "centre"
    USUAL = "usual"
    SOBOL = "sobol"
    RANDOM = "random"
    LATIN_HYPERCUBE = "lhs"
    GRID = "grid"
    MODEL = "model"
    EVOLUTION = "evolution"
    PARTITION = "partition"
    REPLICATE = "replicate"
    RELATED = "related"


@dataclass(frozen=True)
class Proposal:
    """A configuration to try, and where it came from.

    Args:
        params: name -> value, every parameter of the space.
        origin: how it was found.
        note: what is worth recording: "initial design", or why the usual way was left.
    """

    params: dict[str, ParamValue]
    origin: Origin
    note: str = ""


@dataclass(frozen=True, order=True)
class Observation:
    """One result.

    Args:
        point: rounded.
        values: m to minimise.
        errors: m standard errors, NaN where unknown.
        doubts: m deviations of values that are foretold; empty where they were measured.
        gpu_seconds: that the trial took, above 0; None where it is not known. It is no part of the result.
    """

    point: Point
    values: tuple[float, ...]
    errors: tuple[float, ...]
    doubts: tuple[float, ...] = ()
    gpu_seconds: float | None = field(default=None, compare=False)


@dataclass(frozen=True, order=True)
class Curve:
    """What a trial measured on its way.

    Args:
        point: its rounded point.
        rungs: (share of the full length, m values to minimise, their standard errors, 0 where not known),
            by share; of a trial that has ended its result is that of share 1.
    """

    point: Point
    rungs: tuple[tuple[float, tuple[float, ...], tuple[float, ...]], ...]

    @property
    def shares(self) -> tuple[float, ...]:
        """Where it measured."""
        return tuple(share for share, _, _ in self.rungs)

    @property
    def ended(self) -> bool:
        """Whether its result is there."""
        return bool(self.rungs) and self.rungs[-1][0] == 1.0

    def at(self, share: float) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Values and errors at a share, where it measured there."""
        return next(((values, errors) for own, values, errors in self.rungs if own == share), None)


@dataclass(frozen=True)
class History:
    """Everything that a proposal depends on; the order in which it was told is not in it.

    Args:
        space: the search space.
        objectives: name -> objective, m of them.
        observations: sorted results.
        failures: sorted rounded points that proved infeasible.
        pending: sorted rounded points without a result.
        spent: sorted rounded points that ended without teaching anything.
        seed: the study's seed.
        related: sorted results of earlier studies of this space on other models or data, by study.
        feasibility_prior: what is believed beforehand of whether a configuration works.
        curves: sorted, what trials measured at their rungs; those that have not ended are pending or spent.
    """

    space: SearchSpace
    objectives: Mapping[str, Objective]
    observations: tuple[Observation, ...]
    failures: tuple[Point, ...]
    pending: tuple[Point, ...]
    spent: tuple[Point, ...]
    seed: int
    related: tuple[tuple[Observation, ...], ...] = ()
    feasibility_prior: FeasibilityPrior | None = field(default=None, compare=False)
    curves: tuple[Curve, ...] = ()

    @property
    def asked(self) -> int:
        """The number of trials so far, and so the number of the next one, from 0."""
        return self.ended + len(self.pending)

    @property
    def ended(self) -> int:
        """The number of trials that are not under way."""
        return len(self.observations) + len(self.failures) + len(self.spent)

    @cached_property
    def taken(self) -> frozenset[Point]:
        """The keys (see `SearchSpace.key`) of every point that was proposed or told."""
        told = tuple(observation.point for observation in self.observations)
        return frozenset(map(self.space.key, (*told, *self.failures, *self.pending, *self.spent)))

    @property
    def costs(self) -> tuple[tuple[Point, float], ...]:
        """Points and GPU-seconds of the results that told them, sorted."""
        told = ((own.point, own.gpu_seconds) for own in self.observations)
        return tuple(sorted((point, seconds) for point, seconds in told if seconds is not None))

    def with_pending(self, proposals: Sequence[Proposal]) -> History:
        """The history once these proposals are under way."""
        points = [self.space.to_unit(proposal.params) for proposal in proposals]
        return replace(self, pending=tuple(sorted((*self.pending, *points))))

    def derived_seed(self, *purpose: int | str) -> int:
        """A seed in [0, 2^31) that depends on the study's seed, the number of trials and the purpose."""
        return derive_seed(self.seed, self.asked, *purpose)


def derive_seed(*parts: int | str) -> int:
    """A seed in [0, 2^31) from a few numbers and words; the same on every machine."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def read_value(given: Value) -> tuple[float, float]:
    """A value and its standard error, NaN where it is not known.

    Raises:
        InputError: a value that is not finite, or a standard error that is not, or is below 0.
    """
    if isinstance(given, Metric):
        value, error = given.value, given.standard_error
    elif isinstance(given, tuple | list):
        if len(given) != 2:
            raise InputError(f"expected a value or (value, standard error), got {given!r}")
        value, error = given
    else:
        value, error = given, None
    if not _finite(value):
        raise InputError(f"expected a finite number, got {value!r}")
    if error is not None and not (_finite(error) and error >= 0):
        raise InputError(f"expected a standard error of 0 or above, got {error!r}")
    return float(value), math.nan if error is None else float(error)


def read_gpu_seconds(given: float) -> float:
    """What a trial took.

    Raises:
        InputError: it is not finite, or not above 0.
    """
    if not (_finite(given) and given > 0):
        raise InputError([("gpu_seconds", f"expected a finite number above 0, got {given!r}")])
    return float(given)


def _finite(number: object) -> bool:
    try:
        return not isinstance(number, bool | str) and math.isfinite(number)  # type: ignore[arg-type]
    except (TypeError, OverflowError):  # no number, or one that no float holds
        return False
