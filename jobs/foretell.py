"""The peak memory of a recipe before it has run, from the model's config.json. Loads no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from jobs.data_recipe import DataRecipe, Packing
from jobs.errors import TrialError
from jobs.heads import CHUNK, PLAIN_HEADS, not_packed
from jobs.memory import ADAM_BYTES, Architecture, Load, Peak, predict_peak_memory
from jobs.recipe import ModelRecipe, TrainerRecipe, examine
from jobs.sources import find_source, source_key
from jobs.targets import PRESETS, names_in

# The model's own names of its layers, in the words of `Architecture.linears`.
ALIASES = {
    "query_key_value": ("q_proj", "k_proj", "v_proj"),
    "qkv_proj": ("q_proj", "k_proj", "v_proj"),
    "c_attn": ("q_proj", "k_proj", "v_proj"),
    "attention.dense": ("o_proj",),
    "attn.c_proj": ("o_proj",),
    "gate_up_proj": ("gate_proj", "up_proj"),
    "dense_h_to_4h": ("up_proj",),
    "dense_4h_to_h": ("down_proj",),
    "mlp.c_fc": ("up_proj",),
    "mlp.c_proj": ("down_proj",),
    "w1": ("gate_proj",),
    "w2": ("down_proj",),
}


def peak_memory(recipe: Mapping[str, Any], cache: Path, *, examples: int | None = None) -> Peak | None:
    """What a training step takes on a GPU, with the longest examples that the recipe allows.

    Args:
        recipe: mappings model, data, trainer and evaluation.
        cache: root of the cache, where a converted model's configuration is.
        examples: of one forward pass; None: as the recipe says.

    Returns:
        Bytes by part; None where the model's sizes are not known yet, or the recipe cannot be read.
    """
    found = examine(recipe)
    if found.model is None or found.data is None or found.trainer is None:
        return None
    config = _configuration(found.model, cache)
    if config is None:
        return None
    micro = found.trainer.micro_batch if examples is None else examples
    load = load_of(found.trainer, micro * found.data.max_length, str(config.get("model_type", "")))
    return predict_peak_memory(Architecture.of(config), load)


def load_of(trainer: TrainerRecipe, tokens: int, kind: str) -> Load:
    """What a trainer does with the memory of a card.

    Args:
        trainer: of the recipe.
        tokens: of one forward pass.
        kind: model_type of the configuration.
    """
    chosen = trainer.target_modules
    preset = isinstance(chosen, str) and chosen in PRESETS
    names = PRESETS[str(chosen)] if preset else names_in(chosen)
    targets = dict.fromkeys(target for name in names for target in ALIASES.get(name, (name,)))
    return Load(
        rank=trainer.lora_rank,
        targets=tuple(targets),
        tokens=tokens,
        quantisation=trainer.quantisation.value,
        double_quantisation=trainer.double_quantisation,
        checkpointing=trainer.gradient_checkpointing,
        adam_bytes=ADAM_BYTES.get(str(trainer.args.get("optim", "")), 8),
        logit_rows=CHUNK if kind in PLAIN_HEADS else None,
        dora=trainer.use_dora,
    )


def packing_problems(model: ModelRecipe, data: DataRecipe) -> list[tuple[str, str]]:
    """Whether the examples are to be packed for a model that is not known to read such rows.

    Args:
        model: of the recipe.
        data: of the recipe.

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


def _configuration(model: ModelRecipe, cache: Path) -> dict[str, Any] | None:
    with suppress(TrialError, OSError, ValueError):
        source = find_source(model)
        folder = cache / "models" / source_key(source, cache) if source.packed else source.path
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return config if isinstance(config, dict) else None
    return None
