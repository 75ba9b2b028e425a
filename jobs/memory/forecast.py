"""The peak memory of a recipe before it has run, from the model's config.json. Loads no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from jobs.errors import TrialError
from jobs.memory.peak import chance, correction
from jobs.memory.sizing import Model, Sizing, arranged, choose_sizing, foretold
from jobs.recipes.data import DataRecipe, Packing
from jobs.recipes.heads import PLAIN_HEADS, not_packed
from jobs.recipes.recipe import ModelRecipe, TrainerRecipe, examine
from jobs.recipes.sources import find_source, source_key

CHECKPOINTS = 2  # that are kept, see `jobs.attempt.checkpoints`


def peak_memory(
    recipe: Mapping[str, Any], cache: Path, card: float | None = None, factor: float = 1.0
) -> dict[str, float] | None:
    """What a training step takes on a GPU, with the longest examples that the recipe allows.

    Args:
        card: bytes of the card's memory; None: not known.
        factor: of `jobs.memory.peak.correction`.

    Returns:
        Bytes by part and in `total`, of what a trial chooses on that card, or else of the most that it may
        choose; `least`, of the least that it may come down to. With a card also that choice,
        `micro_batch`, `checkpointing` (0 or 1) and `cards` that one model is split over, and the `chance`
        that the least fits. None where the model's sizes are not known yet, or the recipe cannot be read.
    """
    readable = read_recipe(recipe, cache, card, factor)
    if readable is None:
        return None
    model, whole, data = readable
    longest = data.max_length
    trainer = whole.on_a_card

    def tokens(examples: int) -> int:
        return examples * longest

    def bytes_of(sizing: Sizing) -> dict[str, float]:
        peak = foretold(trainer, model, sizing.checkpointing, tokens(sizing.micro_batch)).corrected(factor)
        return {**vars(peak), "total": peak.total}

    least = bytes_of(Sizing(1, trainer.checkpointings[-1]))["total"]
    if card is None:
        whole_peak = bytes_of(largest(trainer))
        return {**whole_peak, "least": least, "disk": disk(whole_peak)}
    chosen = choose_sizing(trainer, model, tokens, card, factor, usual_length(data))
    choice = {
        "micro_batch": float(chosen.micro_batch),
        "checkpointing": float(chosen.checkpointing),
        "cards": float(whole.gpus if whole.splits_layers else 1),
    }
    taken = bytes_of(chosen)
    return {**taken, **choice, "least": least, "chance": chance(least, card), "disk": disk(taken)}


def disk(peak: Mapping[str, float]) -> float:
    """Bytes that a trial leaves: its adapter, and checkpoints with the optimiser's state."""
    return peak["adapters"] + CHECKPOINTS * (peak["adapters"] + peak["optimiser"])


def read_recipe(
    recipe: Mapping[str, Any], cache: Path, card: float | None, factor: float
) -> tuple[Model, TrainerRecipe, DataRecipe] | None:
    """What every forecast begins with: the model's sizes, the trainer with its cards arranged, and the data.

    Returns:
        None where the model's sizes are not known, or the recipe cannot be read.
    """
    examined = examine(recipe)
    if examined.model is None or examined.data is None or examined.trainer is None:
        return None
    model, trainer = known_model(examined.model, cache), examined.trainer
    if model is None or (trainer.batch_size % trainer.gpus and not trainer.splits_layers):
        return None
    return model, arranged(trainer, model, examined.data.max_length, card, factor), examined.data


def usual_length(data: DataRecipe) -> float:
    """Tokens of an example on average: as the recipe tells, else as long as it may be."""
    return min(data.max_length, data.sizes.tokens) if data.sizes else data.max_length


def memory_seen(results: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What finished trials say of cards and of how well their memory was foretold.

    Returns:
        `factor`, to multiply what is foretold with, and from how many `trials`; `card`, bytes of the
        smallest, where any was seen.
    """
    gib = 2**30
    pairs = [
        (one["foretold_memory_gib"] * gib, one["training_memory_gib"] * gib)
        for one in results
        if "foretold_memory_gib" in one and "training_memory_gib" in one
    ]
    cards = [one["gpu_memory_gib"] * gib for one in results if "gpu_memory_gib" in one]
    found = {"factor": correction(pairs), "trials": float(len(pairs))}
    return {**found, "card": min(cards)} if cards else found


def largest(trainer: TrainerRecipe) -> Sizing:
    """The way through a card that takes the most memory, of those that a trial may choose."""
    return Sizing(trainer.micro_batches[-1], trainer.checkpointings[0])


def packing_problems(model: ModelRecipe, data: DataRecipe) -> list[tuple[str, str]]:
    """Whether the examples are to be packed for a model that is not known to read such rows.

    Returns:
        (key path, what is wrong) per problem; none where the model is not there to be looked at.
    """
    if data.packing is Packing.NONE:
        return []
    with suppress(TrialError, OSError, ValueError):
        source = find_source(model)
        if not source.packed:
            config = json.loads((source.path / "config.json").read_text(encoding="utf-8"))
            if (kind := str(config.get("model_type"))) not in PLAIN_HEADS:
                return [("data.packing", not_packed(kind))]
    return []


def known_model(model: ModelRecipe, cache: Path) -> Model | None:
    """What a base model's configuration tells, or else the recipe; None where neither does."""
    with suppress(TrialError, OSError, ValueError):
        source = find_source(model)
        folder = cache / "models" / source_key(source, cache) if source.packed else source.path
        file = folder / "config.json"
        return _read(file, file.stat().st_mtime_ns)
    return Model.of(model.sizes) if model.sizes else None


@lru_cache(maxsize=64)  # a proposal asks for hundreds of configurations of one model
def _read(file: Path, written_ns: int) -> Model | None:
    config = json.loads(file.read_text(encoding="utf-8"))
    return Model.of(config) if isinstance(config, dict) else None
