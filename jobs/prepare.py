"""Puts into the cache what every trial of a recipe needs: `python -m jobs.prepare RECIPE.json CACHE`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from jobs.baseline import read_baseline, write_baseline
from jobs.console import say
from jobs.environment import go_offline
from jobs.errors import TrialError
from jobs.hub import fetch
from jobs.recipe import Recipe, parse


def main(recipe_file: str, cache: str) -> int:
    """Convert, quantise and measure what the cache lacks.

    Args:
        recipe_file: JSON with model, data, trainer and evaluation.
        cache: root of the cache.

    Returns:
        0, or 2 after a message on stderr.
    """
    try:
        recipe = parse(json.loads(Path(recipe_file).read_text(encoding="utf-8")))
        fetch(recipe.data, Path(cache), say)
        go_offline()
        _prepare(recipe, Path(cache))
    except TrialError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _prepare(recipe: Recipe, cache: Path) -> None:
    from jobs.evaluation import evaluate  # loads torch
    from jobs.precision import of_this_machine
    from jobs.trial import load_all, quiet

    quiet()
    precision = of_this_machine()
    loaded = load_all(recipe, cache, precision)
    if read_baseline(recipe, cache) is None:
        say("measuring the untuned base model")
        size = recipe.evaluation.batch_size
        judged = evaluate(loaded.model, loaded.examples.validation, loaded.collator, size, precision)
        measured = {"eval_loss": judged.loss, "standard_error": judged.standard_error}
        write_baseline(recipe, cache, {**measured, "examples": judged.examples, "tokens": judged.tokens})
        say(f"untuned base model: eval_loss {judged.loss:.4f} nats per token")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
