"""`plan`: what a study would do; nothing is submitted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hpo.commands.arms import arms_of, with_arm
from hpo.commands.planning.simulate import keep, simulated, study_of
from hpo.controller.assembly import Assembly, assemble, gpus_of
from hpo.controller.batch_sizes import BatchSizes
from hpo.controller.compose import compose_config
from hpo.controller.limits import Limits, array_minutes
from hpo.controller.proposer import ProposedTrial
from hpo.controller.submission import array_name, array_request
from hpo.errors import InputError
from hpo.forecasts.coverage import coverage
from hpo.forecasts.disk import disk_line, trial_bytes
from hpo.forecasts.memory import memory_cells, memory_line
from hpo.forecasts.time import pace, pace_line, training_cells
from hpo.formatting import number
from hpo.ports import ArrayOptions, SiteLimits, of_an_executor
from hpo.study.gpu_hours import used
from hpo.study.room import room
from hpo.study.state import Batch, Study, TrialState


def plan(
    overrides: Sequence[str], config_dir: str | None, console: Console, simulate: int | None = None
) -> int:
    """Show the space, the objectives, the first batch and the exact text that would be submitted.

    Args:
        simulate: how often the study is run on a simulated cluster; None: not at all.

    Raises:
        InputError: the configuration cannot be used.
    """
    parts = assemble(*compose_config(overrides, config_dir))
    study = study_of(parts)
    study.earlier = study.earlier or parts.earlier()
    console.print(
        f"study {study.name}, {parts.paths.folder}; cluster: {parts.executor.name}", highlight=False
    )
    console.print(_space_table(parts))
    room = min(parts.limits.batch_size, parts.limits.trials - study.spent)
    proposals = parts.proposer().propose(study, room)
    gpus, training = gpus_of(parts.raw) or 1, _show_forecast(parts, study, proposals, console)
    lines = [
        *cost_lines(study, parts.limits, parts.executor.limits(), gpus, training),
        *arm_lines(overrides, parts.raw, config_dir, gpus, training, parts.batch.size),
        *batch_lines(parts.batch),
        *(f"data {note}" for note in parts.kind.notes(parts.recipe)),
    ]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
    if simulate is not None:
        forecast = simulated(parts, study, simulate, console)
        keep(forecast, parts.paths)
        for line in forecast.lines():
            console.print(line, highlight=False, soft_wrap=True)
    name = array_name(study, study.next_batch) + "nonce"
    batch = Batch(study.next_batch, [proposed.spec.trial for proposed in proposals] or ["0000"])
    folder = str(parts.paths.batch(batch.id).submission)
    taken = parts.executor.test_submit(name=name, folder=folder, count=len(batch.trials))
    if text := _preview(parts, study, batch, name):
        console.print("\nwhat would be submitted:", style="bold")
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    disk = disk_forecast(parts, study)
    for level, what, hint in (taken, *([disk] if disk else []), *parts.executor.notices()):
        advice = f"\n      hint: {hint}" if hint and level != "ok" else ""
        console.print(f"{level:4}  {what}{advice}", markup=False, highlight=False, soft_wrap=True)
    return 0


def disk_forecast(parts: Assembly, study: Study) -> tuple[str, str, str] | None:
    """(level, what, hint): whether what the study is yet to write finds room; see `hpo.forecasts.disk`."""
    each = trial_bytes(parts.forecaster(), study)
    left = max(0, parts.limits.trials - study.spent)
    keep = parts.config.study.keep_adapters
    return disk_line(each, left, parts.limits.batch_size, keep, list(room(parts.paths.folder)))


def cost_lines(
    study: Study, limits: Limits, site: SiteLimits, gpus: int = 1, training: Sequence[float] = ()
) -> Iterator[str]:
    """What the study may cost: from its own trials where some have ended, else from the time limit.

    Args:
        training: seconds that a training is foretold to take, the least and the most; none: not known.
    """
    left = max(0, limits.trials - study.spent)
    completed = len(study.in_state(TrialState.COMPLETED))
    usage = used(study)
    hours = site["default_minutes"] / 60
    if completed:
        each = usage.hours / completed
        yield (
            f"\n{completed} trials took {usage.hours:.3g} GPU-hours ({usage.lost / 3600:.2g} of them lost), "
            f"{each:.3g} a trial; the {left} that are left about {left * each:.3g}"
        )
    else:
        most = f"at most {left * hours * gpus:.4g} GPU-hours if none is interrupted"
        attempt = f"{hours:.3g} h an attempt" + (f" on {gpus} GPUs" if gpus > 1 else "")
        yield f"\n{left} trials of at most {attempt}: {most}; budget.gpu_hours sets a limit"
        if training:
            yield f"by the forecast {_forecast(left, limits, gpus, training)}"
    minutes = array_minutes(study, [], site, auto=limits.auto_time_limit)
    if minutes:
        yield f"cluster.time_limit=auto: {minutes} minutes, from the longest trial so far"


def batch_lines(batch: BatchSizes) -> Iterator[str]:
    """How many trials are in flight, where the site decides it."""
    if batch.why:
        yield f"batch.size=auto: {batch.size} trials in flight: {batch.why}"
        yield f"a new array as soon as {batch.refill} of them are done"


def _forecast(left: int, limits: Limits, gpus: int, training: Sequence[float]) -> str:
    """How many trainings the budget is good for at least, and what they take."""
    hours = training[-1] / 3600
    walls = limits.wall_hours * limits.batch_size / hours if limits.wall_hours else left
    spent = limits.gpu_hours / hours / gpus if limits.gpu_hours else left
    if min(walls, spent) < left:
        key = "wall_hours" if walls <= spent else "gpu_hours"
        return f"budget.{key} is good for {min(walls, spent):.2g} trainings"
    return f"they train for {_gpu_hours(left, gpus, training)}"


def _gpu_hours(trials: int, gpus: int, training: Sequence[float]) -> str:
    return " to ".join(f"{trials * gpus * seconds / 3600:.3g}" for seconds in training) + " GPU-hours"


def arm_lines(
    overrides: Sequence[str],
    raw: Mapping[str, Any],
    config_dir: str | None,
    gpus: int = 1,
    training: Sequence[float] = (),
    auto_size: int = 1,
) -> Iterator[str]:
    """What the arms of a study add to it.

    Args:
        training: seconds that a training is foretold to take, the least and the most; none: not known.
        auto_size: what `batch.size=auto` is here.

    Raises:
        InputError: an arm cannot be composed.
    """
    for name, arm_overrides in arms_of(raw).items():
        arm, problems = compose_config(with_arm(overrides, arm_overrides), config_dir)
        if problems:
            raise InputError([(f"arms.{name}: {key}", text) for key, text in problems])
        count, strategy = arm["budget"]["trials"], arm["strategy"]["name"]
        size = arm["batch"]["size"]
        at_once = min(count, size if isinstance(size, int) else auto_size)
        cost = f", {_gpu_hours(count, gpus, training)}" if training else ""
        yield f"then arm {name}: {count} more trials by {strategy}, {at_once} at a time{cost}"


def _show_forecast(
    parts: Assembly, study: Study, proposals: Sequence[ProposedTrial], console: Console
) -> tuple[float, ...]:
    """The next batch with what is foretold of it, and what is foretold of the whole space.

    Returns:
        Seconds that trials train on average, as of `Coverage.times`.
    """
    forecaster = parts.forecaster()
    memory = forecaster.memory(study)
    known = pace(forecaster, study, memory)
    forecasts = [
        memory_cells(forecaster.peak(each.spec.recipe, memory))
        | training_cells(forecaster.effort(each.spec.recipe, memory), known)
        for each in proposals
    ]
    title = "Next batch" if parts.paths.journal.exists() else "First batch"
    console.print(_batch_table(proposals, forecasts, title))
    lines: list[str] = []
    if any(forecasts):
        lines.append(memory_line(memory, given=forecaster.given_gib is not None))
    if any("training" in cells for cells in forecasts):
        lines.append(pace_line(known))
    space = coverage(forecaster, memory, known)
    lines += space.lines() if space else []
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
    return space.times if space else ()


def _space_table(parts: Assembly) -> Table:
    table = Table(title="Search space", title_justify="left", box=None, pad_edge=False)
    table.add_column("parameter")
    table.add_column("values")
    for name, parameter in parts.space.parameters.items():
        described = ", ".join(f"{key}={value}" for key, value in parameter.describe().items())
        condition = parts.space.conditions.get(name)
        table.add_row(name, escape(f"{described}, if {condition}" if condition else described))
    for constraint in parts.space.constraints:
        table.add_row("constraint", escape(constraint))
    for name, objective in parts.objectives.items():
        table.add_row(f"objective {name}", objective.direction)
    return table


def _batch_table(
    proposals: Sequence[ProposedTrial], forecasts: Sequence[Mapping[str, str]], title: str
) -> Table:
    """The trials, each with its forecasts: heading -> cell."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("trial")
    names = list(dict.fromkeys(name for proposed in proposals for name in proposed.spec.params))
    for name in names:
        table.add_column(name, justify="right")
    headings = list(dict.fromkeys(heading for cells in forecasts for heading in cells))
    for heading in headings:
        table.add_column(heading, justify="right")
    table.add_column("from")
    for proposed, cells in zip(proposals, forecasts, strict=True):
        values = (number(proposed.spec.params.get(name, "")) for name in names)
        shown = (cells.get(heading, "") for heading in headings)
        table.add_row(proposed.spec.trial, *values, *shown, proposed.origin)
    return table


def _preview(parts: Assembly, study: Study, batch: Batch, name: str) -> str:
    """The text of an array; "" where it cannot be made, as `test_submit` says."""
    options: ArrayOptions = {}
    if parts.limits.max_parallel:
        options["at_once"] = min(parts.limits.max_parallel, len(batch.trials))
    if minutes := array_minutes(study, [], parts.executor.limits(), auto=parts.limits.auto_time_limit):
        options["time_limit_min"] = minutes
    try:
        return parts.executor.preview(**array_request(parts.paths, batch, name, parts.kind.target, options))
    except RuntimeError as error:
        if not of_an_executor(error):
            raise
        return ""
