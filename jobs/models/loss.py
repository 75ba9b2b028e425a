"""Cross-entropy on the tokens that count, without ever making the logits of the others, nor all at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from peft import PeftModel
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from jobs.data.packing import LENGTHS, layout
from jobs.data.tokens import IGNORED
from jobs.models.precision import Precision
from jobs.recipes.heads import CHUNK, PLAIN_HEADS


def token_losses(
    model: torch.nn.Module, batch: Mapping[str, Any], precision: Precision
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of every token that counts.

    Args:
        batch: of `jobs.data.tokens.Collator` or `jobs.data.packing.Packer`.

    Returns:
        Losses in nats, float32, `n`; and the row of the batch that each belongs to, `n`.
    """
    targets = batch["labels"][:, 1:]  # b x (s-1): position i predicts token i+1
    counts = targets != IGNORED
    causal = cast(PreTrainedModel, model.get_base_model() if isinstance(model, PeftModel) else model)
    with torch.autocast(precision.device.type, precision.compute, enabled=precision.autocast):
        losses = _losses(causal, batch, counts, targets[counts])
    losses = losses.to(targets.device)  # of a model on several cards, they are where its head is
    return losses, counts.nonzero()[:, 0]


def _losses(
    causal: PreTrainedModel, batch: Mapping[str, Any], counts: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    where = layout(batch) if LENGTHS in batch else {"attention_mask": batch["attention_mask"]}
    inputs = {"input_ids": batch["input_ids"], "use_cache": False, **where}
    if causal.config.model_type not in PLAIN_HEADS:
        return _cross_entropy(causal(**inputs).logits[:, :-1][counts], targets)
    hidden = causal.base_model(**inputs).last_hidden_state  # b x s x hidden
    hidden = hidden[:, :-1][counts.to(hidden.device)]  # n x hidden
    head = causal.get_output_embeddings()  # type: ignore[no-untyped-call]
    place = next(
        head.parameters()
    ).device  # of layers that are split over cards, the head may be with the first
    return chunked(head, hidden.to(place), targets.to(place))


def chunked(
    head: torch.nn.Module, hidden: torch.Tensor, targets: torch.Tensor, size: int = CHUNK
) -> torch.Tensor:
    """Cross-entropy of a head's logits, a piece of them at a time.

    With a frozen linear head each piece makes its own gradient as it goes by, and nothing is computed twice;
    others make their logits again in the backward pass.

    Args:
        hidden: last hidden states, `n x hidden`.
        targets: token ids, `n`.
        size: rows whose logits exist at the same time.

    Returns:
        Losses in nats, float32, `n`.
    """
    if type(head) is torch.nn.Linear and not any(weight.requires_grad for weight in head.parameters()):
        return cast(torch.Tensor, _Pieces.apply(hidden, head.weight, head.bias, targets, size))  # type: ignore[no-untyped-call]
    if len(hidden) <= size:
        return _cross_entropy(head(hidden), targets)

    def piece(rows: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        return _cross_entropy(head(rows), own)

    parts = [
        cast(torch.Tensor, checkpoint(piece, rows, own, use_reentrant=False, preserve_rng_state=False))
        for rows, own in zip(torch.split(hidden, size), torch.split(targets, size), strict=True)
    ]
    return torch.cat(parts)


class _Pieces(torch.autograd.Function):
    """Losses of a frozen linear head: d loss_i / d hidden_i = (softmax(logits_i) - onehot(target_i)) W."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        size: int,
    ) -> torch.Tensor:
        losses = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        gradients = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for start in range(0, len(hidden), size):
            rows = slice(start, start + size)
            own = targets[rows, None]
            logs = F.log_softmax(F.linear(hidden[rows], weight, bias).float(), dim=-1)  # size x vocabulary
            losses[rows] = -logs.gather(1, own)[:, 0]
            if gradients is not None:
                weights = logs.exp_()
                weights.scatter_add_(1, own, weights.new_full((1, 1), -1.0).expand_as(own))
                gradients[rows] = weights.to(weight.dtype) @ weight
        ctx.save_for_backward(gradients)
        return losses

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> tuple[torch.Tensor | None, None, None, None, None]:
        (gradients,) = ctx.saved_tensors
        return (gradients * outer[0][:, None]).to(gradients.dtype), None, None, None, None


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits.float(), targets.to(logits.device), reduction="none")
