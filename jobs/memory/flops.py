"""How much computing a training takes, before it has run. Loads no torch.

Counted are the multiplications with the base model's weights, which stay as they are, with the adapters', and
those of attention; a multiplication and its addition are two operations. Norms, activations, the decoding of
4-bit weights and the optimiser are not: they are why a card's rate (`cluster.gpu_tflops`) is below its peak.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.memory.forecast import largest, read_recipe, usual_length
from jobs.memory.peak import FULL_TOKENS, Architecture, Load
from jobs.memory.sizing import choose_sizing, load_of
from jobs.recipes.data import DataRecipe
from jobs.recipes.recipe import TrainerRecipe


def training_effort(
    recipe: Mapping[str, Any], cache: Path, card: float | None = None, factor: float = 1.0
) -> dict[str, float] | None:
    """What the steps of a training compute.

    Args:
        card: bytes of the card's memory, which decides how a batch goes through it; None: not known.
        factor: of `jobs.memory.peak.correction`.

    Returns:
        `tokens` that are trained on; `flops`, operations of one card, counting forward passes that are too
        small to fill it as if they did; `most`, 1 where the length of the examples is not known and each is
        counted with `data.max_length`, else 0. None where the model's sizes, or how long an epoch is, are not
        known, or the recipe cannot be read.
    """
    readable = read_recipe(recipe, cache, card, factor)
    if readable is None:
        return None
    model, whole, data = readable
    steps = _steps(whole, data)
    if steps is None:
        return None
    longest, length, share = data.max_length, usual_length(data), whole.on_a_card  # share: of several cards
    sizing = largest(share)
    if card is not None:
        sizing = choose_sizing(share, model, lambda n: n * longest, card, factor, length)
    each = flops_per_token(model.sizes, load_of(share, model.kind), length, sizing.checkpointing)
    filled = max(1.0, FULL_TOKENS / (sizing.micro_batch * length))
    tokens = steps * whole.batch_size * length
    return {
        "tokens": tokens,
        "flops": tokens * (share.batch_size / whole.batch_size) * each * filled,
        "most": float(data.sizes is None),
    }


def flops_per_token(model: Architecture, load: Load, length: float, checkpointing: bool) -> float:
    """Operations of a forward and a backward pass.

    Args:
        load: which layers have adapters, and of which rank.
        length: tokens of an example; attention is causal, so that each looks at half of them.
        checkpointing: whether the blocks' forward passes are made twice.
    """
    linears = model.linears
    weights = model.layers * sum(inputs * outputs for inputs, outputs in linears.values())
    tuned = [linears[name] for name in load.targets if name in linears]
    adapters = model.layers * load.rank * sum(inputs + outputs for inputs, outputs in tuned)
    attention = model.layers * length * model.queries  # of queries with keys, and of weights with values
    head = model.vocabulary * model.hidden
    forward = 2.0 * (weights + adapters + attention)
    # to the inputs once more what forward takes; to both factors of what is trained, or has no weights, twice
    backward = 2.0 * (weights + 2 * adapters + 2 * attention)
    return forward * (2 if checkpointing else 1) + backward + 4.0 * head


def _steps(trainer: TrainerRecipe, data: DataRecipe) -> int | None:
    """Optimiser steps; None where how many examples an epoch reads is not known."""
    examples = data.curation.examples or (data.sizes and data.sizes.rows * (1 - data.validation_fraction))
    if trainer.max_steps is None and not examples:
        return None
    read = min(int(examples or 0), data.train_examples or int(examples or 0))
    return trainer.steps(read)
