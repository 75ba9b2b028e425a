"""The commands that change a study from outside its loop: cancel, retry, pause, resume, throttle."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from hpo.controller.assembly import executor_of
from hpo.controller.collect import Collector
from hpo.controller.compose import whole_cluster
from hpo.controller.stopping import thaw
from hpo.controller.targets import refuse_unknown_targets
from hpo.errors import InputError
from hpo.paths import StudyPaths
from hpo.ports import Executor
from hpo.records import RecordError, write_text
from hpo.study.findings import Cancelled, Completed, Ended, Stopped, record
from hpo.study.journal import Journal, load_study
from hpo.study.lease import HeldLease
from hpo.study.state import Event, Study, Trial, TrialState
from hpo.study.store import find_study, read_configuration
from hpo.study.trust import refuse_foreign

SETTLE_S = 60.0  # a cancelled task has Slurm's KillWait, 30 s by default, to end
POLL_S = 1.0


def cancel(name: str, root: Path, trials: Sequence[str], console: Console) -> int:
    """Stop trials that are in flight, or the whole study.

    The markers come first, so that a task which is requeued meanwhile sees them and does nothing. A
    controller at work records what was cancelled; without one it is recorded here.

    Raises:
        InputError: no such study or trial.
    """
    paths = _own_study(name, root)
    study, executor = load_study(paths.journal), _executor(paths)
    chosen = [trial for trial in _chosen(study, trials) if trial in study.in_flight]
    if not trials:
        paths.stop.touch()
    for trial in chosen:
        paths.trial(trial.id).cancel.touch()
    for batch in {trial.batch for trial in chosen}:
        executor.adopt(str(paths.batch(batch).submission))
    executor.cancel([task for trial in chosen if (task := _task(study, trial))])
    console.print(f"cancelled {len(chosen)} trials in flight of study {study.name}", highlight=False)
    with suppress(InputError), HeldLease(paths.controller) as lease:
        _record(
            Journal(paths.journal, confirm=lease.renew),
            paths,
            executor,
            {trial.id for trial in chosen},
            console,
            whole=not trials,
        )
    return 0


def _record(
    journal: Journal,
    paths: StudyPaths,
    executor: Executor,
    chosen: set[str],
    console: Console,
    *,
    whole: bool,
) -> None:
    collector = Collector(paths, executor, gone_s=0.0, confirm=journal.confirm)
    chosen &= {trial.id for trial in journal.study.in_flight}  # a controller may just have recorded them
    deadline = time.monotonic() + SETTLE_S
    while chosen and time.monotonic() < deadline:
        for finding in collector.findings(journal.study, executor.poll(), time.time()):
            if finding.trial not in chosen:
                continue
            if not isinstance(finding, Completed):  # a result is the next controller's to record
                record(journal, finding)
            ended = isinstance(finding, Ended) and not finding.requeued
            if ended:
                journal.record(Event.TRIAL_CANCELLED, trial=finding.trial)
            if ended or isinstance(finding, Completed | Cancelled | Stopped):
                chosen.discard(finding.trial)
        time.sleep(POLL_S if chosen else 0.0)
    if chosen:
        late = ", ".join(sorted(chosen))
        console.print(f"still ending: {late}; the next `tune` records them", highlight=False)
    elif whole and not journal.study.finished and not journal.study.stopped:
        journal.record(Event.STUDY_STOPPED, message="cancelled by the user")


def retry(name: str, root: Path, trials: Sequence[str], console: Console) -> int:
    """Give failed or cancelled trials another attempt, with fresh retry budgets; `tune` submits them.

    Trials that were stopped at a rung are thawed where they are named: they go on from their checkpoints.

    Raises:
        InputError: no such study or trial, a trial that has not failed, or a controller is at work.
    """
    paths = _own_study(name, root)
    ended = (TrialState.FAILED, TrialState.CANCELLED)
    with HeldLease(paths.controller) as lease:
        journal = Journal(paths.journal, confirm=lease.renew)
        chosen = _chosen(journal.study, trials)
        stopped = [trial for trial in chosen if trials and trial.state is TrialState.STOPPED]
        wrong = [trial for trial in chosen if trials and trial.state not in (*ended, TrialState.STOPPED)]
        if wrong:
            expected = "expected a failed, cancelled or stopped trial"
            raise InputError([(t.id, f"{expected}, got {t.state}") for t in wrong])
        for trial in stopped:
            thaw(journal, paths, trial)
        again = [trial for trial in chosen if trial.state in ended]
        for trial in again:
            paths.trial(trial.id).cancel.unlink(missing_ok=True)
            journal.record(Event.TRIAL_REOPENED, trial=trial.id)
        if journal.study.stopped or journal.study.excluded:  # nodes that were left out may have been mended
            journal.record(Event.STUDY_REOPENED)
            paths.stop.unlink(missing_ok=True)
    console.print(
        f"{len(again) + len(stopped)} trials get another attempt with the next `tune`", highlight=False
    )
    return 0


def pause(name: str, root: Path, console: Console, *, now: bool) -> int:
    """Let nothing new start; with `now`, running trials save their state and go back into the queue.

    Raises:
        InputError: no such study.
    """
    paths = _own_study(name, root)
    study, executor = _adopted(paths)
    paths.pause.touch()
    for batch in study.open_batches:
        if batch.job_id:
            executor.hold(batch.job_id)
    live = (executor.poll() or {}) if now else {}
    ours = {batch.job_id for batch in study.open_batches}
    executor.warn([task for task, view in live.items() if task[0] in ours and view["state"] == "running"])
    running = "running trials save their state and wait" if now else "running trials go on to their end"
    console.print(
        f"study {study.name} is paused: {running}, nothing new starts until "
        f"`frontrunner resume {paths.folder}`",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def resume(name: str, root: Path, console: Console) -> int:
    """Take a pause back: what was held may start.

    Raises:
        InputError: no such study.
    """
    paths = _own_study(name, root)
    study, executor = _adopted(paths)
    paths.pause.unlink(missing_ok=True)
    for batch in study.open_batches:
        if batch.job_id:
            executor.release(batch.job_id)
    goes_on = "" if study.finished else "; the same `tune` command drives it, where none is at work"
    console.print(f"study {study.name} goes on{goes_on}", highlight=False, soft_wrap=True)
    return 0


def throttle(name: str, root: Path, at_once: str, console: Console) -> int:
    """Say how many trials of a study may run at the same time, also while it is driven.

    Args:
        root: the study root.
        at_once: a number above 0, or `none` for what cluster.max_parallel says.
        console: where to show it.

    Raises:
        InputError: no such study, or another text.
    """
    paths = _own_study(name, root)
    if at_once == "none":
        paths.throttle.unlink(missing_ok=True)
    elif at_once.isdecimal() and int(at_once) > 0:
        write_text(paths.throttle, at_once)
    else:
        raise InputError(f"AT_ONCE: expected a number above 0, or none, got {at_once!r}")
    what = "as cluster.max_parallel says" if at_once == "none" else f"{at_once} trials at once"
    console.print(
        f"study {paths.name}: {what}, from the controller's next look at the queue on", highlight=False
    )
    return 0


def _own_study(name: str, root: Path) -> StudyPaths:
    """A study whose word may be acted on: which tasks to stop, hold or start is what its files say."""
    paths = find_study(name, root)
    refuse_foreign(paths)
    return paths


def _adopted(paths: StudyPaths) -> tuple[Study, Executor]:
    study, executor = load_study(paths.journal), _executor(paths)
    for batch in study.open_batches:
        executor.adopt(str(paths.batch(batch.id).submission))
    return study, executor


def _chosen(study: Study, names: Sequence[str]) -> list[Trial]:
    unknown = [name for name in names if name not in study.trials]
    if unknown:
        known = f"0000 to {max(study.trials)}" if study.trials else "none yet"
        raise InputError(f"no trial {', '.join(unknown)} in study {study.name}: expected {known}")
    return [study.trials[name] for name in names] if names else list(study.trials.values())


def _executor(paths: StudyPaths) -> Executor:
    """The study's own, which an earlier version may have begun."""
    study = load_study(paths.journal)
    try:
        raw = read_configuration(paths)["config"]
    except RecordError:  # the journal has what it takes to stop tasks
        raw = {"trainer": study.identity["trainer"]}
    cluster = study.settings.get("cluster") or raw["cluster"]  # as it is by now
    refuse_unknown_targets({"cluster": cluster})
    return executor_of({**raw, "cluster": whole_cluster(cluster)}, [paths])


def _task(study: Study, trial: Trial) -> tuple[str, int] | None:
    batch = study.batches[trial.batch]
    return (batch.job_id, batch.trials.index(trial.id)) if batch.job_id else None
