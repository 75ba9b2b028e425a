"""Runs one trial on a node: spec.json in, metrics.json out.

Loads nothing heavy before the signal handlers are in place: imports take seconds, and signals come any time.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hpo.paths import StudyPaths, TrialPaths
from hpo.records import TrialSpec, write_json_once
from jobs.environment import go_offline
from jobs.failures import record_failure
from jobs.lease import Ownership, refusal, take
from jobs.signals import Signals


def main(study_folder: str, batch: str, trial: str) -> int:
    """Run one attempt of a trial.

    Args:
        study_folder: of the study.
        batch: id of the batch that this task belongs to.
        trial: id of the trial.

    Returns:
        0 if there is a result or nothing to do; 1 if the attempt failed, with its failure file written.
    """
    study = StudyPaths(_folder(study_folder))
    paths = study.trial(trial)
    signals = Signals(paths.cancel)
    signals.install()
    reason = refusal(study.batch(batch), paths)
    owner = take(paths, trial, batch) if reason is None else None
    if owner is None:
        print(f"trial {trial}: nothing to do: {reason or 'a later attempt has it'}", flush=True)
        return 0
    return _attempt(paths, owner, signals)


def _folder(text: str) -> Path:
    return Path(text).resolve()


def _attempt(paths: TrialPaths, owner: Ownership, signals: Signals) -> int:
    lease = owner.lease
    print(f"trial {lease.trial}, attempt {lease.attempt} on {lease.host} as {lease.job}", flush=True)
    try:
        spec = TrialSpec.read(paths.spec)
        go_offline()
        from jobs.trial import run  # seconds of imports

        result = run(spec, paths, owner, signals)
    except Exception as error:  # the boundary of the trial: whatever it was becomes a record
        owner.confirm()
        failure = record_failure(paths, lease.trial, lease.attempt, error)
        print(f"{failure.traceback}\nfailed: {failure.cause}: {failure.message}", flush=True)
        return 1
    owner.confirm()
    first = write_json_once(paths.metrics, result.to_json())
    print("done" if first else "another attempt was first with its result", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
