"""The configuration of a study as frozen dataclasses that check themselves, all problems together.

The defaults live in `conf/`; a key that is missing here is a key that is missing there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from hpo.errors import Problem
from hpo.fidelity.settings import FidelitySettings
from hpo.tracking import TrackingSettings
from hpo.validation import NO_TRUTH, STRICT, problems_of

RECIPE_GROUPS = ("model", "data", "trainer", "evaluation")

Positive = Annotated[float, NO_TRUTH, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, NO_TRUTH, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]


def _text(pattern: str, expected: str) -> PlainValidator:
    """Text of a form, which messages tell in words."""

    def check(given: Any) -> str:
        if isinstance(given, str) and re.fullmatch(pattern, given):
            return given
        raise ValueError(f"expected {expected}")

    return PlainValidator(check)


_NAME = _text(
    "[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
    "a name of letters, digits, '.', '_' and '-', the first a letter or digit, 64 at most",
)
# the owner keeps every right: without them the study could not be written or read again
_UMASK = _text("0?0[0-7]{2}", 'text of octal digits in quotes, 0 for the owner: "077", "027" or "022"')


@dataclass(frozen=True, config=STRICT)
class StudySettings:
    """Which study, and where."""

    name: Annotated[str, _NAME]
    root: Annotated[str, Field(min_length=1)]
    seed: NotNegative
    umask: Annotated[str, _UMASK]
    enqueue: list[dict[str, Any]]
    known: list[str]
    related: list[str]
    allow_change: bool
    keep_adapters: Literal["all", "front", "none"] = "all"  # as a study of an earlier version does


@dataclass(frozen=True, config=STRICT)
class BudgetSettings:
    """When the study ends: whichever comes first."""

    trials: Count
    gpu_hours: Positive | None
    wall_hours: Positive | None
    # a study of before has neither
    settle: Count | None = None
    least_gain: Annotated[float, NO_TRUTH, Field(ge=0, le=1)] = 1e-3


def _count_or_auto(given: Any) -> Any:
    """One message for one mistake, as `_prices` has it."""
    if given == "auto" or (isinstance(given, int) and not isinstance(given, bool) and given >= 1):
        return given
    raise ValueError("expected a whole number above 0, or auto")


CountOrAuto = Annotated[int | Literal["auto"], PlainValidator(_count_or_auto)]


@dataclass(frozen=True, config=STRICT)
class BatchSettings:
    """How many trials are in flight, and when more are proposed."""

    size: CountOrAuto
    refill: CountOrAuto

    def __post_init__(self) -> None:
        if isinstance(self.size, int) and isinstance(self.refill, int) and self.refill > self.size:
            raise ValueError(f"batch.refill ({self.refill}) must be at most batch.size ({self.size})")


@dataclass(frozen=True, config=STRICT)
class Retries:
    """Further attempts that a trial may have, per cause."""

    preempted: NotNegative
    node_failure: NotNegative
    timed_out: NotNegative
    host_out_of_memory: NotNegative
    lost: NotNegative
    error: NotNegative


@dataclass(frozen=True, config=STRICT)
class ControllerSettings:
    """How the controller waits and when it gives up."""

    poll_seconds: Positive | None
    look_seconds: Positive
    gone_seconds: Annotated[float, Field(ge=0)] | None
    identical_errors: Count
    node_failures: Count
    submit_tries: Count
    propose_on: Literal["login", "job"]
    chain: bool
    retries: Retries


def _prices(given: Any) -> Any:
    """One message for one mistake: a union would tell what each of its branches minds."""
    each = given.values() if isinstance(given, Mapping) else [] if given is None else [given]
    if all(
        isinstance(own, int | float) and not isinstance(own, bool) and 0 <= own < math.inf for own in each
    ):
        return given
    raise ValueError("expected a price of at least 0, or one by a part of the card's name: {V100: 1.5}")


@dataclass(frozen=True, config=STRICT)
class CostSettings:
    """What the report puts on hours."""

    gpu_hour: Annotated[float | dict[str, float] | None, PlainValidator(_prices)]


@dataclass(frozen=True, config=STRICT)
class ReportSettings:
    """Whether `tune` makes reports by itself, and the shortest time between two while the study runs."""

    automatic: bool
    every_seconds: Positive | None


@dataclass(frozen=True, config=STRICT)
class NotifySettings:
    """Who is told that a study has ended."""

    command: list[str]
    timeout_seconds: Positive


@dataclass(frozen=True, config=STRICT)
class StudyConfig:
    """A whole study. The groups whose keys belong to other packages stay plain mappings."""

    study: StudySettings
    budget: BudgetSettings
    batch: BatchSettings
    controller: ControllerSettings
    notify: NotifySettings
    cost: CostSettings
    cache: str | None
    model: dict[str, Any]
    data: dict[str, Any]
    trainer: dict[str, Any]
    evaluation: dict[str, Any]
    space: Annotated[dict[str, Any], Field(min_length=1)]
    objectives: Annotated[dict[str, Any], Field(min_length=1)]
    strategy: dict[str, Any]
    cluster: dict[str, Any]
    # a study that an earlier version composed has no such groups, and what is made out of it reports nothing
    report: ReportSettings = ReportSettings(automatic=False, every_seconds=None)
    tracking: TrackingSettings = TrackingSettings()
    fidelity: FidelitySettings = FidelitySettings()  # likewise: without rungs
    seed: NotNegative = 0
    arms: dict[str, list[str]] = field(default_factory=dict)


def without_target(group: Mapping[str, Any]) -> dict[str, Any]:
    """A group without the key that says which object reads it."""
    return {key: value for key, value in group.items() if key != "_target_"}


def read_config(raw: Mapping[str, Any]) -> tuple[StudyConfig | None, list[Problem]]:
    """Check a composed configuration.

    Returns:
        The configuration, or None, and every problem by key path.
    """
    try:
        return TypeAdapter(StudyConfig).validate_python(dict(raw)), []
    except ValidationError as error:
        return None, problems_of(error)
