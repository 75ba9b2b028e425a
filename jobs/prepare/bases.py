"""Puts base models and tasks' data into the cache: `python -m jobs.prepare.bases RECIPE CACHE BASES`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobs.attempt.console import say
from jobs.attempt.environment import keep_quiet
from jobs.prepare.isolated_process import entry
from jobs.recipes.evaluation import JudgedBase
from jobs.recipes.recipe import Quantisation, Recipe, parse


def _prepare(raw: Mapping[str, Any], cache: Path, *bases: str) -> None:
    recipe = parse(raw)
    keep_quiet()
    from jobs.models.base_model import obtain_base  # loads torch
    from jobs.models.libraries import quiet

    quiet()
    for base in bases:
        obtain_base(on_base(recipe, JudgedBase(base)), cache, say)
    if recipe.evaluation.tasks is not None:
        from jobs.evaluation.task_data import data_from_cache
        from jobs.evaluation.tasks import load_tasks

        with data_from_cache(cache, recipe.evaluation.tasks.place):
            load_tasks(recipe.evaluation.tasks)


def on_base(recipe: Recipe, base: JudgedBase) -> Recipe:
    """The recipe with the base model as it is to be loaded."""
    if base is JudgedBase.AS_TRAINED:
        return recipe
    return replace(recipe, trainer=replace(recipe.trainer, quantisation=Quantisation.NONE))


main = entry(_prepare)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
