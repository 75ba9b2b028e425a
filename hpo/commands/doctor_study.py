"""`doctor STUDY`: whether the files of a study folder can be read, and a way out of those that cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from hpo.commands.doctor import Line, show
from hpo.commands.tune import configured
from hpo.controller.assembly import Assembly, assemble
from hpo.controller.submission import batch_record, mend_spec
from hpo.controller.targets import programs, refuse_unknown_targets
from hpo.errors import InputError
from hpo.paths import StudyPaths
from hpo.records import (
    AttemptRecord,
    BatchRecord,
    Failure,
    Lease,
    RecordError,
    TrialResult,
    TrialSpec,
    read_json,
    set_aside,
)
from hpo.study.journal import Journal, load_study
from hpo.study.lease import HeldLease
from hpo.study.queue_view import QueueView
from hpo.study.rebuilding import rebuild_journal
from hpo.study.recipe import content_hash
from hpo.study.state import Study
from hpo.study.store import find_folder, read_configuration
from hpo.study.trust import refuse_foreign, refuse_ways_out

Read = Callable[[Path], object]


def doctor_study(name: str, root: Path, console: Console) -> int:
    """Check the files of a study, set aside what is damaged, and rebuild it where the rest has it all.

    Returns:
        0, or 1 where something is left that has to be done by hand.

    Raises:
        InputError: there is no such study, it is somebody else's, or a controller is at work on it.
    """
    paths = find_folder(name, root)
    refuse_ways_out(paths.folder)
    refuse_foreign(paths)
    with HeldLease(paths.controller):
        return show(list(_lines(paths)), console)


def _lines(paths: StudyPaths) -> Iterator[Line]:
    raw, line = _configuration(paths)
    yield line
    study, line = _journal(paths, raw)
    yield line
    if study is None:
        return
    damaged = list(_damaged(paths, study, raw))
    yield from damaged
    if not damaged:
        yield "ok", f"every other record of {len(study.batches)} batches and {len(study.trials)} trials", ""
    for program in programs(raw or {}):
        yield "ok", f"its commands run {program}", ""


def _configuration(paths: StudyPaths) -> tuple[Mapping[str, Any] | None, Line]:
    try:
        return read_configuration(paths)["config"], ("ok", f"{paths.configuration}: can be read", "")
    except RecordError as error:
        hint = "until then only what needs the configuration does not work: `report`, `train`, `evaluate`"
        return None, ("warn" if paths.journal.exists() else "fail", str(error), hint)


def _journal(paths: StudyPaths, raw: Mapping[str, Any] | None) -> tuple[Study | None, Line]:
    try:
        study = load_study(paths.journal)
        return study, ("ok", f"{paths.journal}: tells of {len(study.trials)} trials", "")
    except RecordError as error:
        wrong = str(error)
    try:
        made_of = rebuild_journal(paths, lambda: _created(paths, raw))
    except (RecordError, InputError) as error:
        hint = "the results are in trials/<id>/metrics.json; study.known of a new study takes them from a CSV"
        return None, ("fail", f"{wrong}; it cannot be rebuilt: {error}", hint)
    study = load_study(paths.journal)
    hint = "the same `tune` command goes on, and takes up what the trials' own files tell"
    return study, ("warn", f"{wrong}; set aside, and rebuilt from {made_of}", hint)


def _created(paths: StudyPaths, raw: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the first line of the journal said, from study.yaml."""
    parts = _assembly(raw)
    if parts is None or content_hash(parts.identity) != read_configuration(paths).get("identity_hash"):
        raise RecordError(f"{paths.configuration} does not say all that the study began with")
    return {**configured(parts), "identity": parts.identity}


def _assembly(raw: Mapping[str, Any] | None) -> Assembly | None:
    if raw is None:
        return None
    refuse_unknown_targets(raw)
    return assemble(raw, [])


def _damaged(paths: StudyPaths, study: Study, raw: Mapping[str, Any] | None) -> Iterator[Line]:
    """A line for each record that cannot be read, which is set aside."""
    journal = Journal(paths.journal)
    for batch in study.batches.values():
        if wrong := _problem(paths.batch(batch.id).record, BatchRecord.read):
            mended = batch_record(journal, paths, batch)
            what = "rebuilt from the journal" if mended else "its array never ran: it is submitted anew"
            yield "warn", f"{wrong}; set aside, {what}", ""
    broken = [trial for trial in study.trials.values() if _spec_problem(paths, trial.id)]
    proposer = parts.proposer() if broken and (parts := _assembly(raw)) else None
    for trial in broken:
        wrong = _spec_problem(paths, trial.id)
        if proposer and mend_spec(journal, paths, proposer, trial):
            yield "warn", f"{wrong}; made again from the journal and the configuration", ""
        else:
            yield "fail", f"{wrong}; it cannot be made again", "`tune` does so for trials that have not ended"
    for path, read, what in _small_records(paths, study):
        if wrong := _problem(path, read):
            set_aside(path)
            yield "warn", f"{wrong}; set aside: {what}", ""


def _spec_problem(paths: StudyPaths, trial: str) -> str:
    path = paths.trial(trial).spec
    return _problem(path, TrialSpec.read) or ("" if path.exists() else f"{path}: there is no such file")


def _problem(path: Path, read: Read) -> str:
    try:
        read(path)
    except FileNotFoundError:
        return ""
    except RecordError as error:
        return str(error)
    return ""


def _small_records(paths: StudyPaths, study: Study) -> Iterator[tuple[Path, Read, str]]:
    """What can be done without: (file, what reads it, what becomes of it)."""
    yield paths.queue, QueueView.read, "the controller writes it anew"
    yield paths.reporting, read_json, "the next report is made when it is due"
    for path in paths.evaluations():
        yield path, read_json, "the same `evaluate` command writes it anew"
    for trial in study.trials.values():
        files = paths.trial(trial.id)
        yield files.lease, Lease.read, "the attempt's own record stands in for it"
        for path in sorted(files.attempts.glob("*.json")):
            yield path, AttemptRecord.read, "what the attempt cost is known from the journal, or lost"
        for path in files.failures():
            yield path, Failure.read, "the attempt counts as lost"
        known = trial.ended_at and "the journal has the metrics"
        yield files.metrics, TrialResult.read, known or "the trial gets another attempt"
