"""What a study cost: GPU-hours by use and by kind of card, energy, money, the price of improvement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpo.objectives import Objectives
from hpo.reporting.spans import Span
from hpo.study.snapshot import measured_trials
from hpo.study.state import Study

Prices = float | Mapping[str, float] | None

ENERGY = "gpu_energy_wh"


@dataclass(frozen=True)
class CardCost:
    """The GPU-hours on one kind of card, and what they cost; None without a price for it."""

    device: str
    useful: float
    lost: float
    price: float | None

    @property
    def hours(self) -> float:
        """Useful and lost together."""
        return self.useful + self.lost

    @property
    def money(self) -> float | None:
        """In the unit of `cost.gpu_hour`."""
        return None if self.price is None else self.hours * self.price


@dataclass(frozen=True)
class Improvement:
    """How much one objective got better, and since what.

    Args:
        start: the value that it is measured from, in the objective's own unit.
        best: the best completed trial's value.
        since: what the start is: the untuned model, or the first completed trial.
        gain: by how much it is better; negative where it is worse.
        percent: `gain` as a percentage of the start's size; None where that is 0.
    """

    objective: str
    start: float
    best: float
    since: str
    gain: float
    percent: float | None


def card_costs(found: Sequence[Span], prices: Prices) -> list[CardCost]:
    """GPU-hours by kind of card, the most used first.

    Args:
        found: every attempt.
        prices: of a GPU-hour: one for all, or by a part of the card's name.
    """
    seconds: dict[str, list[float]] = {}
    for span in found:
        row = seconds.setdefault(span.device or "unknown or no card", [0.0, 0.0])
        row[0] += (span.seconds - span.lost) * span.gpus
        row[1] += span.lost * span.gpus
    rows = [
        CardCost(device, useful / 3600, lost / 3600, price_of(device, prices))
        for device, (useful, lost) in seconds.items()
    ]
    return sorted(rows, key=lambda row: -row.hours)


def price_of(device: str, prices: Prices) -> float | None:
    """The price of a GPU-hour on this card; of several names in its own the longest counts."""
    if not isinstance(prices, Mapping):
        return prices
    fitting = [name for name in prices if str(name).lower() in device.lower()]
    return prices[max(fitting, key=len)] if fitting else None


def total_money(rows: Sequence[CardCost]) -> float | None:
    """All of it; None where any hour has no price."""
    money = [row.money for row in rows]
    return sum(own for own in money if own is not None) if money and None not in money else None


def energy_wh(study: Study) -> tuple[float, int]:
    """Watt-hours of the completed trials that measured them, and how many did."""
    told = [trial.metrics[ENERGY].value for trial in study.trials.values() if ENERGY in trial.metrics]
    return sum(told), len(told)


def improvements(study: Study, objectives: Objectives) -> list[Improvement]:
    """Per objective, from the untuned model, or where that is unknown from the first result, to the best."""
    completed = sorted(measured_trials(study, objectives), key=lambda trial: trial.ended_at)
    found = []
    for name, objective in objectives.items():
        if not completed:
            break
        values = [trial.metrics[name].value for trial in completed]
        best = min(values, key=objective.minimised)
        start, since = values[0], f"trial {completed[0].id}, the first result"
        if name in study.baseline:
            start, since = study.baseline[name], "the untuned model"
        gain = objective.minimised(start) - objective.minimised(best)
        percent = 100 * gain / abs(start) if start else None
        found.append(Improvement(name, start, best, since, gain, percent))
    return found
