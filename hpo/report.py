"""`report`: one self-contained HTML page, pictures and trials.csv of a study, at any stage of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from hpo.errors import FrontrunnerError
from hpo.records import write_text
from hpo.reporting.choosing import parse_limits
from hpo.snapshot import Snapshot, pareto_trials, take
from hpo.store import find_study, read_configuration
from hpo.study import Trial


def report(name: str, root: Path, console: Console, limits: Sequence[str] = ()) -> int:
    """Write a study's report folder and say where it is.

    Args:
        name: a study folder, or a name under the study root.
        root: the study root.
        console: told what is done and where it is.
        limits: on the trial to be taken, as `train_seconds<=7200`.

    Raises:
        InputError: there is no such study, or a limit is none.
        FrontrunnerError: a library of the extra `report` is missing.
    """
    paths = find_study(name, root)
    snapshot = take(paths)
    known = list(dict.fromkeys(own for trial in snapshot.study.trials.values() for own in trial.metrics))
    bounds = parse_limits(limits, known)
    try:
        from hpo.reporting.material import gather
        from hpo.reporting.page import render
        from hpo.reporting.pictures import draw
    except ImportError as error:
        hint = "pip install 'frontrunner[report]'"
        raise FrontrunnerError(f"`report` needs a library that is not there: {error}", hint) from error

    def say(text: str) -> None:
        console.print(f"{text} ...", style="dim", highlight=False)

    material = gather(snapshot, read_configuration(paths), bounds, say)
    paths.report.mkdir(exist_ok=True)
    table, page = paths.report / "trials.csv", paths.report / "report.html"
    write_text(table, trials_csv(snapshot))
    say("drawing")
    pictures = draw(material, paths.report)
    write_text(page, render(material))
    for path in [page, table, *pictures]:
        console.print(str(path), highlight=False, soft_wrap=True)
    return 0


def trials_csv(snapshot: Snapshot) -> str:
    """Every trial, a row each: state, parameters, metrics with their standard errors."""
    study = snapshot.study
    params = list(dict.fromkeys(name for trial in study.trials.values() for name in trial.params))
    metrics = list(dict.fromkeys(name for trial in study.trials.values() for name in trial.metrics))
    front = {trial.id for trial in pareto_trials(study, snapshot.objectives)}
    head = ["trial", "state", "cause", "origin", "on_front", *params]
    head += [column for name in metrics for column in (name, f"{name}_standard_error")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    for trial in study.trials.values():
        row: list[object] = [
            trial.id,
            trial.state.value,
            trial.cause or "",
            trial.origin,
            int(trial.id in front),
        ]
        row += [trial.params.get(name, "") for name in params]
        writer.writerow(row + _metric_cells(trial, metrics))
    return text.getvalue()


def _metric_cells(trial: Trial, names: list[str]) -> list[object]:
    cells: list[object] = []
    for name in names:
        metric = trial.metrics.get(name)
        error = None if metric is None else metric.standard_error
        cells += ["" if metric is None else metric.value, "" if error is None else error]
    return cells
