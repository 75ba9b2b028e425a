"""The validation loss of the untuned base model: measured once per recipe, read by whoever compares.

An adapter changes nothing before its first step, so this is also where every trial starts from.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from hpo.records import SCHEMA_VERSION, RecordError, read_json, write_json
from jobs.cache import key_of
from jobs.recipe import Recipe
from jobs.rows import data_key
from jobs.sources import base_settings

MEASURED = ("eval_loss", "standard_error", "examples", "tokens")


def baseline_path(recipe: Recipe, cache: Path) -> Path:
    """Where the measurement is kept.

    Args:
        recipe: base model, quantisation and data decide.
        cache: root of the cache.

    Raises:
        ModelError: the base model is not on this machine.
    """
    base = base_settings(recipe.model, recipe.trainer, cache)
    return cache / "baseline" / f"{key_of(base=base, data=data_key(recipe.data, cache))}.json"


def read_baseline(recipe: Recipe, cache: Path) -> Mapping[str, float] | None:
    """The measurement, or None if it was not made yet.

    Args:
        recipe: see `baseline_path`.
        cache: root of the cache.

    Returns:
        eval_loss and standard_error in nats per token; numbers of examples and tokens.
    """
    with suppress(FileNotFoundError, RecordError):
        record = read_json(baseline_path(recipe, cache))
        return {name: float(record[name]) for name in MEASURED if record.get(name) is not None}
    return None


def write_baseline(recipe: Recipe, cache: Path, measured: Mapping[str, float | None]) -> None:
    """Keep a measurement.

    Args:
        recipe: see `baseline_path`.
        cache: root of the cache.
        measured: what `read_baseline` returns.
    """
    path = baseline_path(recipe, cache)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"schema_version": SCHEMA_VERSION, **measured})
