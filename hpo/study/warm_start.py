"""What a new study starts with: results of earlier studies, or trials from a CSV file.

A CSV file has a column for each parameter, named as it is, and for each objective, with its standard error in
`<objective>_se` where that is known. An empty cell is a parameter that the trial does not have. Other columns
are passed over but one: where there is a column `state`, as in what `export` writes, only rows that say
`completed` count.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hpo.errors import InputError
from hpo.objectives import Objective, Objectives
from hpo.records import ParamValue
from hpo.space.parameters import Choice, Constant, Derived, Float, Integer, Parameter
from hpo.space.space import SearchSpace
from hpo.study.journal import load_study
from hpo.study.state import TrialState
from hpo.study.store import find_study

MOST = 20  # problems that are shown

Cells = Mapping[str, str]


def is_table(name: str) -> bool:
    """Whether a name under `study.known` is one of a CSV file, not of a study."""
    return name.lower().endswith(".csv")


def read_trials(path: Path, space: SearchSpace, objectives: Objectives) -> list[dict[str, Any]]:
    """The trials of a CSV file.

    Args:
        path: of the file, UTF-8, with a line of names.
        space: whose parameters have columns; that of a derived one may be missing.
        objectives: which have columns.

    Returns:
        params, and metrics as [value, standard error or None], of each trial.

    Raises:
        InputError: a file that cannot be read, missing columns, or cells that do not fit: each with its
            line and column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, restkey="", strict=True)
            _refuse_missing(path, reader.fieldnames or (), space, objectives)
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a CSV file in UTF-8: {error}") from error
    trials: list[dict[str, Any]] = []
    problems: list[str] = []
    for line, row in rows:
        if row.get("state", "completed") == "completed":
            trial, wrong = _trial(row, space, objectives)
            trials.append(trial)
            problems += [f"{path}, line {line}{column and f', {column}'}: {text}" for column, text in wrong]
    if problems:
        more = [f"and {len(problems) - MOST} more"] if len(problems) > MOST else []
        raise InputError([("", text) for text in (*problems[:MOST], *more)])
    return trials


def _refuse_missing(path: Path, names: Sequence[str], space: SearchSpace, objectives: Objectives) -> None:
    wanted = [name for name, own in space.parameters.items() if not isinstance(own, Derived | Constant)]
    missing = [name for name in (*wanted, *objectives) if name not in names]
    if missing:
        raise InputError(
            f"{path}: expected a column for each parameter and objective; there is none for "
            f"{', '.join(missing)} among {', '.join(names) or 'no columns'}"
        )


def _trial(
    row: Cells, space: SearchSpace, objectives: Objectives
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """A trial, and (column, what is wrong) for each cell that does not fit."""
    if "" in row or None in row.values():
        return {}, [("", "expected as many cells as there are columns")]
    params: dict[str, ParamValue] = {}
    for name, parameter in space.parameters.items():
        text = row.get(name, "").strip()
        if text:
            params[name] = _value(parameter, text)
        elif isinstance(parameter, Constant) and name not in row:
            params[name] = parameter.value
    alone = ((name, space.parameters[name].problem(value)) for name, value in params.items())
    wrong = [(name, said) for name, said in alone if said]
    if not wrong:
        derived = [name for name, own in space.parameters.items() if isinstance(own, Derived)]
        computed = space.from_unit(space.to_unit(params)) if set(derived) - set(params) else {}
        params |= {name: computed[name] for name in derived if name in computed and name not in params}
        wrong += space.problems(params)
    metrics: dict[str, list[float | None]] = {}
    for name in objectives:
        value, error = _number(row[name]), row.get(f"{name}_se", "").strip()
        if value is None:
            wrong.append((name, f"expected a finite number, got {row[name]!r}"))
        spread = _number(error)
        if error and (spread is None or spread < 0):
            wrong.append((f"{name}_se", f"expected a number of at least 0, or nothing, got {error!r}"))
        metrics[name] = [value, spread]
    return {"params": params, "metrics": metrics}, wrong


def _value(parameter: Parameter, text: str) -> ParamValue:
    """What a cell means for a parameter; the text itself where it means nothing: the space says why not."""
    known: Sequence[ParamValue] = ()
    if isinstance(parameter, Choice | Constant):
        known = parameter.values if isinstance(parameter, Choice) else (parameter.value,)
    for value in known:
        if text == str(value) or (isinstance(value, bool) and text.lower() == str(value).lower()):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool) and _number(text) == value:
            return value
    if isinstance(parameter, Float | Integer | Derived):
        return next(_readings(parameter, text))
    return text


def _readings(parameter: Parameter, text: str) -> Iterator[ParamValue]:
    number = _number(text)
    if number is not None:
        whole = number.is_integer() and not isinstance(parameter, Float)
        if whole and (isinstance(parameter, Integer) or "." not in text):
            yield int(number)
        yield number
    if isinstance(parameter, Derived) and text.lower() in ("true", "false"):
        yield text.lower() == "true"
    yield text


def _number(text: str) -> float | None:
    with suppress(ValueError):
        number = float(text)
        return number if math.isfinite(number) else None
    return None


_FEWEST = 2


def gather(
    settings: Mapping[str, Sequence[str]], root: Path, space: SearchSpace, objectives: Mapping[str, Objective]
) -> dict[str, list[dict[str, Any]]]:
    """The results of earlier studies, as the journal of a new one keeps them.

    Args:
        settings: `known` and `related`, each a list of study names or folders, or CSV files .
        root: where studies are.
        space: of the new study; trials outside it are left out.
        objectives: of the new study; trials without one of them are left out.

    Returns:
        `known` and `related`, each a list of studies: name and trials (params, and metrics as [value,
        standard error or None]).

    Raises:
        InputError: a study or file that is not there, or with fewer than two trials that fit, by key path.
    """
    problems, found = [], dict[str, list[dict[str, Any]]]()
    for key in ("known", "related"):
        found[key] = []
        for name in settings[key]:
            try:
                found[key].append({"study": name, "trials": _results(name, root, space, objectives)})
            except InputError as error:
                problems += error.under(f"study.{key}")
    if problems:
        raise InputError(problems)
    return found


def _results(
    name: str, root: Path, space: SearchSpace, objectives: Mapping[str, Objective]
) -> list[dict[str, Any]]:
    if is_table(name):
        rows = read_trials(Path(name), space, objectives)
        if len(rows) < _FEWEST:
            raise InputError(f"{name}: expected at least {_FEWEST} completed trials, got {len(rows)}")
        return rows
    study = load_study(find_study(name, root).journal)
    completed = study.in_state(TrialState.COMPLETED)
    trials = [
        {
            "params": trial.params,
            "metrics": {
                own: [trial.metrics[own].value, trial.metrics[own].standard_error] for own in objectives
            },
        }
        for trial in completed
        if space.contains(trial.params) and all(own in trial.metrics for own in objectives)
    ]
    if len(trials) < _FEWEST:
        raise InputError(
            f"expected a study with at least {_FEWEST} completed trials in this search space that measured "
            f"{', '.join(objectives)}; of the {len(completed)} completed trials of {name}, {len(trials)} fit"
        )
    return trials
