"""One batch from plan to released array, so that a kill at any moment submits nothing twice.

Order: specs -> journal line (the batch exists) -> batch.json "intent" with a fresh name -> held array ->
batch.json "submitted" with the job id -> release -> "released". A held array that no batch.json names can
only come from a controller that was killed between the two: it never ran, is cancelled and submitted anew.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hpo.paths import StudyPaths
from hpo.ports import Executor
from hpo.records import BatchRecord, TrialSpec, write_json
from hpo.study import Batch, Study


def write_specs(paths: StudyPaths, specs: Sequence[TrialSpec]) -> None:
    """Write what each trial of a batch is to run; before the journal names them."""
    for spec in specs:
        trial = paths.trial(spec.trial)
        trial.folder.mkdir(exist_ok=True)
        write_json(trial.spec, spec.to_json())


def array_name(study: Study, batch: str) -> str:
    """The start of an array's name, common to all submissions of one batch."""
    return f"fr-{study.name}-{study.uid}-{batch}-"


def array_request(paths: StudyPaths, batch: Batch, name: str, target: str) -> dict[str, Any]:
    """The keyword arguments of `Executor.submit` for a batch."""
    return {
        "name": name,
        "folder": str(paths.batch(batch.id).submission),
        "target": target,
        "arguments": [(str(paths.folder), batch.id, trial) for trial in batch.trials],
    }


def submit_batch(
    paths: StudyPaths, study: Study, batch: Batch, executor: Executor, target: str
) -> str | None:
    """Bring a batch to where its array is released, from wherever a killed controller left it.

    Returns:
        The job id; None where the scheduler could not be asked about an earlier submission.

    Raises:
        RuntimeError: of the executor's family: the submission failed, and may have succeeded all the same.
    """
    files = paths.batch(batch.id)
    files.submission.mkdir(parents=True, exist_ok=True)
    record = BatchRecord.read(files.record) if files.record.exists() else None
    if record is None or record.job_id is None:
        if not _clear_unrecorded(study, batch, executor, record):
            return None
        name = array_name(study, batch.id) + uuid.uuid4().hex[:6]
        record = BatchRecord(batch.id, name, batch.trials, state="intent")
        write_json(files.record, record.to_json())
        job_id = executor.submit(**array_request(paths, batch, name, target))
        record = replace(record, state="submitted", job_id=job_id)
        write_json(files.record, record.to_json())
    assert record.job_id is not None
    if record.state != "released":
        executor.release(record.job_id)
        write_json(files.record, replace(record, state="released").to_json())
    return record.job_id


def _clear_unrecorded(study: Study, batch: Batch, executor: Executor, record: BatchRecord | None) -> bool:
    """Cancel what an earlier try submitted without recording it; False where nobody can say."""
    if record is None:  # there was no try: the intent is written first
        return True
    found: Mapping[str, str] | None = executor.find(array_name(study, batch.id))
    if found is None:
        return False
    executor.cancel([(job_id, index) for job_id in found for index in range(len(batch.trials))])
    return True
