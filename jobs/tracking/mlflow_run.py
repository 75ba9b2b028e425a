"""A trial as a run of MLflow, with its client.

transformers' callback does not fit: its run ends with the training, before there is a result, and it logs
arguments that MLflow lets nobody change, as an attempt on a smaller card has to.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a trial tells nobody else anything

from mlflow.entities import Metric as Point
from mlflow.entities import Param
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from hpo.paths import StudyPaths, TrialPaths
from hpo.records import (
    LIVE_TAG,
    STUDY_TAG,
    TRIAL_TAG,
    Metric,
    TrialSpec,
    read_json,
    write_json,
    write_json_once,
)

MOST_PARAMS = 100  # of one request, by MLflow's own limit


class Run:
    """See `jobs.tracking.follower.Tracker`. The trial's folder keeps the run's id for later attempts."""

    def __init__(self, spec: TrialSpec, paths: TrialPaths) -> None:
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        named = spec.tracking.get("uri") or os.environ.get("MLFLOW_TRACKING_URI")
        study = StudyPaths(paths.folder.parent.parent)
        if not named or named.startswith(("file:", "/", ".")):
            os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # a database is for one host, and nodes are many
        uri = named or study.mlflow.as_uri()
        self._client = MlflowClient(tracking_uri=uri)
        with suppress(OSError, KeyError):
            known = read_json(paths.mlflow_run)
            if known["uri"] == uri:
                self._run = str(known["run"])
                self._client.update_run(self._run, status="RUNNING")
                return
        shared = None if named else study.mlflow_experiment
        self._run = self._begin(spec, paths, experiment_of(self._client, spec.study, shared))
        write_json(paths.mlflow_run, {"uri": uri, "run": self._run})

    def _begin(self, spec: TrialSpec, paths: TrialPaths, experiment: str) -> str:
        tags = {
            STUDY_TAG: str(spec.tracking["uid"]),
            TRIAL_TAG: spec.trial,
            LIVE_TAG: "true",
            "folder": str(paths.folder),
        }
        name = f"{spec.study} {spec.trial}"
        run = str(self._client.create_run(experiment, tags=tags, run_name=name).info.run_id)
        params = [Param(name, str(value)) for name, value in spec.params.items()]
        for start in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(run, params=params[start : start + MOST_PARAMS])
        return run

    def points(self, values: Mapping[str, float], step: int) -> None:
        """Log the values of a step."""
        now = round(time.time() * 1000)
        self._client.log_batch(self._run, [Point(name, value, now, step) for name, value in values.items()])

    def end(self, metrics: Mapping[str, Metric], state: str) -> None:
        """End the run."""
        values = {name: metric.value for name, metric in metrics.items()}
        values |= {
            f"{name}_se": metric.standard_error
            for name, metric in metrics.items()
            if metric.standard_error is not None
        }
        self.points(values, 0)
        self._client.set_tag(self._run, "state", state)
        self._client.set_terminated(self._run, "FAILED" if state == "failed" else "FINISHED")


def experiment_of(client: MlflowClient, name: str, shared: Path | None) -> str:
    """The experiment of a study, made where there is none.

    Args:
        shared: where its id is kept that all trials go by: a store of plain files lets two trials that begin
            at the same time make one each. None: the store itself sees to it.
    """
    with suppress(FileNotFoundError):
        if shared:
            return str(read_json(shared)["experiment"])
    made, known = "", client.get_experiment_by_name(name)
    if known is None:
        with suppress(MlflowException):  # another trial was first
            made = client.create_experiment(name)
        known = client.get_experiment(made) if made else client.get_experiment_by_name(name)
    if known is None:
        raise LookupError(f"experiment {name} can neither be made nor found")
    experiment = str(known.experiment_id)
    if shared and not write_json_once(shared, {"experiment": experiment}):
        experiment = str(read_json(shared)["experiment"])
        if made and made != experiment:
            client.delete_experiment(made)
    return experiment
