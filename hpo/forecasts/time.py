"""How long trials will train: what they compute, over the rate of a card, given or shown by trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median

from hpo.forecasts.memory import CardMemory, Forecaster
from hpo.formatting import duration
from hpo.study.state import Study, Trial, TrialState

Effort = Mapping[str, float]  # of `hpo.ports.TrialKind.training_effort`


@dataclass(frozen=True)
class Pace:
    """How fast cards train.

    Args:
        flops_per_s: operations a second of one card; None: not known.
        tokens_factor: tokens read over those foretold, in the trials so far.
        trials: how many have shown both; 0: the rate is given, or that of a kind of card.
        tokens_per_s: median of those trials.
        headroom: how many times as fast that kind of card could be; 1: nothing says that it could.
        about: what the rate goes by, where no trial has shown it.
    """

    flops_per_s: float | None
    tokens_factor: float = 1.0
    trials: int = 0
    tokens_per_s: float = 0.0
    headroom: float = 1.0
    about: str = ""

    def seconds(self, effort: Effort | None) -> float | None:
        """How long a training will take; None where its effort or the rate is not known."""
        if effort is None or self.flops_per_s is None:
            return None
        return effort["flops"] * self.tokens_factor / self.flops_per_s


def pace(forecaster: Forecaster, study: Study, memory: CardMemory) -> Pace:
    """The pace that finished trials have shown, or else what is known of the card."""
    completed = study.in_state(TrialState.COMPLETED)
    seen = [row for trial in completed for row in _seen(forecaster, trial, memory)]
    if not seen:
        rates = forecaster.rates
        return (
            Pace(rates.shown, headroom=rates.best / rates.shown, about=rates.about) if rates else Pace(None)
        )
    rate, factor, speed = (median(column) for column in zip(*seen, strict=True))
    return Pace(rate, factor, len(seen), speed)


def _seen(forecaster: Forecaster, trial: Trial, memory: CardMemory) -> Iterator[tuple[float, float, float]]:
    """Operations a second, tokens over those foretold and tokens a second, if a trial tells them."""
    metrics = {
        name: trial.metrics[name].value for name in ("tokens", "train_seconds") if name in trial.metrics
    }
    effort = forecaster.effort(forecaster.applied(trial.params), memory)
    if effort is None or len(metrics) < 2 or min(metrics.values()) <= 0:
        return
    factor, seconds = metrics["tokens"] / effort["tokens"], metrics["train_seconds"]
    yield effort["flops"] * factor / seconds, factor, metrics["tokens"] / seconds


def training_cells(effort: Effort | None, pace: Pace) -> dict[str, str]:
    """What `plan` shows of how long a trial trains, by heading."""
    seconds = pace.seconds(effort)
    if seconds is None or effort is None:
        return {}
    most = "at most " if effort["most"] and not pace.trials else ""
    return {"training": most + " to ".join(map(duration, span(seconds, pace.headroom)))}


def span(seconds: float, headroom: float) -> tuple[float, ...]:
    """From what the card could do to what was shown on it; one number where these are the same."""
    return (seconds,) if headroom == 1 else (seconds / headroom, seconds)


def pace_line(pace: Pace) -> str:
    """What `plan` goes by in foretelling time."""
    if pace.trials:
        rate = f"{pace.tokens_per_s:.3g} tokens/s, {(pace.flops_per_s or 0) / 1e12:.3g} TFLOP/s"
        return f"training: at the pace of {pace.trials} trials, {rate}; evaluation comes on top"
    return f"training: a forecast {pace.about}, which no trial has shown yet; evaluation comes on top"
