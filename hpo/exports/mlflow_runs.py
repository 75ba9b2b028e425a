"""A study as an MLflow experiment: a run for each trial that has ended, with its learning curves."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # an export tells nobody anything

from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from hpo.records import LIVE_TAG, STUDY_TAG, TRIAL_TAG
from hpo.study.learning_curves import learning_curve
from hpo.study.snapshot import Snapshot, pareto_trials
from hpo.study.state import ENDED, Trial, TrialState

T = TypeVar("T")

MOST_METRICS = 1000  # of one request, by MLflow's own limit
MOST_PARAMS = 100
STATUS = {
    TrialState.COMPLETED: "FINISHED",
    TrialState.FAILED: "FAILED",
    TrialState.CANCELLED: "KILLED",
    TrialState.STOPPED: "KILLED",  # its tag `state` tells it from a cancelled one
}


def write_runs(snapshot: Snapshot, uri: str, artifacts: str | None, each: Iterable[Trial]) -> int:
    """Log the trials that have ended and are not there yet.

    Args:
        uri: of the tracking server, or of a database.
        artifacts: where a new experiment keeps its files; None: where the server wants them.
        each: the study's trials.

    Returns:
        How many runs were logged.
    """
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    client = MlflowClient(tracking_uri=uri)
    study = snapshot.study
    known = client.get_experiment_by_name(study.name)
    experiment = known.experiment_id if known else client.create_experiment(study.name, artifacts)
    there = _logged(client, experiment, study.uid)
    front = {trial.id for trial in pareto_trials(study, snapshot.objectives)}
    count = 0
    for trial in each:
        if trial.state in ENDED and trial.id not in there:
            _log(client, experiment, snapshot, trial, on_front=trial.id in front)
            count += 1
    for name, run in there.items():  # a later result may have pushed it off the front
        client.set_tag(run, "on_front", str(name in front).lower())
    return count


def _logged(client: MlflowClient, experiment: str, uid: str) -> dict[str, str]:
    """Trial -> id of its run, of those that are whole or that the trial logs itself."""
    found: dict[str, str] = {}
    token: str | None = None
    while True:
        page = client.search_runs([experiment], f"tags.`{STUDY_TAG}` = '{uid}'", page_token=token)
        for run in page:
            if run.info.status == "RUNNING" and LIVE_TAG not in run.data.tags:
                client.delete_run(run.info.run_id)  # an export that was killed on the way
            else:
                found[run.data.tags[TRIAL_TAG]] = run.info.run_id
        token = page.token
        if not token:
            return found


def _log(client: MlflowClient, experiment: str, snapshot: Snapshot, trial: Trial, *, on_front: bool) -> None:
    began, ended = _ms(trial.planned_at), _ms(trial.ended_at)
    tags = {
        STUDY_TAG: snapshot.study.uid,
        TRIAL_TAG: trial.id,
        "origin": trial.origin,
        "state": trial.state.value,
        **({"rung": str(trial.rungs[-1].rung), "thawed": str(trial.thawed)} if trial.rungs else {}),
        "on_front": str(on_front).lower(),
        "cause": trial.cause.value if trial.cause else "",
        "message": trial.message[:5000],
        "folder": str(snapshot.paths.trial(trial.id).folder),
    }
    run = client.create_run(experiment, start_time=began, run_name=f"{snapshot.study.name} {trial.id}")
    own = run.info.run_id
    client.log_batch(own, tags=[RunTag(name, text) for name, text in tags.items() if text])
    params = [Param(name, str(value)) for name, value in trial.params.items()]
    for part in _parts(params, MOST_PARAMS):
        client.log_batch(own, params=part)
    for points in _parts(list(_points(snapshot, trial, ended)), MOST_METRICS):
        client.log_batch(own, metrics=points)
    client.set_terminated(own, STATUS[trial.state], ended)


def _points(snapshot: Snapshot, trial: Trial, ended: int) -> Iterator[Metric]:
    for name, metric in trial.metrics.items():
        yield Metric(name, metric.value, ended, 0)
        if metric.standard_error is not None:
            yield Metric(f"{name}_se", metric.standard_error, ended, 0)
    for point in learning_curve(snapshot.paths.trial(trial.id).progress):
        for name, value in point.curves().items():
            yield Metric(name, value, _ms(point.at), point.step)


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _ms(at: str) -> int:
    return round(datetime.fromisoformat(at).timestamp() * 1000)
