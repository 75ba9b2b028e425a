"""A study as TensorBoard runs: a folder for each trial, its learning curves, and the table of parameters."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb, hparams_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from hpo.study.learning_curves import learning_curve
from hpo.study.snapshot import Snapshot
from hpo.study.state import Trial, TrialState

STATUS = {
    TrialState.COMPLETED: api_pb2.STATUS_SUCCESS,
    TrialState.FAILED: api_pb2.STATUS_FAILURE,
    TrialState.CANCELLED: api_pb2.STATUS_FAILURE,
    TrialState.STOPPED: api_pb2.STATUS_SUCCESS,
}


def write_runs(snapshot: Snapshot, folder: Path, each: Iterable[Trial]) -> None:
    """Write an event file for each trial, and one that declares parameters and metrics.

    Args:
        folder: an existing one, the log directory.
        each: the study's trials.
    """
    study = snapshot.study
    metrics = study.metrics
    objectives = [name for name in snapshot.objectives if name in metrics]
    others = [name for name in metrics if name not in snapshot.objectives]
    shown = [Metric(f"metric/{name}", display_name=name) for name in (*objectives, *others)]
    began = _seconds(study.created_at)
    writer = EventFileWriter(str(folder))
    config = hparams_config_pb([HParam(name) for name in study.parameters], shown, time_created_secs=began)
    writer.add_event(Event(wall_time=began, summary=config))
    writer.close()
    for trial in each:
        _write(snapshot, trial, folder / trial.id)


def _write(snapshot: Snapshot, trial: Trial, folder: Path) -> None:
    writer = EventFileWriter(str(folder))
    began = _seconds(trial.planned_at)
    ended = _seconds(trial.ended_at) if trial.ended_at else began
    params = hparams_pb(dict(trial.params), trial_id=trial.id, start_time_secs=began)
    writer.add_event(Event(wall_time=began, step=0, summary=params))
    for point in learning_curve(snapshot.paths.trial(trial.id).progress):
        for name, value in point.curves().items():
            writer.add_event(_scalar(name, value, _seconds(point.at), point.step))
    for name, metric in trial.metrics.items():
        writer.add_event(_scalar(f"metric/{name}", metric.value, ended, 0))
        if metric.standard_error is not None:
            writer.add_event(_scalar(f"standard_error/{name}", metric.standard_error, ended, 0))
    if trial.state in STATUS:
        writer.add_event(Event(wall_time=ended, summary=_session_end(STATUS[trial.state], ended)))
    writer.close()


def _session_end(status: int, at: float) -> Summary:
    """What TensorBoard's own helper makes, which would import TensorFlow."""
    told = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=at)
    content = plugin_data_pb2.HParamsPluginData(session_end_info=told)
    value = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(content),
        tensor=metadata.NULL_TENSOR,
    )
    return Summary(value=[value])


def _scalar(tag: str, value: float, at: float, step: int) -> Event:
    return Event(wall_time=at, step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()
