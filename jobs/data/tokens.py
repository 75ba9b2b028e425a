"""Turns rows into token sequences in which only the response counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from jobs.data.account import Account
from jobs.data.templates import Example

IGNORED = -100  # the label of a token that does not count; torch's cross-entropy skips it


@dataclass(frozen=True)
class Tokens:
    """One example: token ids, and the place of the first one that counts."""

    ids: Sequence[int]
    response_at: int

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labels(self) -> list[int]:
        """As long as `ids`: the token ids from `response_at` on, `IGNORED` before it.

        The first token of all never counts: nothing predicts it.
        """
        first = max(self.response_at, 1)
        return [IGNORED] * first + list(self.ids[first:])


@dataclass(frozen=True)
class Examples:
    """Both sides of the split as tokens, and what became of the rows that are not here."""

    train: list[Tokens]  # as often as the weight of its source says
    validation: list[Tokens]
    account: Account

    @property
    def dropped(self) -> int:
        """Examples left out: by a filter, or because the prompt alone fills max_length."""
        return self.account.dropped

    @property
    def cut(self) -> int:
        """Examples whose response was cut at max_length."""
        return self.account.cut


def tokenise(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[Tokens]:
    """Tokenise prompts and responses apart, so that the border between them is exact.

    Args:
        tokenizer: of the base model; its end mark is learned too, so that answers end.
    """
    begun = _ids(tokenizer, [example.prompt for example in examples if not example.whole], special=True)
    whole = _ids(tokenizer, [example.prompt for example in examples if example.whole], special=False)
    prompts = [next(whole) if example.whole else next(begun) for example in examples]
    responses = _ids(tokenizer, [example.response for example in examples], special=False)
    end = [] if tokenizer.eos_token_id is None else [int(cast(int, tokenizer.eos_token_id))]
    return [
        Tokens((*prompt, *response, *([] if example.whole else end)), len(prompt))
        for example, prompt, response in zip(examples, prompts, responses, strict=True)
    ]


def _ids(tokenizer: PreTrainedTokenizerBase, texts: list[str], *, special: bool) -> Iterator[list[int]]:
    if not texts:
        return iter([])
    # all at once: one by one takes several times as long
    return iter(cast(list[list[int]], tokenizer(texts, add_special_tokens=special)["input_ids"]))


def cut(tokens: Tokens, max_length: int) -> Tokens:
    """The first `max_length` tokens.

    Args:
        max_length: in tokens, beyond `response_at`.
    """
    return Tokens(tokens.ids[:max_length], tokens.response_at)


class Ordered(Dataset[Tokens]):
    """Examples in the order in which they are to be read; an example may come more than once."""

    def __init__(self, examples: Sequence[Tokens], order: Sequence[int]) -> None:
        self.examples = examples
        self.order = order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, place: int) -> Tokens:
        return self.examples[self.order[place]]


@dataclass(frozen=True)
class Collator:
    """Pads the examples of one micro-batch to the longest of them."""

    pad: int

    def __call__(self, examples: Sequence[Tokens]) -> dict[str, Any]:
        """One micro-batch.

        Args:
            examples: at least one.

        Returns:
            input_ids, attention_mask and labels, each `micro_batch x longest`.
        """
        longest = max(len(example) for example in examples)
        gaps = [longest - len(example) for example in examples]
        ids = [[*example.ids, *[self.pad] * gap] for example, gap in zip(examples, gaps, strict=True)]
        labels = [[*example.labels, *[IGNORED] * gap] for example, gap in zip(examples, gaps, strict=True)]
        mask = [[1] * len(example) + [0] * gap for example, gap in zip(examples, gaps, strict=True)]
        return {
            "input_ids": torch.tensor(ids),
            "attention_mask": torch.tensor(mask),
            "labels": torch.tensor(labels),
        }


def pad_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that fills gaps; which one does not matter, as gaps are masked."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(cast(int, token))
    return 0
