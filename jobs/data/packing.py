"""The examples of a micro-batch in one row, without any padding, each seeing nothing of the others.

No mask is made: attention is computed example by example, so it costs what the examples cost, and runs on
every card. Kernels that take such rows whole (flash-attention) need a card of compute capability 8.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from jobs.data.tokens import COUNTED, TOKENS, Tokens, counted
from jobs.errors import ModelError
from jobs.recipes.heads import PLAIN_HEADS, not_packed

NAME = "sdpa_within_examples"
LENGTHS = "example_lengths"


class Packer:
    """Lays the examples of one micro-batch end to end."""

    def __call__(self, examples: Sequence[Tokens]) -> dict[str, Any]:
        """One row.

        Args:
            examples: at least one.

        Returns:
            input_ids, position_ids (from 0 in every example) and labels, each `1 x s`; the lengths of the
            examples, which add up to s; `COUNTED` and `TOKENS`. The first token of an example never counts,
            so the last one of the example before it is asked for nothing.
        """
        lengths = tuple(len(example) for example in examples)
        labels = torch.tensor([[label for example in examples for label in example.labels]])
        return {
            "input_ids": torch.tensor([[token for example in examples for token in example.ids]]),
            "position_ids": torch.tensor([[place for length in lengths for place in range(length)]]),
            "labels": labels,
            LENGTHS: lengths,
            COUNTED: counted(labels),
            TOKENS: sum(lengths),
        }


def attend_within_examples(model: PreTrainedModel) -> None:
    """Make a model read packed rows and padded ones without masks; `generate` and others may still give one.

    Args:
        model: loaded with scaled dot-product attention.

    Raises:
        ModelError: the architecture is not known to hand the lengths down to its attention.
    """
    kind = str(model.config.model_type)
    if kind not in PLAIN_HEADS:
        raise ModelError(f"data.packing: {not_packed(kind)}")
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def layout(model: PreTrainedModel, batch: Mapping[str, Any]) -> dict[str, Any]:
    """What the model is told of where examples are.

    A padded batch needs no mask either: no token looks to its right, where the padding is, and what is made
    of the padding is asked for nothing. With a mask, transformers would wait for the card to know what it is.
    """
    ids = batch["input_ids"]
    if LENGTHS not in batch and model.config._attn_implementation != NAME:
        return {"attention_mask": batch["attention_mask"]}
    # A mask of four dimensions is handed on as it is; without one transformers would make it, `s x s`.
    none = torch.zeros(1, 1, 1, 1, device=ids.device)
    if LENGTHS in batch:
        return {"position_ids": batch["position_ids"], LENGTHS: batch[LENGTHS], "attention_mask": none}
    places = torch.arange(ids.shape[1], device=ids.device)[None]
    return {"position_ids": places, LENGTHS: (ids.shape[1],), "attention_mask": none}


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Of queries, keys and values, each `b x heads x s x size`; the result is `b x s x heads x size`."""
    lengths = options.pop(LENGTHS, None)
    if lengths is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    window = options.get("sliding_window")
    seen = [
        sdpa_attention_forward(module, q, k, v, _window(q.shape[2], window, q.device), **options)[0]
        for q, k, v in zip(*(torch.split(each, lengths, dim=2) for each in (query, key, value)), strict=True)
    ]
    return (torch.cat(seen, dim=1) if len(seen) > 1 else seen[0]), None


def _window(length: int, width: int | None, device: torch.device) -> torch.Tensor | None:
    """The mask of an example longer than a sliding window; None where each token sees all before it."""
    if width is None or length <= width:
        return None
    places = torch.arange(length, device=device)
    back = places[:, None] - places[None, :]
    return ((back >= 0) & (back < width))[None, None]
