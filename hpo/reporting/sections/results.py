"""The sections on results: which trial to take, the fronts, the advance, what was tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from hpo.formatting import duration, number
from hpo.objectives import Objectives
from hpo.pareto import hypervolume
from hpo.reporting.choosing import picks
from hpo.reporting.figures.front import (
    front_figure,
    hypervolume_figure,
    incumbent_figure,
    outlook_figure,
)
from hpo.reporting.figures.parallel import parallel_figure
from hpo.reporting.figures.parameters import history_figure, objective_figure, some_of
from hpo.reporting.figures.style import group_of
from hpo.reporting.material import Material
from hpo.reporting.sections.blocks import Block, Cell, FigureBlock, Section, TableBlock, TextBlock
from hpo.study.gpu_hours import saved_hours
from hpo.study.snapshot import measured_trials
from hpo.study.state import Trial, TrialState

NONE_YET = "No trial has completed yet."
_MOST_ROWS = 500


def result_sections(material: Material) -> Iterator[Section]:
    """In the order of the page."""
    yield _decision(material)
    yield _fronts(material)
    yield _advance(material)
    yield _parameters(material)
    yield _trials(material)


def with_error(trial: Trial, name: str) -> str:
    """A metric and its standard error as text; empty where it was not measured."""
    metric = trial.metrics.get(name)
    if metric is None:
        return ""
    return number(metric.value) + (f" ± {metric.standard_error:.2g}" if metric.standard_error else "")


def _decision(material: Material) -> Section:
    says = (
        "The trials that no other completed trial beats in every objective, a click on a head sorts by it; "
        "which of them to take, where its adapter is, and the command that trains it longer."
    )
    return Section("decision", "The decision", says, list(_decision_blocks(material)))


def _decision_blocks(material: Material) -> Iterator[TableBlock | TextBlock]:
    if not material.front:
        yield TextBlock(NONE_YET)
        return
    yield _front_table(material)
    if material.knee:
        yield _pick(
            material, material.knee, "The knee, where giving up some of one objective begins to gain little"
        )
    elif len(material.objectives) > 1:
        yield TextBlock(
            "There is no knee: it takes three different trials on the front, one nearer to the ideal."
        )
    under = " and ".join(map(str, material.limits))
    completed = measured_trials(material.study, material.objectives)
    chosen = picks(completed, material.objectives, material.limits)
    for name, trial in chosen.items():
        best = "smallest" if material.objectives[name].direction.sign > 0 else "largest"
        yield _pick(material, trial, f"The {best} {name}" + (f" with {under}" if under else ""))
    if material.limits and not chosen:
        yield TextBlock(f"No completed trial meets {under}.")
    if not material.limits:
        some = list(material.objectives)[-1]
        limit = number(completed[len(completed) // 2].metrics[some].value)
        code = f"frontrunner report {material.snapshot.paths.folder} --limit '{some}<={limit}'"
        yield TextBlock("The best under a limit of your own:", code)


def _front_table(material: Material) -> TableBlock:
    params, study = material.study.parameters, material.study
    heads = [f"{name} ({own.direction.value})" for name, own in material.objectives.items()]
    rows: list[list[Cell]] = []
    for trial in material.front:
        found = (material.snapshot.paths.trial(trial.id).adapter).exists()
        adapter = (
            f"trials/{trial.id}/adapter" if found else "deleted" if trial.adapter_deleted else "not kept"
        )
        values = [with_error(trial, name) for name in material.objectives]
        own = [trial.params.get(name, "") for name in params]
        rows.append([trial.id, *values, *own, group_of(trial), adapter])
    if study.baseline:
        known = [study.baseline.get(name, "") for name in material.objectives]
        rows.append(["untuned", *known, *("" for _ in params), "", ""])
    marked = {place for place, trial in enumerate(material.front) if trial is material.knee}
    head = ["trial", *heads, *params, "from", "adapter"]
    return TableBlock(
        head, rows, "The front" + (", the knee set off" if marked else ""), marked=frozenset(marked)
    )


def _pick(material: Material, trial: Trial, what: str) -> TextBlock:
    values = ", ".join(f"{name} {with_error(trial, name)}" for name in material.objectives)
    params = ", ".join(f"{name}={number(value)}" for name, value in trial.params.items())
    paths = material.snapshot.paths
    adapter = paths.trial(trial.id).adapter
    lines = [f"frontrunner train {paths.folder} --trial {trial.id}"]
    lines.append(str(adapter) if adapter.exists() else f"# its adapter ({adapter}) was not kept")
    return TextBlock(f"{what}: trial {trial.id} ({values}), with {params}.", "\n".join(lines))


def _fronts(material: Material) -> Section:
    says = (
        "Every completed trial by two objectives, bars for standard errors, the front ringed and labelled "
        f"with ({', '.join(material.study.parameters)}); pale ones are beaten, crosses above have no value. "
        "Hovering tells everything of a trial."
    )
    blocks: list[Block] = []
    if not material.front:
        blocks.append(TextBlock(NONE_YET))
    elif len(material.objectives) == 1:
        blocks.append(
            TextBlock("There is one objective, so the front is its best trial; see the advance below.")
        )
    else:
        for first, second in combinations(material.objectives, 2):
            figure = front_figure(material.study, material.objectives, (first, second))
            blocks.append(FigureBlock(f"front-{len(blocks)}", figure))
    return Section("front", "Pareto front", says, blocks)


def _advance(material: Material) -> Section:
    says = (
        "How the volume that the front dominates grew with the trials and with the GPU-hours, and the best "
        "value of each objective over the time."
    )
    if not material.front:
        return Section("advance", "Advance", says, [TextBlock(NONE_YET)])
    own = material.convergence
    return Section(
        "advance",
        "Advance",
        says,
        [
            TextBlock(_last_gain(material)),
            FigureBlock("hypervolume", hypervolume_figure(material.study, own)),
            FigureBlock("incumbents", incumbent_figure(material.study, material.objectives, own)),
            TextBlock(_reference(material.objectives, own.reference)),
            *_outlook(material),
        ],
    )


def _outlook(material: Material) -> Iterator[Block]:
    study = material.study
    if not study.outlooks:
        return
    yield FigureBlock("outlook", outlook_figure(study))
    ended = f" The study ended because {study.finished}." if "budget.settle" in study.finished else ""
    yield TextBlock(
        "What was left to gain when each batch was proposed, by the hypervolume that the best new trial was "
        f"expected to add, and how well the hypervolume itself was known.{ended}"
    )


def _last_gain(material: Material) -> str:
    own = material.convergence
    after = own.last_gain()
    if after is None:
        return "No result lies within the reference point, so the hypervolume is 0."
    hours = own.gpu_hours[-1] - own.gpu_hours[after - 1]
    since = len(own.trials) - after
    if not since:
        return "The last result still made the hypervolume larger."
    spent = f", {duration(3600 * hours)} of GPU time" if hours else ""
    return (
        f"The hypervolume last grew with result {after}; the {since} results since then{spent} added nothing."
    )


def _reference(objectives: Objectives, reference: Sequence[float]) -> str:
    point = ", ".join(
        f"{name} {number(float(own.direction.sign * value))}"
        for (name, own), value in zip(objectives.items(), reference, strict=True)
    )
    return f"Hypervolumes are from the reference point {point}, which all results together imply."


def _parameters(material: Material) -> Section:
    says = (
        "What was tried and what came of it: each objective by each parameter, each parameter over the trial "
        "number, and every trial as a line over all of them."
    )
    study, space = material.study, material.analysis.space
    blocks: list[Block] = []
    if not study.trials:
        return Section("parameters", "Parameters", says, [TextBlock("No trial has been proposed yet.")])
    front = {trial.id for trial in material.front}
    shown = some_of(study, front)
    if material.front:
        for name in material.objectives:
            figure = objective_figure(study, material.objectives, space, name, front, shown)
            blocks.append(FigureBlock(f"objective-{len(blocks)}", figure, f"{name} by parameter"))
    figure = history_figure(study, space, shown)
    blocks.append(FigureBlock("history", figure, "Parameters over the trial number"))
    if material.front:
        figure = parallel_figure(study, material.objectives, space, front, shown)
        caption = "Parallel coordinates: dark lines are best in the first objective, the front is red"
        blocks.append(FigureBlock("parallel", figure, caption))
    if len(shown) < len(study.trials):
        some = f"{len(shown)} of the {len(study.trials)} trials, evenly chosen beside the whole front"
        blocks.insert(0, TextBlock(f"The figures of this section show {some}."))
    return Section("parameters", "Parameters", says, blocks)


def _trials(material: Material) -> Section:
    says = (
        "Every configuration and what became of it. trials.csv beside this page has all of it with every "
        "digit; figures keep five digits of a number, more where numbers hardly differ."
    )
    study, params = material.study, material.study.parameters
    if not study.trials:
        return Section("trials", "All trials", says, [TextBlock("No trial has been proposed yet.")])
    heads = [f"{name} ({own.direction.value})" for name, own in material.objectives.items()]
    shown = list(study.trials.values())[-_MOST_ROWS:]
    rows: list[list[Cell]] = [
        [
            trial.id,
            trial.state.value,
            *(with_error(trial, name) for name in material.objectives),
            *(trial.params.get(name, "") for name in params),
            group_of(trial),
            f"{trial.cause.value}: {trial.message[:200]}" if trial.cause else trial.rung_note,
        ]
        for trial in shown
    ]
    caption = (
        f"The {len(shown)} trials" if len(shown) == len(study.trials) else f"The last {len(shown)} trials"
    )
    head = ["trial", "state", *heads, *params, "from", "note"]
    return Section("trials", "All trials", says, [TableBlock(head, rows, caption, folded=len(rows) > 12)])


def summary(material: Material) -> list[tuple[str, str]]:
    """The figures at the head of the page, (what, how much)."""
    study, usage = material.study, material.snapshot.usage
    counts = {state: len(study.in_state(state)) for state in TrialState}
    tiles = [("trials completed", f"{counts[TrialState.COMPLETED]} of {len(study.trials)}")]
    if counts[TrialState.STOPPED]:
        tiles.append(("stopped at a rung", str(counts[TrialState.STOPPED])))
        tiles.append(("GPU-hours saved by that", f"{saved_hours(study):.3g}"))
    if counts[TrialState.FAILED]:
        tiles.append(("failed", str(counts[TrialState.FAILED])))
    tiles.append(("on the front", str(len(material.front))))
    rows = material.convergence.rows
    tiles.append(("hypervolume", number(hypervolume(rows, material.convergence.reference)) if rows else "–"))
    tiles.append(("GPU-hours", f"{usage.hours:.3g}"))
    if usage.lost:
        tiles.append(("of them lost", f"{usage.lost / 3600:.2g}"))
    return tiles
