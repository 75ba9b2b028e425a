"""A journal made anew from what else a study folder has: its lines up to the damage, then batches and specs.

What is lost is told by the trials' own files as soon as a controller looks: results, failures, attempts and
their GPU-hours. Where a trial came from, and why nodes were left out, is not.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from hpo.paths import StudyPaths
from hpo.records import SCHEMA_VERSION, BatchRecord, RecordError, TrialSpec, set_aside, utc_now, write_text
from hpo.study.replay import apply, replay
from hpo.study.state import Event, Study

ORIGIN = "rebuilt"
_ARRAY = re.compile(r"fr-.*-(?P<uid>[0-9a-f]{6})-\d+-[0-9a-f]*")  # the name of one

Entry = Mapping[str, Any]


def rebuild_journal(paths: StudyPaths, created: Callable[[], Entry]) -> str:
    """Write the journal anew, the damaged one set aside; for the holder of the controller's lease.

    Args:
        created: objectives, settings and identity, of a journal that has lost even its first line.

    Returns:
        What it was made from.

    Raises:
        RecordError: a spec that is needed cannot be read; nothing was changed.
    """
    records = dict(_records(paths))
    kept = list(_whole_lines(paths))
    entries = kept or [_created(paths, records, created())]
    study = replay(entries)
    for batch in sorted(records.keys() - study.batches.keys()):
        entries += _applied(study, _batch(paths, study, records[batch]))
    if left := _left_over(paths, study):
        record = BatchRecord(study.next_batch, "", left, state="intent")
        entries += _applied(study, _batch(paths, study, record))
    if paths.journal.exists():
        set_aside(paths.journal)
    write_text(paths.journal, "".join(json.dumps(dict(entry), allow_nan=False) + "\n" for entry in entries))
    return f"{len(kept)} of its lines, {len(records)} batches, {len(study.trials)} specs"


def _whole_lines(paths: StudyPaths) -> Iterator[Entry]:
    """The events before the first that cannot be read or does not fit."""
    study = Study()
    with suppress(FileNotFoundError, KeyError, ValueError, TypeError, AttributeError, RecordError):
        for line in paths.journal.read_bytes().split(b"\n")[:-1]:
            entry = json.loads(line)
            if not study.uid and entry["event"] != Event.STUDY_CREATED:
                return
            apply(study, entry)
            yield entry


def _records(paths: StudyPaths) -> Iterator[tuple[str, BatchRecord]]:
    """What is recorded of each batch; one that is damaged had trials, which are left over."""
    for folder in sorted(path for path in paths.batches.glob("*") if path.is_dir()):
        try:
            yield folder.name, BatchRecord.read(paths.batch(folder.name).record)
        except (FileNotFoundError, RecordError):
            yield folder.name, BatchRecord(folder.name, "", [], state="intent")


def _left_over(paths: StudyPaths, study: Study) -> list[str]:
    """The trials of which there is a spec and no batch, by number: they are submitted anew if need be."""
    return sorted({path.parent.name for path in paths.trials.glob("*/spec.json")} - study.trials.keys())


def _applied(study: Study, entries: Iterator[Entry]) -> list[Entry]:
    found = []
    for entry in entries:
        apply(study, entry)
        found.append(entry)
    return found


def _created(paths: StudyPaths, records: Mapping[str, BatchRecord], configured: Entry) -> Entry:
    """The beginning; the arrays in flight know the study by the mark that is part of their names."""
    names = (_ARRAY.fullmatch(record.name) for record in records.values())
    uid = next((name["uid"] for name in names if name), uuid.uuid4().hex[:6])
    return _event(Event.STUDY_CREATED, study=paths.name, uid=uid, earlier={}, **configured)


def _batch(paths: StudyPaths, study: Study, record: BatchRecord) -> Iterator[Entry]:
    new = [TrialSpec.read(paths.trial(name).spec) for name in record.trials if name not in study.trials]
    proposals = [
        {"trial": one.trial, "number": one.number, "params": one.params, "seed": one.seed, "origin": ORIGIN}
        for one in new
    ]
    again = [name for name in record.trials if name in study.trials]
    yield _event(Event.BATCH_PLANNED, batch=record.batch, proposals=proposals, retries=again)
    if record.job_id is not None:
        yield _event(Event.BATCH_SUBMITTED, batch=record.batch, job_id=record.job_id)


def _event(event: Event, **fields: Any) -> Entry:
    return {"schema_version": SCHEMA_VERSION, "at": utc_now(), "event": event.value, **fields}
