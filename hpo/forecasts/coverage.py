"""How much of a search space fits the card, and how long its trials train: more than a first batch tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import fmean

from hpo.forecasts.memory import CardMemory, FitProbability, Forecaster
from hpo.forecasts.time import Pace, span
from hpo.formatting import duration, number
from hpo.space.parameters import Choice
from hpo.space.sampling import sobol_points
from hpo.space.space import Point

POINTS = 256  # of the space that are looked at
SURE = 0.9  # a configuration with this chance is said to fit; with 1 - SURE or less, not to
_RANKED = 64  # of them among which the hungriest and the leanest values of other parameters are sought
_HALVINGS = 12  # of a parameter's range, in the search for the largest value that fits


@dataclass(frozen=True)
class Coverage:
    """What holds over a search space.

    Args:
        fits: share of the configurations that fit, in [0, 1].
        hopeless: share of those that do not; it is open whether the rest does.
        points: how many were looked at.
        seconds: how long they train on average, without the hopeless; None: not known.
        longest: likewise, of the one that trains longest.
        headroom: how many times as fast the card could be, see `hpo.forecasts.time.Pace`.
        limits: a line for each parameter that decides whether a configuration fits.
    """

    fits: float
    hopeless: float
    points: int
    seconds: float | None
    longest: float | None
    limits: Sequence[str]
    headroom: float = 1.0

    @property
    def times(self) -> tuple[float, ...]:
        """Seconds that they train on average, from the least to the most; none where that is not known."""
        return () if self.seconds is None else span(self.seconds, self.headroom)

    def lines(self) -> Iterator[str]:
        """What `plan` says of it."""
        shares = {
            "fits": self.fits,
            "may fit": 1.0 - self.fits - self.hopeless,
            "does not fit": self.hopeless,
        }
        text = ", ".join(f"{share:.0%} {word}" for word, share in shares.items() if share > 1e-9)
        spread = f" ({self.points} configurations spread over it)" if self.points > 1 else ""
        yield f"of the search space {text}{spread}"
        yield from (f"  {line}" for line in self.limits)
        if self.seconds is not None and self.longest is not None:
            longest = f", the longest {duration(self.longest)}" if self.longest > 1.01 * self.seconds else ""
            yield f"  training takes {' to '.join(map(duration, self.times))} on average{longest}"


def coverage(forecaster: Forecaster, memory: CardMemory, pace: Pace, points: int = POINTS) -> Coverage | None:
    """Look at configurations spread evenly over the search space.

    Args:
        points: how many; fewer where the space has fewer.

    Returns:
        None where nothing is foretold of memory.
    """
    if memory.card is None:
        return None
    space = forecaster.space
    spread = list(dict.fromkeys(map(space.near, islice(sobol_points(len(space), 0, 0), points))))
    if forecaster.peak(forecaster.applied(space.from_unit(spread[0])), memory) is None:
        return None
    fits_card = FitProbability(forecaster, memory)
    chances = {point: fits_card(space.from_unit(point)) for point in spread}
    efforts = (
        forecaster.effort(forecaster.applied(space.from_unit(point)), memory)
        for point, chance in chances.items()
        if chance > 1 - SURE
    )
    times = [seconds for effort in efforts if (seconds := pace.seconds(effort)) is not None]
    fits = sum(chance >= SURE for chance in chances.values()) / len(chances)
    return Coverage(
        fits=fits,
        hopeless=sum(chance <= 1 - SURE for chance in chances.values()) / len(chances),
        points=len(chances),
        seconds=fmean(times) if times else None,
        longest=max(times) if times else None,
        headroom=pace.headroom,
        limits=[] if fits in (0.0, 1.0) else list(_limits(forecaster, memory, fits_card, chances)),
    )


def _limits(
    forecaster: Forecaster, memory: CardMemory, fits_card: FitProbability, chances: Mapping[Point, float]
) -> Iterator[str]:
    """Of each parameter, what of it fits."""
    for column, (name, dimension) in enumerate(forecaster.space.dimensions.items()):
        if name not in fits_card.names:
            continue
        if isinstance(dimension, Choice):
            yield f"{name}: {_by_value(forecaster, name, chances)}"
        elif line := _largest(forecaster, memory, fits_card, list(chances)[:_RANKED], column):
            yield f"{name}: {line}"


def _by_value(forecaster: Forecaster, name: str, chances: Mapping[Point, float]) -> str:
    """What share of the configurations with each value of a choice fits."""
    fits: dict[str, list[bool]] = {}
    for point, chance in chances.items():
        fits.setdefault(str(forecaster.space.from_unit(point).get(name)), []).append(chance >= SURE)
    ordered = sorted(fits.items(), key=lambda item: -fmean(item[1]))
    return ", ".join(f"{value} {fmean(fit):.0%}" for value, fit in ordered)


def _largest(
    forecaster: Forecaster,
    memory: CardMemory,
    fits_card: FitProbability,
    points: Sequence[Point],
    column: int,
) -> str:
    """Up to which value of a number configurations fit: whatever the other parameters are, and at best.

    Memory is taken to grow with the number, as it does with ranks and lengths.
    """
    space = forecaster.space
    name = list(space.dimensions)[column]

    def at(point: Point, unit: float) -> Point:
        return space.near((*point[:column], unit, *point[column + 1 :]))

    def least(point: Point) -> float:
        peak = forecaster.peak(forecaster.applied(space.from_unit(at(point, 0.5))), memory)
        return peak["least"] if peak else 0.0

    def fitting(point: Point) -> float | None:
        """The largest coordinate with which it fits."""
        if fits_card(space.from_unit(at(point, 1.0))) >= SURE:
            return 1.0
        low, high = 0.0, 1.0
        if fits_card(space.from_unit(at(point, low))) < SURE:
            return None
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (
                (middle, high) if fits_card(space.from_unit(at(point, middle))) >= SURE else (low, middle)
            )
        return low

    ranked = sorted(points, key=least)
    leanest, hungriest = ranked[0], ranked[-1]
    best, always = fitting(leanest), fitting(hungriest)

    def value(point: Point, unit: float) -> str:
        return number(space.from_unit(at(point, unit)).get(name, ""))

    if best is None or always == 1.0:
        return ""
    texts = [] if always is None else [f"up to {value(hungriest, always)} whatever the others are"]
    if best == always:
        return f"up to {value(leanest, best)}"
    return ", ".join([*texts, f"up to {value(leanest, best)} at best"])
