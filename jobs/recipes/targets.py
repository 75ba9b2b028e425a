"""Which layers get an adapter: presets by architecture, or names."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from jobs.errors import RecipeError

ATTENTION_IN = ("q_proj", "k_proj", "v_proj", "query_key_value", "qkv_proj", "c_attn")
ATTENTION_OUT = ("o_proj", "attention.dense", "attn.c_proj")
MLP = (
    "gate_proj", "up_proj", "down_proj", "gate_up_proj", "dense_h_to_4h", "dense_4h_to_h",
    "mlp.c_fc", "mlp.c_proj", "w1", "w2",
)  # fmt: skip
ALL_LINEAR = "all-linear"  # as peft has it
PRESETS: dict[str, tuple[str, ...]] = {
    "qv": ("q_proj", "v_proj", "query_key_value", "qkv_proj", "c_attn"),  # fused layers hold both
    "attention": ATTENTION_IN + ATTENTION_OUT,
    "mlp": MLP,
    "all": ATTENTION_IN + ATTENTION_OUT + MLP,
    ALL_LINEAR: ATTENTION_IN + ATTENTION_OUT + MLP,  # and whatever others the model has: see `resolve`
}
# Embeddings and heads by the names of the architectures that the presets know; they stay as they are.
HEADS = ("lm_head", "embed_out", "embed_tokens", "embed_in", "wte", "wpe")


def problem(targets: str | Sequence[str]) -> str | None:
    """What is wrong with the choice as it is written, before a model is known.

    Args:
        targets: a preset, a list of names, or names with commas between them.
    """
    names = [targets] if isinstance(targets, str) and "," not in targets else names_in(targets)
    if isinstance(targets, str) and "," not in targets and targets not in PRESETS:
        return f"got {targets!r}, expected one of {', '.join(PRESETS)}, or a list of module names"
    if not names or not all(re.fullmatch(r"[\w.]+", name) for name in names if name not in PRESETS):
        return f"got {targets!r}, expected at least one module name, each of letters, digits, '_' and '.'"
    if heads := sorted({name for name in names if name.rpartition(".")[2] in HEADS}):
        return (
            f"got {', '.join(heads)}, expected layers between the embeddings and the head, which stay as "
            "they are\n\nhint: all-linear takes every such layer"
        )
    return None


def names_in(targets: str | Sequence[str]) -> list[str]:
    """The names of a list, or of a text with commas."""
    return [name.strip() for name in targets.split(",")] if isinstance(targets, str) else list(targets)


def resolve(targets: str | Sequence[str], linear_layers: Collection[str]) -> list[str]:
    """The suffixes of module names that peft is to wrap.

    Args:
        linear_layers: full names of the model's linear layers, such as `model.layers.0.self_attn.q_proj`.

    Returns:
        Those of the preset that the model has, or the names as given; sorted.

    Raises:
        RecipeError: the model has no such layer.
    """
    if missing := lacking(targets, linear_layers):
        known = ", ".join(sorted({layer.rpartition(".")[2] for layer in linear_layers}))
        raise RecipeError(f"trainer.target_modules: got {', '.join(missing)}, expected names among {known}")
    if targets == ALL_LINEAR:
        return sorted({layer.rpartition(".")[2] for layer in linear_layers})
    return sorted(set(_wanted(targets)) - set(_missing(targets, linear_layers)))


def lacking(targets: str | Sequence[str], linear_layers: Collection[str]) -> list[str]:
    """The chosen names that a model lacks, sorted; of a preset it must have but one.

    Args:
        linear_layers: as of `resolve`.
    """
    if targets == ALL_LINEAR:
        return [] if linear_layers else [ALL_LINEAR]
    missing = _missing(targets, linear_layers)
    preset = isinstance(targets, str) and targets in PRESETS
    return [] if preset and len(missing) < len(_wanted(targets)) else missing


def _wanted(targets: str | Sequence[str]) -> Sequence[str]:
    return PRESETS[targets] if isinstance(targets, str) and targets in PRESETS else names_in(targets)


def _missing(targets: str | Sequence[str], linear_layers: Collection[str]) -> list[str]:
    wanted = sorted(set(_wanted(targets)))
    return [name for name in wanted if not any(_ends(layer, name) for layer in linear_layers)]


def _ends(layer: str, name: str) -> bool:
    return layer == name or layer.endswith(f".{name}")
