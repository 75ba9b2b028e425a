"""`status`: a study's snapshot, as text or for scripts."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from hpo.display.overview import overview
from hpo.forecasts.end import forecast_end
from hpo.paths import StudyPaths
from hpo.study.gpu_hours import saved_hours
from hpo.study.queue_view import batch_states
from hpo.study.room import folder_size
from hpo.study.snapshot import Snapshot, elapsed_s, pareto_trials, reference, take, volume
from hpo.study.state import Trial, TrialState
from hpo.study.store import find_study

WATCH_S = 2.0


def status(name: str, root: Path, console: Console, *, as_json: bool, watch: bool) -> int:
    """Show how a study stands.

    Args:
        name: a study folder, or a name under `root`.
        root: the study root.
        console: where to show it.
        as_json: one JSON object, for scripts; with `watch` one a line.
        watch: again and again, until the study is complete or Ctrl-C.

    Raises:
        InputError: there is no such study.
    """
    paths = find_study(name, root)
    if watch:
        _watch(paths, console, as_json=as_json)
    elif as_json:
        size = folder_size(paths.folder)
        told = {**to_json(take(paths)), "disk": {"bytes": size.bytes, "whole": size.whole}}
        print(json.dumps(told, indent=1))
    else:
        console.print(overview(take(paths)))
        console.print(f"\n{folder_size(paths.folder)} in {paths.folder}", highlight=False, soft_wrap=True)
    return 0


def _watch(paths: StudyPaths, console: Console, *, as_json: bool) -> None:
    """Redraw on a terminal; elsewhere one JSON line, or the whole picture, each time something happened."""
    snapshot, shown = take(paths), ""
    drawn = console.is_terminal and not as_json
    live = Live(console=console, auto_refresh=False)
    if drawn:
        live.start()
    try:
        while True:
            if drawn:
                live.update(overview(snapshot, console.height), refresh=True)
            elif snapshot.study.last_at != shown:
                console.print(overview(snapshot)) if not as_json else print(
                    json.dumps(to_json(snapshot)), flush=True
                )
            shown = snapshot.study.last_at
            if snapshot.study.finished:
                return
            time.sleep(WATCH_S)
            snapshot = take(paths)
    finally:
        live.stop()


def to_json(snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot for scripts: `status --json`."""
    study, objectives, left = snapshot.study, snapshot.objectives, forecast_end(snapshot)
    counts = {state.value: len(study.in_state(state)) for state in TrialState}
    return {
        "study": study.name,
        "folder": str(snapshot.paths.folder),
        "state": snapshot.state,
        "finished": bool(study.finished),
        "budget": study.settings.get("budget", {}),
        "batch": study.settings.get("batch", {}),
        "batch_auto": study.settings.get("batch_auto"),
        "trials": counts | {"running": len(snapshot.running), "queued": len(snapshot.queued)},
        "elapsed_s": elapsed_s(study),
        "paused": snapshot.paths.pause.exists(),
        "forecast": left and {"seconds_left": left.seconds, "gpu_hours_left": left.gpu_hours},
        "usage": snapshot.usage.to_json() | ({"saved": saved} if (saved := saved_hours(study)) else {}),
        "batches": [
            {"batch": one.batch.id, "job_id": one.batch.job_id, "states": one.states, "nodes": one.nodes}
            for one in batch_states(study, snapshot.queue, snapshot.over)
        ],
        "queue_seen_at": snapshot.queue.at if snapshot.queue.tasks else None,
        "excluded_nodes": study.excluded,
        "objectives": study.objectives,
        "hypervolume": volume(study, objectives),
        "reference_point": reference(study, objectives),
        "pareto_front": [_trial_json(trial) for trial in pareto_trials(study, objectives)],
        "running": [
            {"trial": one.trial.id, **one.progress.to_json(), "seconds_left": one.seconds_left}
            for one in snapshot.running
        ],
        "stopped": [
            {"trial": trial.id, "rung": trial.rungs[-1].rung, "params": trial.params}
            for trial in study.in_state(TrialState.STOPPED)
            if trial.rungs
        ],
        "thawed": [trial.id for trial in study.trials.values() if trial.thawed],
        "failures": [_trial_json(trial) for trial in study.in_state(TrialState.FAILED)],
    }


def _trial_json(trial: Trial) -> dict[str, Any]:
    metrics = {name: metric.__dict__ for name, metric in trial.metrics.items()}
    return {
        "trial": trial.id,
        "params": trial.params,
        "origin": trial.origin,
        "metrics": metrics,
        "cause": trial.cause,
        "message": trial.message,
    }
