"""Trials as runs of the real client libraries, on local files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpo.paths import StudyPaths, TrialPaths
from hpo.records import Metric, ParamValue, TrialSpec, write_json_once


def spec_of(paths: TrialPaths, **tracking: Any) -> TrialSpec:
    paths.folder.mkdir(parents=True, exist_ok=True)
    params: dict[str, ParamValue] = {"learning_rate": 0.1, "target_modules": "qv"}
    trial = paths.folder.name
    return TrialSpec("mine", trial, 0, params, {}, [], 1, "", "", tracking={"uid": "abc123", **tracking})


def test_tensorboard_run(tmp_path: Path) -> None:
    """Two attempts, an event file each: one curve, the parameters and the result."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from jobs.tracking.tensorboard_run import Run

    paths = TrialPaths(tmp_path / "trials" / "0001")
    first = Run(spec_of(paths), paths)
    first.points({"curve/loss": 2.0}, 1)
    first.end({}, "failed")
    second = Run(spec_of(paths), paths)
    second.points({"curve/loss": 1.0}, 2)
    second.end({"eval_loss": Metric(0.5, 0.1)}, "completed")
    files = sorted(paths.tensorboard.iterdir())
    assert len(files) == 2
    curve, metrics = [], []
    for file in files:
        read = accumulator.EventAccumulator(str(file))
        read.Reload()
        tags = read.Tags()["scalars"]
        curve += [(event.step, event.value) for event in read.Scalars("curve/loss")]
        metrics += [event.value for tag in tags if tag == "metric/eval_loss" for event in read.Scalars(tag)]
    assert sorted(curve) == [(1, 2.0), (2, 1.0)]
    assert metrics == [0.5]


@pytest.mark.slow
def test_mlflow_trials_that_begin_together_share_one_experiment(tmp_path: Path) -> None:
    """Another trial says which experiment the study is while this one makes one: this one's is deleted."""
    mlflow = pytest.importorskip("mlflow.tracking")
    from jobs.tracking import mlflow_run

    study = StudyPaths(tmp_path)

    class Late(mlflow.MlflowClient):  # type: ignore[misc, name-defined]
        def create_experiment(self, name: str, *given: Any, **more: Any) -> str:
            write_json_once(study.mlflow_experiment, {"experiment": theirs})
            return str(super().create_experiment(name, *given, **more))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        client = Late(tracking_uri=study.mlflow.as_uri())
        theirs = mlflow.MlflowClient(tracking_uri=study.mlflow.as_uri()).create_experiment("theirs")
        assert mlflow_run.experiment_of(client, "mine", study.mlflow_experiment) == theirs
        assert client.get_experiment_by_name("mine").lifecycle_stage == "deleted"
        assert mlflow_run.experiment_of(client, "mine", study.mlflow_experiment) == theirs
