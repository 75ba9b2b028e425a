"""The commands that change a study from outside its loop: `cancel` and `retry`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from hpo.assembly import assemble
from hpo.collect import Cancelled, Collector
from hpo.errors import InputError
from hpo.journal import Journal, load_study
from hpo.lease import HeldLease
from hpo.paths import StudyPaths
from hpo.ports import Executor
from hpo.store import find_study, read_configuration
from hpo.study import Event, Study, Trial, TrialState

SETTLE_S = 60.0  # a cancelled task has Slurm's KillWait, 30 s by default, to end
POLL_S = 1.0


def cancel(name: str, root: Path, trials: Sequence[str], console: Console) -> int:
    """Stop trials that are in flight, or the whole study.

    The markers come first, so that a task which is requeued meanwhile sees them and does nothing. A
    controller at work records what was cancelled; without one it is recorded here.

    Raises:
        InputError: no such study or trial.
    """
    paths = find_study(name, root)
    study = load_study(paths.journal)
    chosen = [trial for trial in _chosen(study, trials) if trial in study.in_flight]
    if not trials:
        paths.stop.touch()
    for trial in chosen:
        paths.trial(trial.id).cancel.touch()
    executor = _executor(paths)
    for batch in {trial.batch for trial in chosen}:
        executor.adopt(str(paths.batch(batch).submission))
    executor.cancel([task for trial in chosen if (task := _task(study, trial))])
    console.print(f"cancelled {len(chosen)} trials in flight of study {study.name}", highlight=False)
    with suppress(InputError), HeldLease(paths.controller):
        _record(paths, executor, {trial.id for trial in chosen}, console, whole=not trials)
    return 0


def _record(
    paths: StudyPaths, executor: Executor, chosen: set[str], console: Console, *, whole: bool
) -> None:
    journal, collector = Journal(paths.journal), Collector(paths, gone_s=0.0)
    chosen &= {trial.id for trial in journal.study.in_flight}  # a controller may just have recorded them
    deadline = time.monotonic() + SETTLE_S
    while chosen and time.monotonic() < deadline:
        for finding in collector.findings(journal.study, executor.poll(), time.monotonic()):
            if isinstance(finding, Cancelled) and finding.trial in chosen:
                journal.record(Event.TRIAL_CANCELLED, trial=finding.trial)
                chosen.discard(finding.trial)
            elif finding.trial in chosen:  # it ended by itself meanwhile: the next controller's to record
                chosen.discard(finding.trial)
        time.sleep(POLL_S if chosen else 0.0)
    if chosen:
        late = ", ".join(sorted(chosen))
        console.print(f"still ending: {late}; the next `tune` records them", highlight=False)
    elif whole and not journal.study.finished and not journal.study.stopped:
        journal.record(Event.STUDY_STOPPED, message="cancelled by the user")


def retry(name: str, root: Path, trials: Sequence[str], console: Console) -> int:
    """Give failed or cancelled trials another attempt, with fresh retry budgets; `tune` submits them.

    Raises:
        InputError: no such study or trial, a trial that has not failed, or a controller is at work.
    """
    paths = find_study(name, root)
    ended = (TrialState.FAILED, TrialState.CANCELLED)
    with HeldLease(paths.controller):
        journal = Journal(paths.journal)
        chosen = _chosen(journal.study, trials)
        wrong = [trial for trial in chosen if trials and trial.state not in ended]
        if wrong:
            raise InputError([(t.id, f"expected a failed or cancelled trial, got {t.state}") for t in wrong])
        again = [trial for trial in chosen if trial.state in ended]
        for trial in again:
            paths.trial(trial.id).cancel.unlink(missing_ok=True)
            journal.record(Event.TRIAL_REOPENED, trial=trial.id)
    console.print(f"{len(again)} trials get another attempt with the next `tune`", highlight=False)
    return 0


def _chosen(study: Study, names: Sequence[str]) -> list[Trial]:
    unknown = [name for name in names if name not in study.trials]
    if unknown:
        known = f"0000 to {max(study.trials)}" if study.trials else "none yet"
        raise InputError(f"no trial {', '.join(unknown)} in study {study.name}: expected {known}")
    return [study.trials[name] for name in names] if names else list(study.trials.values())


def _executor(paths: StudyPaths) -> Executor:
    return assemble(read_configuration(paths)["config"], []).executor


def _task(study: Study, trial: Trial) -> tuple[str, int] | None:
    batch = study.batches[trial.batch]
    return (batch.job_id, batch.trials.index(trial.id)) if batch.job_id else None
