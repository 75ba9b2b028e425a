"""One batch from plan to released array, so that a kill at any moment submits nothing twice.

Order: specs -> journal line (the batch exists) -> batch.json "intent" with a fresh name -> held array ->
batch.json "submitted" with the job id -> release -> "released". A held array that no batch.json names can
only come from a controller that was killed between the two, or from an sbatch that was taken for failed: it
never ran, and every look at the queue sweeps it away.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo.controller.proposer import Proposer
from hpo.paths import StudyPaths
from hpo.ports import OVER, ArrayOptions, Executor, Task, TaskView
from hpo.records import BatchRecord, RecordError, TrialSpec, set_aside
from hpo.study.journal import Journal
from hpo.study.state import Batch, Study, Trial


def write_specs(journal: Journal, paths: StudyPaths, specs: Sequence[TrialSpec]) -> None:
    """Write what each trial of a batch is to run; before the journal names them."""
    for spec in specs:
        trial = paths.trial(spec.trial)
        journal.confirm()
        trial.folder.mkdir(exist_ok=True)
        journal.write(trial.spec, spec.to_json())


def forget(journal: Journal, paths: StudyPaths, batch: str) -> None:
    """Drop what is recorded of a batch that is yet to be planned.

    A journal that lost its last line, as after a power cut, no longer knows that batch; its array is held and
    is swept away, so the record must not be taken for that of the batch that now gets its number.

    Args:
        batch: id of the next batch.
    """
    journal.confirm()
    paths.batch(batch).record.unlink(missing_ok=True)


def study_prefix(study: Study) -> str:
    """The start of the names of all arrays of a study, and of no other's."""
    return f"fr-{study.name}-{study.uid}-"


def array_name(study: Study, batch: str) -> str:
    """The start of an array's name, common to all submissions of one batch."""
    return f"{study_prefix(study)}{batch}-"


def array_request(
    paths: StudyPaths, batch: Batch, name: str, target: str, options: ArrayOptions | None = None
) -> dict[str, Any]:
    """The keyword arguments of `Executor.submit` for a batch."""
    return {
        "name": name,
        "folder": str(paths.batch(batch.id).submission),
        "target": target,
        "arguments": [(str(paths.folder), batch.id, trial) for trial in batch.trials],
        "options": options,
    }


def batch_record(journal: Journal, paths: StudyPaths, batch: Batch) -> BatchRecord | None:
    """What is recorded of a batch; None where nothing is.

    A damaged record is set aside. Where the journal names the array, it is written anew: a task of that array
    does nothing without one. Where it does not, the array is still held, and is swept away.
    """
    path = paths.batch(batch.id).record
    try:
        return BatchRecord.read(path)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    except RecordError:
        set_aside(path)
    if batch.job_id is None:
        return None
    name = array_name(journal.study, batch.id)
    record = BatchRecord(batch.id, name, batch.trials, state="submitted", job_id=batch.job_id)
    journal.write(path, record.to_json())
    return record


def mend_spec(journal: Journal, paths: StudyPaths, proposer: Proposer, trial: Trial) -> bool:
    """Write anew what a trial is to run, where its file is damaged or missing.

    Returns:
        Whether it can be read now; what cannot be made again as it was is left.
    """
    path = paths.trial(trial.id).spec
    with suppress(FileNotFoundError, RecordError):
        return bool(TrialSpec.read(path))
    study = journal.study
    earlier = {name: one for name, one in study.trials.items() if one.number < trial.number}
    chosen = [(trial.params, trial.origin, "")]
    made = proposer.make_trials(replace(study, trials=earlier), chosen)
    if not made or (made[0].spec.trial, made[0].spec.params) != (trial.id, trial.params):
        return False
    if path.exists():
        set_aside(path)
    write_specs(journal, paths, [made[0].spec])
    return True


def submit_held(
    journal: Journal,
    paths: StudyPaths,
    batch: Batch,
    executor: Executor,
    target: str,
    options: ArrayOptions,
    warned_s: float | None,
) -> str:
    """Bring a batch to where its array is in the queue, held, from wherever a killed controller left it.

    Args:
        batch: what to submit.
        executor: where; its queue has been swept of unrecorded arrays.
        target: `module:function` that runs a trial.

    Returns:
        The job id, recorded in batch.json.

    Raises:
        RuntimeError: of the executor's family: the submission failed, and may have succeeded all the same.
        StudyError: another controller has taken over, meanwhile perhaps: what was submitted is swept away.
    """
    files = paths.batch(batch.id)
    journal.confirm()
    files.submission.mkdir(parents=True, exist_ok=True)
    present = batch_record(journal, paths, batch)
    if present is not None and present.job_id is not None:
        return present.job_id
    name = array_name(journal.study, batch.id) + uuid.uuid4().hex[:6]
    at_once = options.get("at_once")
    record = BatchRecord(batch.id, name, batch.trials, state="intent", at_once=at_once, warned_s=warned_s)
    journal.write(files.record, record.to_json())
    job_id = executor.submit(**array_request(paths, batch, name, target, options))
    journal.write(files.record, replace(record, state="submitted", job_id=job_id).to_json())
    return job_id


def release(journal: Journal, paths: StudyPaths, batch: Batch, executor: Executor) -> None:
    """Let a submitted array start, and record it; harmless when repeated.

    Raises:
        RuntimeError: of the executor's family: the array stays held.
    """
    files = paths.batch(batch.id)
    record = batch_record(journal, paths, batch)
    assert record is not None, "only what is recorded as submitted is released"
    assert record.job_id is not None, "likewise"
    executor.release(record.job_id)
    if record.state != "released":
        journal.write(files.record, replace(record, state="released").to_json())


def unrecorded(paths: StudyPaths, study: Study, live: Mapping[Task, TaskView]) -> set[Task]:
    """The live tasks of arrays that carry this study's name and that no record of it knows."""
    prefix = study_prefix(study)
    known = study.helpers | {batch.job_id for batch in study.batches.values()}
    found = {
        task
        for task, view in live.items()
        if view["state"] != OVER and view["name"].startswith(prefix) and task[0] not in known
    }
    if found:  # a controller that was killed between batch.json and the journal
        recorded = {_recorded(paths.batch(batch.id).record) for batch in study.batches.values()}
        found = {task for task in found if task[0] not in recorded}
    return found


def _recorded(path: Path) -> str | None:
    with suppress(FileNotFoundError, RecordError):
        return BatchRecord.read(path).job_id
    return None
