"""A study as text: the tables and lines that `tune` and `status` print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hpo.objectives import Objective
from hpo.snapshot import Running, Snapshot, elapsed_s, pareto_trials, volume
from hpo.study import Event, Study, Trial, TrialState


def number(value: object) -> str:
    """A value, short: four significant digits for a float."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float | None) -> str:
    """Seconds as 1h02m, 3m04s or 5s; empty for None."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60}h{minutes % 60:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def params_text(trial: Trial) -> str:
    """A trial's parameters on one line."""
    return " ".join(f"{name}={number(value)}" for name, value in trial.params.items())


def metrics_text(trial: Trial, objectives: Iterable[str]) -> str:
    """A trial's objectives on one line."""
    return " ".join(
        f"{name}={number(trial.metrics[name].value)}" for name in objectives if name in trial.metrics
    )


def _metric(trial: Trial, name: str) -> str:
    metric = trial.metrics.get(name)
    if metric is None:
        return ""
    error = f" ±{metric.standard_error:.2g}" if metric.standard_error else ""
    return number(metric.value) + error


def front_table(study: Study, objectives: dict[str, Objective]) -> Table:
    """The Pareto front, a row a trial, the untuned model's metrics below where they are known."""
    names = list(dict.fromkeys(name for trial in study.trials.values() for name in trial.params))
    table = Table(title="Pareto front", title_justify="left", box=None, pad_edge=False)
    table.add_column("trial")
    for name, objective in objectives.items():
        table.add_column(f"{name} ({objective.direction})", justify="right")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("from")
    for trial in pareto_trials(study, objectives):
        metrics = [_metric(trial, name) for name in objectives]
        values = [number(trial.params.get(name, "")) for name in names]
        table.add_row(trial.id, *metrics, *values, trial.origin)
    if study.baseline:
        known = [number(study.baseline[name]) if name in study.baseline else "" for name in objectives]
        table.add_row("untuned", *known, *("" for _ in names), "")
    return table


def running_table(running: list[Running]) -> Table:
    """The trials at work, a row each."""
    table = Table(box=None, pad_edge=False)
    for title in ("trial", "phase", "", "step", "loss", "left", "attempt", "parameters"):
        table.add_column(title, no_wrap=True)
    for one in running:
        progress = one.progress
        table.add_row(
            one.trial.id,
            progress.phase,
            ProgressBar(total=max(progress.steps, 1), completed=progress.step, width=16),
            f"{progress.step}/{progress.steps}" if progress.steps else "",
            "" if progress.loss is None else f"{progress.loss:.3f}",
            duration(one.seconds_left),
            str(progress.attempt),
            params_text(one.trial),
        )
    return table


