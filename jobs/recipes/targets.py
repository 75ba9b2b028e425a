"""Which layers get an adapter: presets by architecture, or names."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from jobs.errors import RecipeError

ATTENTION_IN = ("q_proj", "k_proj", "v_proj", "query_key_value", "qkv_proj", "c_attn")
ATTENTION_OUT = ("o_proj", "attention.dense", "attn.c_proj")
MLP = (
    "gate_proj", "up_proj", "down_proj", "gate_up_proj", "dense_h_to_4h", "dense_4h_to_h",
    "mlp.c_fc", "mlp.c_proj", "w1", "w2",
)  # fmt: skip
PRESETS: dict[str, tuple[str, ...]] = {
    "qv": ("q_proj", "v_proj", "query_key_value", "qkv_proj", "c_attn"),  # fused layers hold both
    "attention": ATTENTION_IN + ATTENTION_OUT,
    "mlp": MLP,
    "all": ATTENTION_IN + ATTENTION_OUT + MLP,
}


def problem(targets: str | Sequence[str]) -> str | None:
    """What is wrong with the choice as it is written, before a model is known.

    Args:
        targets: a preset, a list of names, or names with commas between them.
    """
    names = [targets] if isinstance(targets, str) and "," not in targets else names_in(targets)
    if isinstance(targets, str) and "," not in targets and targets not in PRESETS:
        return f"got {targets!r}, expected one of {', '.join(PRESETS)}, or a list of module names"
    if not names or not all(names):
        return f"got {targets!r}, expected at least one module name, and no empty one"
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
    preset = isinstance(targets, str) and targets in PRESETS
    wanted = PRESETS[targets] if isinstance(targets, str) and preset else tuple(names_in(targets))
    found = sorted(name for name in wanted if any(_ends(layer, name) for layer in linear_layers))
    if not found or (not preset and len(found) < len(set(wanted))):
        known = ", ".join(sorted({layer.rpartition(".")[2] for layer in linear_layers}))
        missing = ", ".join(sorted(set(wanted) - set(found)))
        raise RecipeError(f"trainer.target_modules: got {missing}, expected names among {known}")
    return found


def _ends(layer: str, name: str) -> bool:
    return layer == name or layer.endswith(f".{name}")
