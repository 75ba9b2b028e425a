"""The loss of training examples under the untuned base model: computed once for a cache, in parts."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import torch

from hpo.records import SCHEMA_VERSION, read_json, write_json
from jobs.cache import key_of, obtain
from jobs.data.selection import SelectedExample
from jobs.data.tokens import Collator, Tokens
from jobs.errors import DataError
from jobs.evaluation.curation import Loss, to_score
from jobs.evaluation.shards import StoredShards
from jobs.evaluation.validation_loss import summed_losses
from jobs.models.precision import Precision
from jobs.recipes.data import CurateBy
from jobs.recipes.recipe import Recipe
from jobs.recipes.sources import base_settings

Say: TypeAlias = Callable[[str], None]
# Examples -> per example the summed loss in nats, and the number of response tokens.
Measure: TypeAlias = Callable[[Sequence[Tokens]], tuple[list[float], list[int]]]
LAYOUT = 1  # raised when what is written into an entry changes
PART = 256  # examples: what an interrupted computation loses at most
TELL_EVERY_S = 10.0


def measure_with(
    model: torch.nn.Module,
    collator: Collator,
    batch_size: int,
    precision: Precision,
    after_batch: Callable[[], None] = lambda: None,
) -> Measure:
    """What takes losses with a model that is loaded."""
    return lambda part: summed_losses(model, part, collator, batch_size, precision, after_batch)


def obtain_losses(
    recipe: Recipe,
    train: Sequence[SelectedExample],
    examples_key: str,
    cache: Path,
    measure: Measure,
    say: Say,
) -> Mapping[int, Loss]:
    """The losses that the recipe's curation needs, computed first if the cache does not hold them.

    Whoever computes them does so in the precision of its own card. That is no part of the key: all trials
    that share a cache, and all attempts of a trial, must read the same examples in the same order.

    Args:
        examples_key: name of the tokenised examples by their content.

    Returns:
        Place of an example -> its loss; empty where curation needs none.

    Raises:
        DataError: a loss is not finite.
    """
    places = to_score(train, recipe.data.curation)
    if not places:
        return {}
    settings = base_settings(recipe.model, recipe.trainer, cache)
    curation = recipe.data.curation
    answers = {"answers": curation.exact_match_tokens} if curation.by is CurateBy.SCORE else {}
    key = key_of(layout=LAYOUT, base=settings, examples=examples_key, places=places, **answers)
    entry = cache / "scores" / key
    unfinished = entry.with_name(f".{key}.parts")

    def build(made: Path) -> None:
        what = "answers to" if answers else "loss on"
        say(f"taking the untuned base model's {what} {len(places)} training examples, once for this cache")
        sums, counts = _in_parts([train[place].tokens for place in places], unfinished, measure, say)
        write_json(made / "losses.json", {"schema_version": SCHEMA_VERSION, "sums": sums, "tokens": counts})

    record = read_json(obtain(entry, build, {"base": settings, "examples": examples_key}) / "losses.json")
    shutil.rmtree(unfinished, ignore_errors=True)
    return dict(zip(places, zip(record["sums"], record["tokens"], strict=True), strict=True))


def _in_parts(
    examples: Sequence[Tokens], folder: Path, measure: Measure, say: Say
) -> tuple[list[float], list[int]]:
    """Losses in the order of the examples; parts that an earlier attempt finished are read."""
    parts = StoredShards(folder, lambda: None)
    sums: list[float] = []
    counts: list[int] = []
    began = told = time.monotonic()
    computed = 0

    def compute(part: Sequence[Tokens]) -> list[tuple[float, int]]:
        nonlocal computed
        computed += len(part)
        longest_first = sorted(range(len(part)), key=lambda place: -len(part[place]))
        found = zip(*measure([part[place] for place in longest_first]), strict=True)
        by_place = dict(zip(longest_first, found, strict=True))
        return [_finite(by_place[place]) for place in range(len(part))]

    for start in range(0, len(examples), PART):
        part = examples[start : start + PART]
        asked = [example.content for example in part]
        answers = parts.obtain(str(start // PART), asked, lambda part=part: compute(part))  # type: ignore[misc]
        sums += [total for total, _ in answers]
        counts += [count for _, count in answers]
        now = time.monotonic()
        if computed and now - told >= TELL_EVERY_S:
            left_s = (now - began) / computed * (len(examples) - len(sums))
            say(f"taken on {len(sums)} of {len(examples)} examples, about {left_s / 60:.0f} min left")
            told = now
    return sums, counts


def _finite(loss: tuple[float, int]) -> tuple[float, int]:
    if math.isfinite(loss[0]):
        return loss
    raise DataError(
        f"data.curation: got the loss {loss[0]} of the untuned base model on a training example, "
        "expected a finite number",
        "does the model compute in this card's precision? data.curation.by=none goes without its losses",
    )
