"""A study as text: its metrics, the front, the counts."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from hpo.formatting import duration, number
from hpo.objectives import Objective
from hpo.study.snapshot import Snapshot, elapsed_s, pareto_trials
from hpo.study.state import Study, Trial, TrialState


def metrics_text(trial: Trial, objectives: Iterable[str]) -> str:
    """A trial's objectives on one line."""
    return " ".join(
        f"{name}={number(trial.metrics[name].value)}" for name in objectives if name in trial.metrics
    )


def metric_text(trial: Trial, name: str) -> str:
    """A metric with its standard error; empty where the trial has none."""
    metric = trial.metrics.get(name)
    if metric is None:
        return ""
    error = f" ±{metric.standard_error:.2g}" if metric.standard_error else ""
    return number(metric.value) + error


def front_table(study: Study, objectives: dict[str, Objective], most: int | None = None) -> Table:
    """The Pareto front, a row a trial, the untuned model's metrics below where they are known.

    Args:
        study: as the journal tells it.
        objectives: what is optimised.
        most: rows that there is room for; None: all.
    """
    names = study.parameters
    table = Table(title="Pareto front", title_justify="left", box=None, pad_edge=False)
    table.add_column("trial")
    for name, objective in objectives.items():
        table.add_column(f"{name} ({objective.direction})", justify="right")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("from")
    on_front = pareto_trials(study, objectives)
    for trial in on_front[:most]:
        metrics = [metric_text(trial, name) for name in objectives]
        values = [number(trial.params.get(name, "")) for name in names]
        table.add_row(trial.id, *metrics, *values, trial.origin)
    if hidden := len(on_front) - len(on_front[:most]):
        table.add_row(f"and {hidden} more", *("" for _ in (*objectives, *names)), "")
    if study.baseline:
        known = [number(study.baseline[name]) if name in study.baseline else "" for name in objectives]
        table.add_row("untuned", *known, *("" for _ in names), "")
    return table


def counts_line(snapshot: Snapshot) -> str:
    """How many trials are in which state, and the budget."""
    study = snapshot.study
    counts = {
        "completed": len(study.in_state(TrialState.COMPLETED)),
        "running": len(snapshot.running),
        "queued": len(snapshot.queued),
        "stopped at a rung": len(study.in_state(TrialState.STOPPED)),
        "failed": len(study.in_state(TrialState.FAILED)),
        "cancelled": len(study.in_state(TrialState.CANCELLED)),
    }
    parts = [f"{count} {state}" for state, count in counts.items() if count or state == "completed"]
    budget = study.settings.get("budget", {})
    hours = f", {snapshot.usage.hours:.3g}" if snapshot.usage.hours else ""
    if hours:
        limit = f" of {budget['gpu_hours']:g}" if budget.get("gpu_hours") else ""
        lost = snapshot.usage.lost / 3600
        hours += f"{limit} GPU-hours" + (f" ({lost:.2g} lost)" if lost >= 0.005 else "")
    counted = f"{', '.join(parts)} of {budget.get('trials', '?')} trials"
    return f"{counted}; {duration(elapsed_s(study))}{hours} so far"
