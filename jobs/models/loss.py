"""Cross-entropy on the tokens that count, without ever making the logits of the others, nor all at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from peft import PeftModel
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from jobs.data.packing import layout
from jobs.data.tokens import COUNTED
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
    labels, places = batch["labels"], batch[COUNTED]
    causal = cast(PreTrainedModel, model.get_base_model() if isinstance(model, PeftModel) else model)
    with torch.autocast(precision.device.type, precision.compute, enabled=precision.autocast):
        losses = _losses(causal, batch, places - 1, labels.flatten()[places])  # each predicts the next token
    losses = losses.to(labels.device)  # of a model on several cards, they are where its head is
    return losses, places // labels.shape[1]


def _losses(
    causal: PreTrainedModel, batch: Mapping[str, Any], places: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    inputs = {"input_ids": batch["input_ids"], "use_cache": False, **layout(causal, batch)}
    if causal.config.model_type not in PLAIN_HEADS:
        logits = causal(**inputs).logits  # b x s x vocabulary
        return _cross_entropy(logits.flatten(0, 1)[places.to(logits.device)], targets)
    hidden = causal.base_model(**inputs).last_hidden_state  # b x s x hidden
    hidden = hidden.flatten(0, 1)[places.to(hidden.device)]  # n x hidden
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


# What a row of gradients is made of is scaled to: half precision holds a share of 1/4,000,000,000 of it, and
# products with weights up to 100.
LARGEST = 256.0
LEAST = 1e-30  # what is smaller is none, and can be divided by


class _Pieces(torch.autograd.Function):
    """Losses of a frozen linear head: d loss_i / d hidden_i = (softmax(logits_i) - onehot(target_i)) W.

    That is made before the loss scale is known, and would be lost in half precision where the target is
    nearly sure. So each row is made of shares: with r_i, the probability of all but the target, it is r_i
    times what the others give by their shares in r_i, less the target. Shares are far from zero, and r_i is
    float32.
    """

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
        scales = torch.empty_like(losses)
        for start in range(0, len(hidden), size):
            rows = slice(start, start + size)
            own = targets[rows, None]
            logs = F.log_softmax(F.linear(hidden[rows], weight, bias).float(), dim=-1)  # size x vocabulary
            losses[rows] = -logs.gather(1, own)[:, 0]
            if gradients is not None:
                others = logs.exp_().scatter_(1, own, 0.0)
                rest = others.sum(1, keepdim=True)
                others.mul_(LARGEST / rest.clamp_min(LEAST)).scatter_(1, own, -LARGEST)
                gradients[rows] = others.to(weight.dtype) @ weight
                scales[rows] = rest[:, 0] / LARGEST
        ctx.save_for_backward(gradients, scales)
        return losses

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> tuple[torch.Tensor | None, None, None, None, None]:
        gradients, scales = ctx.saved_tensors
        return (gradients * (scales * outer[0])[:, None]).to(gradients.dtype), None, None, None, None


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits.float(), targets.to(logits.device), reduction="none")
