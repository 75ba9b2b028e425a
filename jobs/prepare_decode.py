"""Puts into the cache what trials of decoding need: `python -m jobs.prepare_decode RECIPE.json CACHE`."""

from __future__ import annotations

import sys
from pathlib import Path

from jobs.apart import answer
from jobs.console import say
from jobs.decode_recipe import DecodeRecipe, parse
from jobs.environment import keep_quiet
from jobs.hub import fetch_model


def main(recipe_file: str, cache: str) -> int:
    """Convert, quantise and fetch what the cache lacks.

    Args:
        recipe_file: JSON with model, data, trainer and evaluation.
        cache: root of the cache.

    Returns:
        0, or 2 after a message on stderr.
    """
    return answer(recipe_file, lambda raw: _prepare(parse(raw), Path(cache)))


def _prepare(recipe: DecodeRecipe, cache: Path) -> None:
    fetch_model(recipe.model, say)
    keep_quiet()
    from jobs.base_model import obtain_base  # loads torch
    from jobs.task_data import data_from_cache
    from jobs.tasks import load_tasks

    obtain_base(recipe, cache, say)
    with data_from_cache(cache, recipe.tasks.place):
        load_tasks(recipe.tasks)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
