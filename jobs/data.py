"""Turns rows into token sequences in which only the response counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from jobs.errors import DataError
from jobs.recipe import DataRecipe
from jobs.rows import Row, load, split
from jobs.templates import Example, render

IGNORED = -100  # the label of a token that does not count; torch's cross-entropy skips it


@dataclass(frozen=True)
class Tokens:
    """One example: token ids, and the place of the first one that counts."""

    ids: tuple[int, ...]
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
    """Both sides of the split as tokens, and how many rows were left out or cut."""

    train: list[Tokens]
    validation: list[Tokens]
    dropped: int  # the prompt alone fills max_length
    cut: int  # the response was cut at max_length


def load_examples(data: DataRecipe, tokenizer: PreTrainedTokenizerBase) -> Examples:
    """Read, split, render and tokenise the data of a recipe.

    Args:
        data: of the recipe.
        tokenizer: of the base model.

    Raises:
        DataError: see `jobs.rows` and `jobs.templates`; or nothing is left on one side.
    """
    sides = split(load(data), data)
    train, train_cut = _tokenise_all(sides.train, data, tokenizer)
    validation, validation_cut = _tokenise_all(sides.validation, data, tokenizer)
    dropped = len(sides.train) + len(sides.validation) - len(train) - len(validation)
    if not train or not validation:
        raise DataError(
            f"data.max_length: got {data.max_length}, expected room for a response after the prompts: "
            f"{dropped} examples dropped, none left on one side",
            "raise data.max_length",
        )
    return Examples(train, validation, dropped, train_cut + validation_cut)


def _tokenise_all(
    rows: Sequence[Row], data: DataRecipe, tokenizer: PreTrainedTokenizerBase
) -> tuple[list[Tokens], int]:
    def chat_text(said: Sequence[Mapping[str, str]], ask: bool) -> str:
        text = tokenizer.apply_chat_template(
            [dict(message) for message in said], tokenize=False, add_generation_prompt=ask
        )
        return cast(str, text)

    texts = [render(data.template, row, chat_text) for row in rows]
    all_tokens = [tokenise(text, tokenizer) for text in texts]
    kept = [cut(tokens, data.max_length) for tokens in all_tokens if tokens.response_at < data.max_length]
    return kept, sum(len(tokens) > data.max_length > tokens.response_at for tokens in all_tokens)


def tokenise(example: Example, tokenizer: PreTrainedTokenizerBase) -> Tokens:
    """Tokenise prompt and response apart, so that the border between them is exact.

    Args:
        example: as text.
        tokenizer: of the base model; its end mark is learned too, so that answers end.
    """
    prompt = _ids(tokenizer, example.prompt, special=not example.whole)
    response = _ids(tokenizer, example.response, special=False)
    if not example.whole and tokenizer.eos_token_id is not None:
        response.append(int(cast(int, tokenizer.eos_token_id)))
    return Tokens(tuple(prompt + response), len(prompt))


def _ids(tokenizer: PreTrainedTokenizerBase, text: str, *, special: bool) -> list[int]:
    ids = tokenizer(text, add_special_tokens=special)["input_ids"]
    return [int(token) for token in cast(list[int], ids)]


def cut(tokens: Tokens, max_length: int) -> Tokens:
    """The first `max_length` tokens.

    Args:
        tokens: an example.
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
    """The token that fills gaps; which one does not matter, as gaps are masked.

    Args:
        tokenizer: of the base model.
    """
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(cast(int, token))
    return 0
