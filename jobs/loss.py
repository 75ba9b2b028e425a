"""Cross-entropy on the tokens that count, without ever making the logits of the others, nor all at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from peft import PeftModel
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from jobs.data import IGNORED
from jobs.heads import CHUNK, PLAIN_HEADS
from jobs.packing import LENGTHS, layout
from jobs.precision import Precision


def token_losses(
    model: torch.nn.Module, batch: Mapping[str, Any], precision: Precision
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of every token that counts.

    Args:
        model: a causal language model, with or without an adapter.
        batch: of `jobs.data.Collator` or `jobs.packing.Packer`.
        precision: of this machine.

    Returns:
        Losses in nats, float32, `n`; and the row of the batch that each belongs to, `n`.
    """
    targets = batch["labels"][:, 1:]  # b x (s-1): position i predicts token i+1
    counts = targets != IGNORED
    causal = cast(PreTrainedModel, model.get_base_model() if isinstance(model, PeftModel) else model)
    with torch.autocast(precision.device.type, precision.compute, enabled=precision.autocast):
        losses = _losses(causal, batch, counts, targets[counts])
    return losses, counts.nonzero()[:, 0]


def _losses(
    causal: PreTrainedModel, batch: Mapping[str, Any], counts: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    where = layout(batch) if LENGTHS in batch else {"attention_mask": batch["attention_mask"]}
    inputs = {"input_ids": batch["input_ids"], "use_cache": False, **where}
    if causal.config.model_type not in PLAIN_HEADS:
        return _cross_entropy(causal(**inputs).logits[:, :-1][counts], targets)
    hidden = causal.base_model(**inputs).last_hidden_state[:, :-1][counts]  # n x hidden
    head = causal.get_output_embeddings()  # type: ignore[no-untyped-call]
    return chunked(head, hidden, targets)


def chunked(
    head: torch.nn.Module, hidden: torch.Tensor, targets: torch.Tensor, size: int = CHUNK
) -> torch.Tensor:
    """Cross-entropy of a head's logits, a piece at a time; gradients make each piece's logits again.

    Args:
        head: hidden state to logits.
        hidden: last hidden states, `n x hidden`.
        targets: token ids, `n`.
        size: rows whose logits exist at the same time.

    Returns:
        Losses in nats, float32, `n`.
    """
    if len(hidden) <= size:
        return _cross_entropy(head(hidden), targets)

    def piece(rows: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        return _cross_entropy(head(rows), own)

    parts = [
        cast(torch.Tensor, checkpoint(piece, rows, own, use_reentrant=False, preserve_rng_state=False))
        for rows, own in zip(torch.split(hidden, size), torch.split(targets, size), strict=True)
    ]
    return torch.cat(parts)


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits.float(), targets, reduction="none")
