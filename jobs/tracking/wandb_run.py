"""A trial as a run of Weights & Biases, with its client.

transformers' callback does not fit: it logs without a step, and so repeats after a resume what the run has
already; and it knows neither results nor trials that are no training.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # nodes without a network tell nobody anything

import wandb

from hpo.paths import TrialPaths
from hpo.records import STUDY_TAG, TRIAL_TAG, Metric, TrialSpec

PROJECT = "frontrunner"
FLUSH_S = 1.0  # a kill loses what is younger; by default 15


class Run:
    """See `jobs.tracking.follower.Tracker`. The id is of study and trial, so that attempts share the run."""

    def __init__(self, spec: TrialSpec, paths: TrialPaths) -> None:
        asked, uid = spec.tracking, spec.tracking["uid"]
        mode: Any = asked.get("mode") or os.environ.get("WANDB_MODE") or "offline"
        self._run = wandb.init(
            id=f"{uid}-{spec.trial}",
            resume="allow",
            mode=mode,
            project=asked.get("project") or os.environ.get("WANDB_PROJECT") or PROJECT,
            entity=asked.get("entity"),
            group=spec.study,
            name=f"{spec.study} {spec.trial}",
            config={**spec.params, STUDY_TAG: uid, TRIAL_TAG: spec.trial, "folder": str(paths.folder)},
            dir=paths.folder,
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                save_code=False,
                x_transaction_log_flush_interval=FLUSH_S,
            ),
        )

    def points(self, values: Mapping[str, float], step: int) -> None:
        """Log the values of a step."""
        self._run.log(dict(values), step=step)

    def end(self, metrics: Mapping[str, Metric], state: str) -> None:
        """End the run."""
        self._run.summary["state"] = state
        for name, metric in metrics.items():
            self._run.summary[name] = metric.value
            if metric.standard_error is not None:
                self._run.summary[f"{name}_se"] = metric.standard_error
        self._run.finish(exit_code=int(state == "failed"))
