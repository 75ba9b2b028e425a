"""Turns rows into token sequences in which only the response counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import torch
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from jobs.data.account import Account
from jobs.data.marks import Marks
from jobs.data.pieces import Example, Span
from jobs.errors import DataError

IGNORED = -100  # the label of a token that does not count; torch's cross-entropy skips it
# Of a batch beside its tensors: what would otherwise be asked of the card, which is to be waited for.
COUNTED = "counted"  # places of the labels that count, in the batch laid end to end
TOKENS = "tokens"  # without padding


@dataclass(frozen=True)
class Tokens:
    """One example: token ids, the place of the first one that counts, and those after it that do not."""

    ids: Sequence[int]
    response_at: int
    gaps: tuple[Span, ...] = ()  # in order, each from its first token to the one after its last

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labels(self) -> list[int]:
        """As long as `ids`: the token ids from `response_at` on, `IGNORED` before it and in gaps.

        The first token of all never counts: nothing predicts it.
        """
        first = max(self.response_at, 1)
        labels = [IGNORED] * first + list(self.ids[first:])
        for start, end in self.gaps:
            labels[start:end] = [IGNORED] * (end - start)
        return labels

    @property
    def answered(self) -> int:
        """Tokens of the answers."""
        return len(self.ids) - self.response_at - sum(end - start for start, end in self.gaps)

    @property
    def counted(self) -> int:
        """Tokens that the loss is taken on."""
        return self.answered - (self.response_at == 0 and len(self.ids) > 0)

    @property
    def first_answer(self) -> Sequence[int]:
        """The tokens from the first that counts to the next that does not."""
        return self.ids[self.response_at : self.gaps[0][0] if self.gaps else len(self.ids)]

    @property
    def content(self) -> list[Any]:
        """Everything, as JSON has it."""
        return [list(self.ids), self.response_at, *(list(gap) for gap in self.gaps)]


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
    """Turn examples into tokens, and say which of them count.

    Prompts and responses are tokenised apart, so that the border between them is exact. What a chat template
    wrote becomes tokens as a whole, as transformers does it, and every token that overlaps an answer counts.

    Args:
        tokenizer: of the base model; its end mark is learned too, so that answers end.

    Raises:
        DataError: see `refuse_unplaced`.
    """
    marks = Marks.of(tokenizer)
    if not tokenizer.is_fast:
        return _apart(examples, tokenizer, marks)
    whole = _encoded(tokenizer, [one.prompt + one.response for one in examples if one.whole])
    prompts = _encoded(tokenizer, [one.prompt for one in examples if not one.whole])
    responses = _encoded(tokenizer, [one.response for one in examples if not one.whole])
    made = []
    for example in examples:
        if example.whole:
            made.append(_of_spans(next(whole), example.learned))
            continue
        prompt, response = marks.begun(next(prompts)[0]), next(responses)
        shifted = [(a - len(example.prompt), b - len(example.prompt)) for a, b in example.learned]
        tail = _of_spans(response, shifted) if example.gaps else Tokens(response[0], 0)
        start = len(prompt) + tail.response_at
        gaps = tuple((a + len(prompt), b + len(prompt)) for a, b in tail.gaps)
        made.append(Tokens((*prompt, *marks.ended(tail.ids)), start, gaps))
    return made


Encoded: TypeAlias = tuple[list[int], list[Span]]  # ids, and the characters that each stands for


def _encoded(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> Iterator[Encoded]:
    """Texts as tokens, without marks that the tokenizer would add."""
    if not texts:
        return iter(())
    # all at once: one by one takes several times as long
    made = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = cast(list[list[int]], made["input_ids"]), cast(list[list[Span]], made["offset_mapping"])
    return zip(ids, offsets, strict=True)


def refuse_unplaced(tokenizer: PreTrainedTokenizerBase) -> None:
    """Check that a tokenizer can say which tokens an answer in the midst of a text consists of.

    Raises:
        DataError: it cannot.
    """
    if not tokenizer.is_fast:
        raise DataError(
            f"data.loss_on: got all with a tokenizer of the kind {type(tokenizer).__name__}, which does "
            "not tell where its tokens lie in a text, expected one of the tokenizers library",
            "data.loss_on=last, or a model folder with tokenizer.json",
        )


def _apart(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, marks: Marks) -> list[Tokens]:
    """As `tokenise`, with a tokenizer that only gives ids."""
    made = []
    for example in examples:
        if example.gaps:
            refuse_unplaced(tokenizer)
        prompt, response = (
            cast(list[int], tokenizer(text, add_special_tokens=False)["input_ids"])
            for text in (example.prompt, example.response)
        )
        begun, ended = (prompt, response) if example.whole else (marks.begun(prompt), marks.ended(response))
        made.append(Tokens((*begun, *ended), len(begun)))
    return made


def _of_spans(encoded: Encoded, spans: Sequence[Span]) -> Tokens:
    """Tokens of which those count that overlap a span, as in transformers' mask of the assistant's words.

    Args:
        spans: of characters, in order.
    """
    ids, offsets = encoded
    counts, number = [], 0
    for start, end in offsets:
        while number < len(spans) and start >= spans[number][1]:
            number += 1
        counts.append(number < len(spans) and end > spans[number][0])
    first = counts.index(True) if any(counts) else len(ids)
    gaps: list[Span] = []
    for place in range(first, len(ids)):
        if not counts[place]:
            follows = bool(gaps) and gaps[-1][1] == place
            gaps[-1:] = [(gaps[-1][0], place + 1)] if follows else [*gaps[-1:], (place, place + 1)]
    return Tokens(tuple(ids), first, tuple(gaps))


def cut(tokens: Tokens, max_length: int) -> Tokens:
    """The first `max_length` tokens.

    Args:
        max_length: in tokens, beyond `response_at`.
    """
    gaps = tuple((start, min(end, max_length)) for start, end in tokens.gaps if start < max_length)
    return Tokens(tokens.ids[:max_length], tokens.response_at, gaps)


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
            input_ids, attention_mask and labels, each `micro_batch x longest`; `COUNTED` and `TOKENS`.
        """
        longest = max(len(example) for example in examples)
        gaps = [longest - len(example) for example in examples]
        ids = [[*example.ids, *[self.pad] * gap] for example, gap in zip(examples, gaps, strict=True)]
        labels = [[*example.labels, *[IGNORED] * gap] for example, gap in zip(examples, gaps, strict=True)]
        mask = [[1] * len(example) + [0] * gap for example, gap in zip(examples, gaps, strict=True)]
        made = torch.tensor(labels)
        return {
            "input_ids": torch.tensor(ids),
            "attention_mask": torch.tensor(mask),
            "labels": made,
            COUNTED: counted(made),
            TOKENS: sum(map(len, examples)),
        }


def counted(labels: torch.Tensor) -> torch.Tensor:
    """Places of the labels that count, in the batch laid end to end."""
    return labels.flatten().ne(IGNORED).nonzero()[:, 0]


def on_device(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """A batch with its tensors there."""
    return {
        name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in batch.items()
    }
