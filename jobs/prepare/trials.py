"""Fills the cache for the trials of a recipe: `python -m jobs.prepare.trials RECIPE.json CACHE`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hpo.records import Metric
from jobs.attempt.console import say
from jobs.attempt.environment import go_offline, keep_quiet
from jobs.evaluation.baseline import (
    read_baseline,
    read_further,
    read_samples,
    write_baseline,
    write_further,
    write_samples,
)
from jobs.evaluation.shards import UnstoredShards
from jobs.prepare.isolated_process import entry
from jobs.recipes.hub import fetch, fetch_model
from jobs.recipes.recipe import Quantisation, Recipe, parse
from jobs.recipes.targets import resolve

if TYPE_CHECKING:
    import torch

    from jobs.evaluation.judging import Judge


def _prepare(recipe: Recipe, cache: Path) -> None:
    fetch_model(recipe.model, say)
    fetch(recipe.data, cache, say)
    keep_quiet()
    if read_further(recipe, cache) is not None:  # else data sets of tasks may have to be fetched
        go_offline()
    from jobs.evaluation.judging import Judge  # loads torch
    from jobs.models.adapter import linear_layers
    from jobs.models.libraries import quiet
    from jobs.models.precision import of_this_machine
    from jobs.training.trial import load_all

    quiet()
    precision = of_this_machine()
    loaded = load_all(recipe, cache, precision)
    resolve(recipe.trainer.target_modules, linear_layers(loaded.model))  # refuses what the model lacks
    judge = Judge(recipe, cache, loaded.tokenizer, loaded.examples.validation, loaded.collator, precision)
    if read_baseline(recipe, cache) is None:
        say("measuring the untuned base model")
        judged = judge.loss(loaded.model, UnstoredShards(), lambda: None)
        measured = {"eval_loss": judged.loss, "standard_error": judged.standard_error}
        write_baseline(recipe, cache, {**measured, "examples": judged.examples, "tokens": judged.tokens})
        say(f"untuned base model: eval_loss {judged.loss:.4f} nats per token")
    if read_further(recipe, cache) is None:
        say("measuring the untuned base model by the other metrics")
        metrics = _further(judge, loaded.model, read_baseline(recipe, cache) or {})
        write_further(recipe, cache, {name: metric.value for name, metric in metrics.items()})
        said = ", ".join(f"{name} {metric.value:.4f}" for name, metric in metrics.items())
        say(f"untuned base model: {said}")
    if recipe.evaluation.samples_wanted and read_samples(recipe, cache) is None:
        say("asking the untuned base model the prompts of evaluation.samples")
        write_samples(recipe, cache, judge.samples(loaded.model, UnstoredShards(), lambda: None))


def _further(judge: Judge, model: torch.nn.Module, known: Mapping[str, float]) -> dict[str, Metric]:
    """The tasks' metrics, and those on the base model that is not quantised."""
    from jobs.evaluation.judging import on_plain

    tasks = judge.tasks(model, UnstoredShards(), lambda: None)
    if not judge.recipe.evaluation.plain_too:
        return tasks
    if judge.recipe.trainer.quantisation is Quantisation.NONE:
        return {**tasks, **on_plain(Metric(known["eval_loss"]), tasks)}
    base, _ = judge.plain_base()
    loss = judge.loss(base, UnstoredShards(), lambda: None)
    return {**tasks, **on_plain(Metric(loss.loss), judge.tasks(base, UnstoredShards(), lambda: None))}


main = entry(lambda raw, cache: _prepare(parse(raw), cache))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
