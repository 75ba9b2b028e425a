"""Merges one adapter into its base model on a node: spec.json in, a model folder and metrics.json out."""

from __future__ import annotations

import sys

from hpo.records import TrialResult, TrialSpec
from jobs.attempt.attempt import Attempt, conduct
from jobs.attempt.environment import go_offline


def main(study_folder: str, batch: str, trial: str) -> int:
    """Run one attempt; see `jobs.attempt.attempt.conduct`."""
    return conduct(study_folder, batch, trial, _work)


def _work(spec: TrialSpec, attempt: Attempt) -> TrialResult:
    go_offline()
    from jobs.after.merging import run  # seconds of imports

    return run(spec, attempt)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