def counts_line(snapshot: Snapshot) -> str:
    """How many trials are in which state, and the budget."""
    study = snapshot.study
    counts = {
        "completed": len(study.in_state(TrialState.COMPLETED)),
        "running": len(snapshot.running),
        "queued": len(snapshot.queued),
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


def warnings(snapshot: Snapshot) -> list[str]:
    """What somebody who looks at the study should know."""
    study, found = snapshot.study, []
    if snapshot.paths.pause.exists():
        found.append(f"paused; `frontrunner resume {snapshot.paths.folder}` goes on")
    found += [f"node {node} gets no more trials: {why}" for node, why in study.excluded.items()]
    found += [
        f"batch {batch.id}: the scheduler did not take it yet, {batch.tries + batch.refusals} tries so far"
        for batch in study.open_batches
        if batch.job_id is None and batch.tries + batch.refusals
    ]
    if missing := [trial.id for trial in study.in_flight if trial.missing]:
        found.append(f"no longer in the queue and without a result yet: {', '.join(missing)}")
    return found


def overview(snapshot: Snapshot) -> RenderableType:
    """The whole study on one screen."""
    study, objectives = snapshot.study, snapshot.objectives
    parts: list[RenderableType] = [
        Text.assemble((study.name, "bold"), f"  {snapshot.state}"),
        Text(counts_line(snapshot) + forecast(snapshot)),
    ]
    if snapshot.waiting:
        parts.append(Text(waiting_line(snapshot)))
    parts += [Text(line, style="yellow") for line in warnings(snapshot)]
    if snapshot.running:
        parts += [Text(), running_table(snapshot.running)]
    if study.in_state(TrialState.COMPLETED):
        parts += [Text(), front_table(study, objectives)]
        parts.append(Text(f"hypervolume {number(volume(study, objectives))}"))
    failed = study.in_state(TrialState.FAILED)
    if failed:
        parts += [Text(), Text("last failures", style="bold")]
        parts += [Text(f"{trial.id}  {trial.cause}: {trial.message}") for trial in failed[-3:]]
    return Group(*parts)


def waiting_line(snapshot: Snapshot) -> str:
    """Why trials wait, in the scheduler's words."""
    return "waiting: " + ", ".join(f"{count} ({why})" for why, count in snapshot.waiting.items())


def forecast(snapshot: Snapshot) -> str:
    """When the study will end at its pace so far; empty where that is unknown."""
    study = snapshot.study
    budget = study.settings.get("budget", {}).get("trials")
    ended = len(study.trials) - len(study.in_flight)
    if study.finished or study.stopped or not budget or not ended:
        return ""
    share = sum(one.progress.step / max(one.progress.steps, 1) for one in snapshot.running)
    left_s = elapsed_s(study) / (ended + share) * (budget - ended - share)
    return f", about {duration(max(left_s, 0.0))} left"


def event_line(event: Mapping[str, Any], study: Study) -> str:
    """One journal event for people; empty for those that say nothing to them."""
    trial = f"trial {event.get('trial')}"
    batch = f"batch {event.get('batch')}"
    why = f"({event.get('cause')}): {event.get('message')}"
    match event["event"]:
        case Event.BATCH_PLANNED:
            new = [f"{p['trial']} ({p['origin']}: {_params(p['params'])})" for p in event["proposals"]]
            again = [f"{name} (next attempt)" for name in event["retries"]]
            return f"{batch} planned: {', '.join(new + again)}"
        case Event.BATCH_SUBMITTED:
            count = len(study.batches[event["batch"]].trials)
            return f"{batch} submitted: array {event['job_id']} of {count}"
        case Event.TRIAL_COMPLETED:
            return f"{trial} completed: {metrics_text(study.trials[event['trial']], study.objectives)}"
        case Event.ATTEMPT_ENDED:
            return f"{trial} attempt {event['attempt'] or '-'} ended {why}"
        case Event.ATTEMPT_REQUEUED:
            return f"{trial} attempt {event['attempt']} interrupted {why}"
        case Event.TASK_MISSING:
            words = f" ({event['detail']})" if event["detail"] else ""
            return f"{trial} is no longer in the queue{words}, and has no result yet"
        case Event.NODE_EXCLUDED:
            return f"node {event['node']} gets no more trials: {event['message']}"
        case Event.BATCH_SPLIT:
            return f"{batch} is too large for the scheduler now: it becomes two"
        case Event.PROPOSAL_REQUESTED:
            return f"proposals asked of job {event['job_id']}"
        case Event.PROPOSAL_FAILED if not event.get("empty"):
            return f"no proposals: {event['message']}"
        case Event.TRIAL_FAILED:
            return f"{trial} failed {why}"
        case Event.TRIAL_CANCELLED:
            return f"{trial} cancelled {event.get('message', '')}".rstrip()
        case Event.SUBMISSION_FAILED:
            return f"{batch} could not be submitted, trying again later: {event['message']}"
        case Event.STUDY_FINISHED:
            return f"study complete: {event['reason']}"
    return ""


def _params(params: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={number(value)}" for name, value in params.items())


def progress_line(one: Running) -> str:
    """A running trial on one plain line."""
    progress = one.progress
    loss = "" if progress.loss is None else f", loss {progress.loss:.3f}"
    left = "" if one.seconds_left is None else f", {duration(one.seconds_left)} left"
    steps = f" step {progress.step}/{progress.steps}" if progress.steps else ""
    return f"trial {one.trial.id} {progress.phase}{steps}{loss}{left}"
