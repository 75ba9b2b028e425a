"""A study as one table: CSV by the standard library, Parquet by pyarrow."""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

from hpo.records import ParamValue, write_text
from hpo.study.gpu_hours import measured
from hpo.study.snapshot import Snapshot, pareto_trials
from hpo.study.state import Trial

Cell = ParamValue | None


def rows(snapshot: Snapshot) -> list[dict[str, Cell]]:
    """A row for each trial, all with the same columns; None where there is nothing to say."""
    study = snapshot.study
    params, metrics = study.parameters, study.metrics
    with_error = {
        name
        for trial in study.trials.values()
        for name, metric in trial.metrics.items()
        if metric.standard_error is not None
    }
    front = {trial.id for trial in pareto_trials(study, snapshot.objectives)}
    attempts: Counter[str] = Counter()
    hours: defaultdict[str, float] = defaultdict(float)
    for end in study.ends:
        seconds, gpus = measured(study, end)
        attempts[end.trial] += 1
        hours[end.trial] += seconds * gpus / 3600
    early = any(trial.rungs for trial in study.trials.values())
    return [
        {
            "trial": trial.id,
            "state": trial.state.value,
            "cause": trial.cause.value if trial.cause else None,
            "origin": trial.origin,
            "on_front": trial.id in front,
            **{name: trial.params.get(name) for name in params},
            **_metrics(trial, metrics, with_error),
            "batch": trial.batch,
            **(
                {"rung": trial.rungs[-1].rung if trial.rungs else None, "thawed": trial.thawed}
                if early
                else {}
            ),
            "attempts": attempts[trial.id],
            "gpu_hours": hours[trial.id],
            "planned_at": trial.planned_at,
            "ended_at": trial.ended_at or None,
            "message": trial.message or None,
        }
        for trial in study.trials.values()
    ]


def _metrics(trial: Trial, names: list[str], with_error: set[str]) -> Mapping[str, Cell]:
    cells: dict[str, Cell] = {}
    for name in names:
        metric = trial.metrics.get(name)
        cells[name] = metric.value if metric else None
        if name in with_error:
            cells[f"{name}_se"] = metric.standard_error if metric else None
    return cells


def write_csv(snapshot: Snapshot, target: Path) -> None:
    """Write the table; `study.known` reads it back."""
    table = rows(snapshot)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]) if table else ["trial"], lineterminator="\n")
    writer.writeheader()
    for row in table:
        writer.writerow(
            {name: str(cell).lower() if isinstance(cell, bool) else cell for name, cell in row.items()}
        )
    write_text(target, text.getvalue())


def write_parquet(snapshot: Snapshot, target: Path) -> None:
    """Write the table; a parameter with values of several kinds becomes a column of texts.

    Raises:
        ImportError: pyarrow is not there.
    """
    import pyarrow
    import pyarrow.parquet

    table = rows(snapshot)
    columns = {name: [row[name] for row in table] for name in (table[0] if table else ())}
    arrays = {name: pyarrow.array(_of_one_kind(cells)) for name, cells in columns.items()}
    pyarrow.parquet.write_table(pyarrow.table(arrays), target)


def _of_one_kind(cells: list[Cell]) -> list[Cell]:
    kinds = {type(cell) for cell in cells if cell is not None}
    if kinds <= {int, float}:
        return [float(cell) if float in kinds and cell is not None else cell for cell in cells]
    return cells if len(kinds) == 1 else [None if cell is None else str(cell) for cell in cells]
