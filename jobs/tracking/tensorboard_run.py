"""A trial as a TensorBoard run: an event file for each attempt in its folder, as `export` writes them."""

from __future__ import annotations

import time
from collections.abc import Mapping

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from hpo.paths import TrialPaths
from hpo.records import Metric, TrialSpec


class Run:
    """See `jobs.tracking.follower.Tracker`."""

    def __init__(self, spec: TrialSpec, paths: TrialPaths) -> None:
        self._writer = EventFileWriter(str(paths.tensorboard), flush_secs=10)
        params = hparams_pb(dict(spec.params), trial_id=spec.trial, start_time_secs=time.time())
        self._writer.add_event(Event(wall_time=time.time(), step=0, summary=params))

    def points(self, values: Mapping[str, float], step: int) -> None:
        """Log the values of a step."""
        told = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=told)))
        self._writer.flush()

    def end(self, metrics: Mapping[str, Metric], state: str) -> None:
        """End the run."""
        if metrics:
            self.points({f"metric/{name}": metric.value for name, metric in metrics.items()}, 0)
        self._writer.close()
