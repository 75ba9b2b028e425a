"""Puts base models and tasks' data into the cache: `python -m jobs.prepare.bases RECIPE CACHE BASES`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from jobs.attempt.console import say
from jobs.attempt.environment import keep_quiet
from jobs.errors import TrialError
from jobs.recipes.evaluation import Base
from jobs.recipes.recipe import Quantisation, Recipe, parse


def main(recipe_file: str, cache: str, *bases: str) -> int:
    """Convert, quantise and fetch what the cache lacks.

    Args:
        bases: 4bit, 16bit or both.

    Returns:
        0, or 2 after a message on stderr.
    """
    try:
        recipe = parse(json.loads(Path(recipe_file).read_text(encoding="utf-8")))
        keep_quiet()
        _prepare(recipe, Path(cache), [Base(base) for base in bases])
    except TrialError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _prepare(recipe: Recipe, cache: Path, bases: list[Base]) -> None:
    from jobs.models.base_model import obtain_base  # loads torch
    from jobs.models.libraries import quiet

    quiet()
    for base in bases:
        obtain_base(on_base(recipe, base), cache, say)
    if recipe.evaluation.tasks is not None:
        from jobs.evaluation.task_data import data_from_cache
        from jobs.evaluation.tasks import load_tasks

        with data_from_cache(cache, recipe.evaluation.tasks.place):
            load_tasks(recipe.evaluation.tasks)


def on_base(recipe: Recipe, base: Base) -> Recipe:
    """The recipe with the base model as it is to be loaded."""
    if base is Base.AS_TRAINED:
        return recipe
    return replace(recipe, trainer=replace(recipe.trainer, quantisation=Quantisation.NONE))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
