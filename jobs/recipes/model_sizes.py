"""The sizes of a model as its config.json has them, given by hand so that `plan` can foretell."""

from __future__ import annotations

from typing import Any

# keys of a config.json that forecasts read, each by the names that it goes by
NEEDED_SIZES = (
    ("hidden_size", "n_embd"),
    ("num_attention_heads", "n_head"),
    ("num_hidden_layers", "n_layer"),
    ("vocab_size",),
)
OTHER_SIZES = ("intermediate_size", "n_inner", "num_key_value_heads", "head_dim")


def known_sizes(sizes: dict[str, Any] | None) -> dict[str, Any] | None:
    """The sizes as they are given.

    Raises:
        ValueError: one that forecasts need is missing, or is no number of at least 1.
    """
    if not sizes:
        return sizes
    names = (*(name for each in NEEDED_SIZES for name in each), *OTHER_SIZES)
    given = {name: sizes[name] for name in names if sizes.get(name) is not None}
    wrong = [f"{name}: {size!r}" for name, size in given.items() if type(size) is not int or size < 1]
    if wrong:
        raise ValueError(f"got {', '.join(wrong)}, expected numbers of at least 1, as config.json has them")
    missing = [" or ".join(each) for each in NEEDED_SIZES if not set(each) & set(given)]
    if missing:
        raise ValueError(f"got no {', '.join(missing)}, expected what the model's config.json says, or null")
    return sizes
