"""Runs one trial of decoding on a node: spec.json in, metrics.json out."""

from __future__ import annotations

import sys

from hpo.records import TrialResult, TrialSpec
from jobs.attempt.attempt import Attempt, conduct
from jobs.attempt.environment import go_offline


def main(study_folder: str, batch: str, trial: str) -> int:
    """Run one attempt of a trial; see `jobs.attempt.attempt.conduct`."""
    return conduct(study_folder, batch, trial, _work)


def _work(spec: TrialSpec, attempt: Attempt) -> TrialResult:
    go_offline()
    from jobs.evaluation.decode_trial import run  # seconds of imports

    return run(spec, attempt)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
