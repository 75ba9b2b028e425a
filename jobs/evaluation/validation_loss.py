"""The validation loss and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from jobs.attempt.card import halving
from jobs.data.tokens import Collator, Tokens, on_device
from jobs.errors import Diverged
from jobs.models.loss import token_losses
from jobs.models.precision import Precision


@dataclass(frozen=True)
class Judgement:
    """Loss on held-out examples, in nats per response token."""

    loss: float
    standard_error: float | None  # over the choice of examples; None for a single one
    examples: int
    tokens: int  # response tokens


def evaluate(
    model: torch.nn.Module,
    examples: Sequence[Tokens],
    collator: Collator,
    batch_size: int,
    precision: Precision,
    after_batch: Callable[[], None] = lambda: None,
) -> Judgement:
    """Judge a model; its training mode is put back afterwards.

    Args:
        batch_size: examples a forward pass; halved where the card's memory does not suffice.

    Raises:
        Diverged: the loss is not finite.
        OutOfMemory: not even one example fits the card.
    """
    longest_first = sorted(examples, key=len, reverse=True)  # like lengths together; memory runs out at once
    return judge(*summed_losses(model, longest_first, collator, batch_size, precision, after_batch))


def summed_losses(
    model: torch.nn.Module,
    examples: Sequence[Tokens],
    collator: Collator,
    batch_size: int,
    precision: Precision,
    after_batch: Callable[[], None] = lambda: None,
) -> tuple[list[float], list[int]]:
    """The loss of each example, computed in the order given; the training mode is put back afterwards.

    Args:
        examples: m of them.
        batch_size: examples a forward pass; halved where the card's memory does not suffice.

    Returns:
        Per example the sum over its response tokens, in nats, and how many these are.
    """
    sums: list[float] = []
    counts: list[int] = []
    training = model.training
    model.eval()

    def one_pass(size: int) -> tuple[list[float], list[int]]:
        return _sums(model, collator(examples[len(sums) : len(sums) + size]), precision)

    with torch.no_grad():
        while len(sums) < len(examples):
            (own, of), batch_size = halving(one_pass, batch_size, "the loss of examples")
            sums += own
            counts += of
            after_batch()
    model.train(training)
    return sums, counts


def _sums(
    model: torch.nn.Module, batch: Mapping[str, Any], precision: Precision
) -> tuple[list[float], list[int]]:
    """Loss in nats and number of response tokens, by example."""
    losses, rows = token_losses(model, on_device(batch, precision.device), precision)
    size, rows = len(batch["labels"]), rows.cpu()
    sums = torch.zeros(size, dtype=torch.float64).index_add_(0, rows, losses.double().cpu())
    return sums.tolist(), torch.bincount(rows, minlength=size).tolist()


def judge(sums: Sequence[float], counts: Sequence[int]) -> Judgement:
    """Token-weighted mean loss of m examples and its standard error.

    With n_i tokens and the mean loss l_i of example i, N = sum n_i:
    L = sum(n_i l_i) / N and SE = sqrt(m / (m - 1) * sum((n_i (l_i - L))^2)) / N,
    the usual error of a ratio of two sums over m examples drawn independently.

    Args:
        sums: n_i l_i, in nats.
        counts: n_i; examples with none are passed over.

    Raises:
        Diverged: the loss is not finite.
    """
    kept = [(total, count) for total, count in zip(sums, counts, strict=True) if count]
    m, tokens = len(kept), sum(count for _, count in kept)
    loss = math.fsum(total for total, _ in kept) / tokens
    if not math.isfinite(loss):
        raise Diverged(f"eval_loss: got {loss}, expected a finite number")
    spread = math.fsum((total - count * loss) ** 2 for total, count in kept)
    error = math.sqrt(m / (m - 1) * spread) / tokens if m > 1 else None
    return Judgement(loss, error, m, tokens)
