"""Puts into the cache what trials of decoding need: `python -m jobs.prepare.decode RECIPE.json CACHE`."""

from __future__ import annotations

import sys
from pathlib import Path

from jobs.attempt.console import say
from jobs.attempt.environment import keep_quiet
from jobs.prepare.isolated_process import entry
from jobs.recipes.decode import DecodeRecipe, parse
from jobs.recipes.hub import fetch_model


def _prepare(recipe: DecodeRecipe, cache: Path) -> None:
    fetch_model(recipe.model, say)
    keep_quiet()
    from jobs.evaluation.task_data import data_from_cache
    from jobs.evaluation.tasks import load_tasks
    from jobs.models.base_model import obtain_base  # loads torch

    obtain_base(recipe, cache, say)
    with data_from_cache(cache, recipe.tasks.place):
        load_tasks(recipe.tasks)


main = entry(lambda raw, cache: _prepare(parse(raw), cache))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
