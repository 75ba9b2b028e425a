"""The section that sets what simulated runs foretold beside what came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from hpo.forecasts.simulated import SimulatedEnds, Spread
from hpo.formatting import duration
from hpo.records import RecordError
from hpo.reporting.figures.forecast import forecast_figure
from hpo.reporting.material import Material
from hpo.reporting.sections.blocks import Block, Cell, FigureBlock, Section, TableBlock, TextBlock
from hpo.study.snapshot import elapsed_s


def forecast_section(material: Material) -> Section | None:
    """None where no run of the study was simulated."""
    forecast: SimulatedEnds | None = None
    with suppress(FileNotFoundError, RecordError):
        forecast = SimulatedEnds.read(material.snapshot.paths.forecast)
    if forecast is None:
        return None
    study, usage = material.study, material.snapshot.usage
    seconds = elapsed_s(study)
    lost = usage.lost / 3600 / usage.hours if usage.hours else 0.0
    rows = [
        _row("end after", forecast.seconds, seconds, duration),
        _row("GPU-hours", forecast.gpu_hours, usage.hours, lambda value: f"{value:.3g}"),
        _row("lost to interruptions", forecast.lost, lost, lambda value: f"{value:.1%}"),
    ]
    says = "What `plan --simulate` foretold, shaded what holds 90% of the runs, and in red what came."
    when = f"after {forecast.trials} trials" if forecast.trials else "before the first trial"
    made_at = forecast.made_at[:16].replace("T", " ")
    text = f"{len(forecast.seconds)} runs of {made_at} UTC, {when}: {forecast.about}."
    came = "what came" if study.finished else "so far"
    blocks: list[Block] = [
        TextBlock(text),
        TableBlock(["", "foretold", "90% of the runs", came, "within"], rows),
        FigureBlock("forecast", forecast_figure(forecast, seconds / 3600, usage.hours)),
    ]
    return Section("forecast", "Forecast", says, blocks)


def _row(name: str, runs: Sequence[float], came: float, shown: Callable[[float], str]) -> list[Cell]:
    own = Spread.of(runs)
    within = "yes" if own.holds(came) else "no"
    return [name, shown(own.median), f"{shown(own.low)} to {shown(own.high)}", shown(came), within]
