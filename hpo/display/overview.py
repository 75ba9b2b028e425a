"""The whole study on one screen: what `status` prints, `tune` redraws, and what remains at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hpo.display.event_lines import waiting_line
from hpo.display.tables import counts_line, front_table
from hpo.display.tracked_runs import ways_to_see
from hpo.forecasts.end import forecast_end
from hpo.formatting import duration, number, params_text
from hpo.paths import StudyPaths
from hpo.study.queue_view import batch_states
from hpo.study.snapshot import Running, Snapshot, elapsed_s, reference, take, volume
from hpo.study.state import TrialState

FEWEST_ROWS = 3  # of a table, however low the screen
FURNITURE = 14  # rows of a screen that are no rows of a table


def overview(snapshot: Snapshot, height: int | None = None) -> RenderableType:
    """The whole study on one screen.

    Args:
        height: of the screen, in lines; None: as long as it takes.
    """
    study = snapshot.study
    batches = batch_table(snapshot)
    rooms = _rooms(height, len(snapshot.running), batches.row_count)
    parts: list[RenderableType] = [
        Text.assemble((study.name, "bold"), f"  {snapshot.state}"),
        Text(counts_line(snapshot)),
        *(Text(line) for line in _prospects(snapshot)),
        *(Text(line, style="yellow") for line in warnings(snapshot)),
    ]
    if batches.row_count:
        parts += [Text(), batches]
    if snapshot.running:
        parts += [Text(), running_table(snapshot.running, rooms[0])]
    if study.in_state(TrialState.COMPLETED):
        parts += [Text(), front_table(study, snapshot.objectives, rooms[1])]
    failed = study.in_state(TrialState.FAILED)
    if failed:
        parts += [Text(), Text("last failures", style="bold")]
        parts += [Text(f"{trial.id}  {trial.cause}: {trial.message}") for trial in failed[-3:]]
    return Group(*parts)


def _rooms(height: int | None, running: int, batches: int) -> tuple[int | None, int | None]:
    """Rows for the trials at work and for the front."""
    if height is None:
        return None, None
    room = max(height - FURNITURE - batches, 2 * FEWEST_ROWS)
    for_running = min(running, max(room // 2, FEWEST_ROWS))
    return for_running, max(room - for_running, FEWEST_ROWS)


def _prospects(snapshot: Snapshot) -> Iterator[str]:
    """Hypervolume, what is left, and why trials wait."""
    study, objectives = snapshot.study, snapshot.objectives
    if len(objectives) > 1 and study.in_state(TrialState.COMPLETED):
        corner = reference(study, objectives)
        at = ", ".join(f"{name}={number(value)}" for name, value in corner.items())
        yield f"hypervolume {number(volume(study, objectives))} within {at}"
    left = forecast_end(snapshot)
    if left:
        end = datetime.now() + timedelta(seconds=left.seconds)
        when = f"{end:%H:%M}" if left.seconds < 12 * 3600 else f"{end:%a %d %b %H:%M}"
        hours = f" and {number(left.gpu_hours)} GPU-hours" if left.gpu_hours else ""
        yield f"about {duration(left.seconds)}{hours} left, to the end at {when}"
    if (why := study.settings.get("batch_auto")) and not study.finished:
        yield f"up to {study.settings['batch']['size']} trials in flight: {why}"
    if snapshot.waiting:
        yield waiting_line(snapshot)


def batch_table(snapshot: Snapshot) -> Table:
    """The batches that are not over, a row each: their arrays, and the scheduler's word for their tasks."""
    age = "" if snapshot.controller or not snapshot.queue.tasks else f" (as of {snapshot.queue.at[:16]} UTC)"
    table = Table(box=None, pad_edge=False)
    for title in ("batch", "array", "trials", f"states{age}", "nodes"):
        table.add_column(title)
    for one in batch_states(snapshot.study, snapshot.queue, snapshot.over):
        states = ", ".join(f"{count} {state}" for state, count in one.states.items())
        count = str(sum(one.states.values()))
        table.add_row(one.batch.id, one.batch.job_id or "", count, states, " ".join(one.nodes))
    return table


def running_table(running: Sequence[Running], most: int | None = None) -> Table:
    """The trials at work, a row each; no more rows than there is room for."""
    table = Table(box=None, pad_edge=False)
    for title in ("trial", "phase", "", "step", "loss", "left", "attempt", "parameters"):
        table.add_column(title, no_wrap=True)
    for one in running[:most]:
        progress = one.progress
        table.add_row(
            one.trial.id,
            progress.phase,
            ProgressBar(total=max(progress.steps, 1), completed=progress.step, width=16),
            f"{progress.step}/{progress.steps}" if progress.steps else "",
            "" if progress.loss is None else f"{progress.loss:.3f}",
            duration(one.seconds_left),
            str(progress.attempt),
            params_text(one.trial.params),
        )
    if hidden := len(running) - len(running[:most]):
        table.add_row(f"and {hidden} more")
    return table


def warnings(snapshot: Snapshot) -> list[str]:
    """What somebody who looks at the study should know."""
    study, found = snapshot.study, []
    if snapshot.paths.pause.exists():
        found.append(f"paused; `frontrunner resume {snapshot.paths.folder}` goes on")
    found += [f"node {node} gets no more trials: {why}" for node, why in study.excluded.items()]
    found += [
        f"batch {batch.id}: the scheduler did not take it yet, {batch.tries + batch.refusals} tries so far"
        for batch in study.open_batches
        if batch.job_id is None and batch.tries + batch.refusals
    ]
    if missing := [trial.id for trial in study.in_flight if trial.missing]:
        found.append(f"no longer in the queue and without a result yet: {', '.join(missing)}")
    return found


def show_end(paths: StudyPaths, console: Console, headline: str) -> None:
    """Print a headline, how many trials ended how, the front, and where the files are."""
    snapshot = take(paths)
    study = snapshot.study
    console.print(f"\n{headline} ({study.finished})", style="bold", highlight=False)
    ended = {state: len(study.in_state(state)) for state in TrialState}
    stopped = ended[TrialState.STOPPED]
    early = f"{stopped} stopped at a rung, " if stopped else ""
    console.print(
        f"{ended[TrialState.COMPLETED]} trials completed, {early}{ended[TrialState.FAILED]} failed, "
        f"{ended[TrialState.CANCELLED]} cancelled in {duration(elapsed_s(study))}\n"
    )
    console.print(front_table(study, snapshot.objectives))
    console.print(_files(paths), highlight=False, soft_wrap=True)


def _files(paths: StudyPaths) -> str:
    trained = any(paths.trials.glob("*/adapter"))  # not every kind of trial does
    adapters = f"\nadapters  {paths.trials}/<trial>/adapter" if trained else ""
    runs = "".join(f"\n{name:9} {line}" for name, line in ways_to_see(paths))
    return f"\nfolder    {paths.folder}{adapters}{runs}"
