"""What the untuned base model comes to: measured once per recipe, read by whoever compares.

An adapter changes nothing before its first step, so this is also where every trial starts from.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hpo.records import SCHEMA_VERSION, RecordError, read_json, write_json
from jobs.cache import key_of, known_digest
from jobs.data.rows import data_key
from jobs.recipes.recipe import Recipe
from jobs.recipes.sources import base_settings

TASK_FILES = (".yaml", ".py", ".json", ".jsonl", ".csv")  # what decides the tasks of a folder
SAMPLES_LAYOUT = 2  # raised when the record of samples, or how prompts become tokens, changes
MEASURED = ("eval_loss", "standard_error", "examples", "tokens")


def baseline_path(recipe: Recipe, cache: Path) -> Path:
    """Where the measurement is kept.

    Args:
        recipe: base model, quantisation and data decide.

    Raises:
        ModelError: the base model is not on this machine.
    """
    base = base_settings(recipe.model, recipe.trainer, cache)
    return cache / "baseline" / f"{key_of(base=base, data=data_key(recipe.data, cache))}.json"


def read_baseline(recipe: Recipe, cache: Path) -> Mapping[str, float] | None:
    """The measurement, or None if it was not made yet.

    Returns:
        eval_loss and standard_error in nats per token; numbers of examples and tokens; further metrics of
        the evaluation, if they were measured too.
    """
    with suppress(FileNotFoundError, RecordError):
        record = read_json(baseline_path(recipe, cache))
        known = {name: float(record[name]) for name in MEASURED if record.get(name) is not None}
        return {**(read_further(recipe, cache) or {}), **known}
    return None


def read_samples(recipe: Recipe, cache: Path) -> Mapping[str, Any] | None:
    """What the untuned model writes to the prompts of the evaluation, or None if it was not asked yet.

    Args:
        recipe: see `baseline_path`; its prompts decide too, and the data only where examples are asked.

    Returns:
        What `jobs.evaluation.samples.sample` returned; None also where there is no prompt.
    """
    if recipe.evaluation.samples_wanted:
        with suppress(FileNotFoundError, RecordError):
            return read_json(_samples_path(recipe, cache))
    return None


def write_samples(recipe: Recipe, cache: Path, samples: Mapping[str, Any]) -> None:
    """Keep what `read_samples` returns."""
    path = _samples_path(recipe, cache)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, dict(samples))


def _samples_path(recipe: Recipe, cache: Path) -> Path:
    evaluation = recipe.evaluation
    assert evaluation.samples is not None
    key = key_of(
        layout=SAMPLES_LAYOUT,
        base=base_settings(recipe.model, recipe.trainer, cache),
        data=data_key(recipe.data, cache) if evaluation.samples.validation else None,
        template=recipe.data.template,
        samples=asdict(evaluation.samples),
        batch_size=evaluation.batch_size,
    )
    return cache / "baseline" / f"{key}.json"


def read_further(recipe: Recipe, cache: Path) -> Mapping[str, float] | None:
    """The metrics of the untuned model beyond the loss, or None if they were not measured yet.

    Args:
        recipe: see `baseline_path`; its evaluation decides too.

    Returns:
        Metric to value; empty where a recipe has no others.
    """
    if recipe.evaluation.tasks is None and not recipe.evaluation.plain_too:
        return {}
    with suppress(FileNotFoundError, RecordError):
        return {
            name: float(value) for name, value in read_json(_further_path(recipe, cache))["metrics"].items()
        }
    return None


def write_further(recipe: Recipe, cache: Path, measured: Mapping[str, float]) -> None:
    """Keep what `read_further` returns."""
    path = _further_path(recipe, cache)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"schema_version": SCHEMA_VERSION, "metrics": dict(measured)})


def _further_path(recipe: Recipe, cache: Path) -> Path:
    tasks = recipe.evaluation.tasks
    own = None if tasks is None else tasks.place
    files = [] if own is None else [path for path in sorted(own.rglob("*")) if path.suffix in TASK_FILES]
    measures = {name: own for name, own in asdict(recipe.evaluation).items() if name != "samples"}
    key = key_of(
        loss=baseline_path(recipe, cache).stem,
        evaluation=measures,
        files={str(path.relative_to(own or path)): known_digest(path, cache) for path in files},
    )
    return cache / "baseline" / f"{key}.json"


def write_baseline(recipe: Recipe, cache: Path, measured: Mapping[str, float | None]) -> None:
    """Keep a measurement."""
    path = baseline_path(recipe, cache)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"schema_version": SCHEMA_VERSION, **measured})
