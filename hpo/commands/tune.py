"""The commands that drive a study: `tune`, the loop, and `step`, one pass of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from hpo.commands.autoreport import Reports
from hpo.controller.assembly import Assembly, assemble
from hpo.controller.chain import follow_up
from hpo.controller.compose import compose_config
from hpo.controller.controller import Controller
from hpo.controller.loop import After, Loop, View, insist, nothing
from hpo.controller.notify import tell
from hpo.controller.targets import GROUPS, target_of
from hpo.display.live_view import make_view
from hpo.display.overview import show_end
from hpo.errors import InputError, Problem, StudyError
from hpo.objectives import describe_objectives
from hpo.paths import StudyPaths
from hpo.ports import ArrayOptions
from hpo.records import utc
from hpo.study.journal import Journal, load_study
from hpo.study.lease import HeldLease, refuse_second_controller
from hpo.study.state import Event, Study, TrialState
from hpo.study.store import (
    create_study,
    mend_configuration,
    refuse_other_configuration,
    refuse_unwritable,
    set_umask,
)
from hpo.study.trust import refuse_foreign

FAILED = 1  # exit codes: the study has ended, and no trial has completed
INTERRUPTED = 3  # stopped by the user, and resumable
CHAIN_WAIT_S = 240.0  # longer than it takes until a dead controller's lease is stale
CHAIN_LINGER_S = 600.0  # how long a step of a chain waits for what no array in the queue will bring


@dataclass(frozen=True)
class DriveOptions:
    """How a study is driven.

    Args:
        once: for one pass.
        anew: the user has just asked for it, so an earlier `cancel` counts no more.
        chain: the command that a job is to go on with.
        after: called after every pass, with the study; gives lines to show.
    """

    once: bool = False
    anew: bool = True
    chain: Sequence[str] = ()
    after: After = nothing


def tune(
    overrides: Sequence[str],
    config_dir: str | None,
    console: Console,
    *,
    once: bool = False,
    again: Sequence[str] | None = None,
    composed: tuple[dict[str, Any], list[Problem]] | None = None,
) -> int:
    """Drive a study until its budget ends, or for one pass.

    Args:
        overrides: of the configuration, in Hydra's grammar.
        config_dir: a folder with the user's own configuration groups.
        console: where to show it.
        once: one pass (`step`); so it is with `controller.chain`.
        again: overrides of the steps that `controller.chain` takes later; None: the same.
        composed: what `compose_config` made of the overrides; None: compose them, which takes 0.2 s.

    Returns:
        0 when the study is complete or the pass is done, 1 when it ended without a result, 3 if interrupted.

    Raises:
        FrontrunnerError: bad input (2), or a study that cannot go on (1).
    """
    parts = assemble(*(composed or compose_config(overrides, config_dir)))
    set_umask(parts.config.study.umask)
    paths, chain = parts.paths, parts.config.controller.chain
    reports = Reports(paths, parts.config.report, console, chained=chain and once)
    if not paths.journal.exists():
        _begin(parts, console)
    elif _complete(parts, study := _own_study(paths)):
        _tell_late(parts, study, console)
        show_end(paths, console, f"study {paths.name} {study.ending}; nothing to do")
        reports.conclude()  # as an earlier controller could not, if it was killed
        return _exit_code(study)
    else:
        _take_up(parts, study, console, once=once)
    wait_s = CHAIN_WAIT_S if chain else 0.0
    # A study that has begun may be taken up by cron or by its own chain while the disk is away.
    lease = insist(lambda: _lease(paths, once=once, wait_s=wait_s), console.print)
    if lease is None:
        console.print("another controller is at work; nothing to do", highlight=False)
        return 0
    with reports, lease:  # the lease is given back first: nobody waits for a report
        where = ["--config-dir", str(Path(config_dir).resolve())] if config_dir else []
        command = ["step", *where, *(overrides if again is None else again)] if chain else []
        ways = DriveOptions(once=once or chain, anew=not once, chain=command, after=reports.look)
        status = drive(parts, lease, console, _show_end, ways)
        if status:
            reports.stop()
        return status


def _begin(parts: Assembly, console: Console) -> None:
    """Create the study, once all that can be wrong with it has been looked at."""
    if parts.paths.folder.exists():
        refuse_foreign_folder(parts.paths)
    refuse_silent(parts)
    earlier = parts.earlier()
    refuse_unwritable(parts.paths.folder.parent)
    refuse_impossible(parts, parts.limits.batch_size)
    _prepare(parts, console)
    created = {**configured(parts), "earlier": earlier, "at": utc(parts.executor.clock.time())}
    create_study(parts.paths, parts.raw, parts.identity, created)
    with suppress(FileNotFoundError):
        parts.paths.early_forecast.replace(parts.paths.forecast)


def refuse_impossible(parts: Assembly, count: int) -> None:
    """Check that the first array would run, and so would what else is a job, before anything is made.

    Args:
        parts: of a study that is not there yet.
        count: trials of the first array.

    Raises:
        InputError: the scheduler would never take it, or never start it.
    """
    folder, config = str(parts.paths.batch("0000").submission), parts.config.controller
    asked: list[tuple[int, ArrayOptions]] = [(count, {})]
    if config.chain or config.propose_on == "job":
        asked.append((1, {"helper": True}))
    for size, options in asked:
        elements = min(size, parts.executor.limits()["array_size"])
        level, what, hint = parts.executor.test_submit(
            name=f"fr-{parts.paths.name}", folder=folder, count=elements, options=options
        )
        if level == "fail":
            raise InputError([("cluster.helper" if options else "cluster", what)], hint=hint)


def _own_study(paths: StudyPaths) -> Study:
    """A study that is there, if it is ours to drive: what its trials are to run stands in its files."""
    refuse_foreign(paths)
    return load_study(paths.journal)


def _complete(parts: Assembly, study: Study) -> bool:
    """Whether a study that is there has nothing left to do; one of another configuration is refused."""
    if not parts.config.study.allow_change:
        refuse_other_configuration(parts.paths, study, parts.identity)
    mend_configuration(parts.paths, parts.raw, parts.identity)
    return bool(study.finished) and study.settings["budget"] == parts.raw["budget"]


def _take_up(parts: Assembly, study: Study, console: Console, *, once: bool) -> None:
    """Make ready to go on with a study."""
    if once and study.stopped:
        _tell_late(parts, study, console)
        # cron would start again and again what was stopped for a reason
        raise StudyError(
            f"study {study.name} is stopped: {study.stopped}",
            hint="`tune` goes on with it, and so do single steps after `frontrunner retry`",
        )
    if not once:
        refuse_second_controller(parts.paths.controller)
    _prepare(parts, console)


def _prepare(parts: Assembly, console: Console) -> None:
    parts.kind.prepare(parts.recipe, parts.cache, lambda line: console.print(line, markup=False))


def _lease(paths: StudyPaths, *, once: bool, wait_s: float) -> HeldLease | None:
    """The lease; None where another controller has it and this is but one step of many.

    A link of a chain waits: the one before it may have been killed on a node that is gone, and only the
    age of its lease tells.
    """
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return HeldLease(paths.controller)
        except InputError:
            if not once and not wait_s:
                raise
            if time.monotonic() >= deadline:
                return None
            time.sleep(5.0)


def configured(parts: Assembly) -> dict[str, Any]:
    """What the journal says of a configuration."""
    return {"objectives": describe_objectives(parts.objectives), "settings": parts.settings}


def refuse_foreign_folder(paths: StudyPaths) -> None:
    """Raise InputError: a folder that is there is no study."""
    raise InputError(
        f"study.name: expected a new folder or one of ours, got {paths.folder}, which holds no journal.jsonl",
        hint="study.name=ANOTHER or study.root=PATH names another place; "
        f"`frontrunner doctor {paths.folder}` rebuilds a journal that was lost",
    )


def refuse_silent(parts: Assembly) -> None:
    """Raise StudyError: nothing is begun where the scheduler does not answer."""
    if silence := parts.executor.silence():
        raise StudyError(
            f"the scheduler does not answer, so study {parts.paths.name} was not begun: {silence}",
            hint="the same command begins it once it answers; cluster=local runs trials on this machine",
        )


def _show_end(parts: Assembly, console: Console, headline: str) -> None:
    show_end(parts.paths, console, headline)


def drive(
    parts: Assembly,
    lease: HeldLease,
    console: Console,
    show_end: Callable[[Assembly, Console, str], None],
    ways: DriveOptions | None = None,
) -> int:
    """Drive a study whose folder is there.

    Args:
        console: where to show it.
        show_end: called with a headline once the study has ended.
        ways: how it is driven; None: to its end.

    Returns:
        0, 1 when the study ended without a result, or 3 when interrupted.

    Raises:
        FrontrunnerError: the study cannot go on.
    """
    view, ways = make_view(console), ways or DriveOptions()
    try:
        controller = insist(lambda: _controller(parts, lease, view, anew=ways.anew), view.say)
        try:
            ended = _work(parts, controller, view, ways)
        finally:  # also where the study is stopped by an error
            _tell(parts, controller.journal, view.say)
    except KeyboardInterrupt:
        view.close()
        goes_on = f"what runs goes on running. The same command continues study {parts.paths.name}"
        stops = f"`frontrunner cancel {parts.paths.folder}` stops it"
        console.print(f"interrupted: {goes_on}; {stops}", highlight=False, soft_wrap=True)
        return INTERRUPTED
    finally:
        view.close()
    if not ended:
        return 0
    study = controller.journal.study
    controller.journal.confirm()  # what is shown may be written as well
    show_end(parts, console, f"study {parts.paths.name} {study.ending}")
    return _exit_code(study)


def _exit_code(study: Study) -> int:
    """Of a study that has ended."""
    return 0 if study.in_state(TrialState.COMPLETED) else FAILED


def _work(parts: Assembly, controller: Controller, view: View, ways: DriveOptions) -> bool:
    """Passes of the loop; returns whether the study has ended."""
    loop = Loop(parts, controller, view, ways.after)
    ended = loop.pass_once() if ways.once else loop.run()
    if ways.chain and not ended:
        ended = loop.until_settled(CHAIN_LINGER_S)
    if ways.chain and not ended:
        view.say(follow_up(controller, parts.executor, parts.paths, ways.chain))
    return ended


def _tell(parts: Assembly, journal: Journal, say: Callable[[str], None]) -> None:
    own = parts.config.notify
    with suppress(OSError):  # of a disk that does not take that it was told: then it is told again
        tell(journal, parts.paths, own.command, own.timeout_seconds, say)


def _tell_late(parts: Assembly, study: Study, console: Console) -> None:
    """Tell of an end that an earlier controller could not tell of, as it was killed."""
    if study.untold and parts.config.notify.command:
        with (
            suppress(InputError),
            HeldLease(parts.paths.controller) as lease,
        ):  # another controller tells of it
            _tell(
                parts,
                Journal(parts.paths.journal, confirm=lease.renew),
                lambda line: console.print(line, markup=False),
            )


def _controller(parts: Assembly, lease: HeldLease, view: View, *, anew: bool) -> Controller:
    clock = parts.executor.clock.time
    journal = Journal(parts.paths.journal, view.event, lease.renew, clock)
    study = journal.study
    if anew or not study.started:  # a step of many says nothing of itself
        baseline = parts.kind.baseline(parts.recipe, parts.cache)
        if (samples := parts.kind.samples(parts.recipe, parts.cache)) is not None:
            journal.write(parts.paths.base_samples, dict(samples))
        journal.record(Event.CONTROLLER_STARTED, baseline=dict(baseline or {}))
    if (study.settings, study.identity) != (parts.settings, parts.identity):
        journal.record(Event.SETTINGS_CHANGED, **configured(parts), identity=parts.identity)
    if anew:
        parts.paths.stop.unlink(missing_ok=True)  # of an earlier `cancel`: the user has thought better of it
    controller = Controller(
        parts.paths,
        journal,
        parts.executor,
        parts.proposer(),
        parts.limits,
        lease,
        parts.target,
        clock=clock,
        say=view.say,
        targets=[target_of(parts.raw, group) for group in GROUPS],
    )
    controller.adopt()
    if anew:
        runs_as = parts.executor.traits["runs_as"]
        view.say(f"study {parts.paths.name} in {parts.paths.folder}; trials run as {runs_as}")
    return controller
