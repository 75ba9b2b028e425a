"""`report`: pictures, trials.csv and one self-contained HTML page of a study, at any stage of it."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Mapping
from pathlib import Path

import jinja2
from rich.console import Console

from hpo.errors import FrontrunnerError
from hpo.records import utc_now, write_text
from hpo.snapshot import Snapshot, pareto_trials, take
from hpo.store import find_study, read_configuration
from hpo.study import Trial
from hpo.tables import counts_line, number

TEMPLATES = Path(__file__).parent / "templates"


def report(name: str, root: Path, console: Console) -> int:
    """Write a study's report folder and say where it is.

    Raises:
        InputError: there is no such study.
        FrontrunnerError: the plotting library is missing.
    """
    try:
        from hpo.figures import draw
    except ImportError as error:
        hint = "pip install 'frontrunner[report]'"
        raise FrontrunnerError(f"`report` draws with matplotlib: {error}", hint) from error
    paths = find_study(name, root)
    snapshot = take(paths)
    paths.report.mkdir(exist_ok=True)
    write_text(paths.report / "trials.csv", trials_csv(snapshot))
    pictures = draw(snapshot.study, snapshot.objectives, paths.report)
    page = paths.report / "report.html"
    write_text(page, render(snapshot, pictures, read_configuration(paths)))
    for path in [page, paths.report / "trials.csv", *pictures]:
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


def render(snapshot: Snapshot, pictures: list[Path], configuration: Mapping[str, object]) -> str:
    """The page; all texts are escaped, all pictures are inside it."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True)
    environment.filters["number"] = number
    encoded = {path.stem: base64.b64encode(path.read_bytes()).decode() for path in pictures}
    study = snapshot.study
    return environment.get_template("report.html.j2").render(
        study=study,
        state=snapshot.state,
        counts=counts_line(snapshot),
        made_at=utc_now(),
        objectives=snapshot.objectives,
        front=pareto_trials(study, snapshot.objectives),
        params=list(dict.fromkeys(name for trial in study.trials.values() for name in trial.params)),
        trials=list(study.trials.values()),
        pictures=encoded,
        configuration=configuration,
    )
