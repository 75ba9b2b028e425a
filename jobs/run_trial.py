"""Runs one QLoRA trial on a node: spec.json in, metrics.json out."""

from __future__ import annotations

import sys

from hpo.records import StoppedResult, TrialResult, TrialSpec
from jobs.attempt.attempt import Attempt, conduct
from jobs.attempt.environment import go_offline


def main(study_folder: str, batch: str, trial: str) -> int:
    """Run one attempt of a trial.

    Returns:
        0 if there is a result or nothing to do; 1 if the attempt failed, with its failure file written.
    """
    return conduct(study_folder, batch, trial, _work)


def _work(spec: TrialSpec, attempt: Attempt) -> TrialResult | StoppedResult:
    go_offline()
    from jobs.training.gpus import take_place

    place = take_place(spec)  # before any library has looked at the cards
    from jobs.training.trial import run  # seconds of imports

    return run(spec, attempt, place)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
