"""The marks of a tokenizer: what begins a text, what ends an answer, what fills gaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from transformers import PreTrainedTokenizerBase

PROBE = "a"


@dataclass(frozen=True)
class Marks:
    """Tokens that stand for no words.

    Args:
        begin: what the tokenizer puts before a text; some put nothing there.
        end: what answers learn to end with.
    """

    begin: tuple[int, ...]
    end: int | None

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> Marks:
        """The marks of a tokenizer.

        What it puts *after* a text is left out: a prompt that ends with the end mark is one that is over.
        """
        plain = cast(list[int], tokenizer(PROBE, add_special_tokens=False)["input_ids"])
        marked = cast(list[int], tokenizer(PROBE)["input_ids"])
        starts = range(len(marked) - len(plain) + 1)
        before = next((place for place in starts if marked[place : place + len(plain)] == plain), 0)
        end = tokenizer.eos_token_id
        return cls(tuple(marked[:before]), None if end is None else int(cast(int, end)))

    def begun(self, ids: Sequence[int]) -> tuple[int, ...]:
        """A prompt with the marks before it, unless its template wrote them."""
        return tuple(ids) if self.begin == tuple(ids[: len(self.begin)]) else (*self.begin, *ids)

    def ended(self, ids: Sequence[int]) -> tuple[int, ...]:
        """An answer with the end mark after it, unless its template wrote it."""
        return tuple(ids) if self.end is None or tuple(ids[-1:]) == (self.end,) else (*ids, self.end)


def pad_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that fills gaps; which one does not matter, as gaps are masked."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(cast(int, token))
    return 0
