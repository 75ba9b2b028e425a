"""An example as pieces of text, of which the answers count. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from jobs.errors import RowError
from jobs.recipes.data import LossOn

Span: TypeAlias = tuple[int, int]  # from the first place to the one after the last


@dataclass(frozen=True)
class Example:
    """One example as text; the loss is taken on the response only, without its gaps.

    `whole` says that the template wrote beginning and end marks itself, so that none are to be added.
    """

    prompt: str
    response: str
    whole: bool = False
    gaps: tuple[Span, ...] = ()  # characters of the response that are not learned: what others say

    @property
    def learned(self) -> list[Span]:
        """The characters of prompt and response together that count."""
        start = len(self.prompt)
        borders = [0, *(place for gap in self.gaps for place in gap), len(self.response)]
        pairs = zip(borders[::2], borders[1::2], strict=True)
        return [(start + first, start + last) for first, last in pairs if first < last]


def joined(pieces: Iterable[tuple[str, bool]], loss_on: LossOn, *, whole: bool = False) -> Example:
    """The example that pieces are.

    Args:
        pieces: text, and whether it is an answer, in order.
        loss_on: which of the answers count.

    Raises:
        RowError: there is no answer, or a lone surrogate, which no tokenizer takes.
    """
    texts, spans, length = [], [], 0
    for text, answer in pieces:
        texts.append(text)
        if answer:
            spans.append((length, length + len(text)))
        length += len(text)
    return of_spans("".join(texts), spans, loss_on, whole=whole)


def of_spans(text: str, spans: Sequence[Span], loss_on: LossOn, *, whole: bool = False) -> Example:
    """The example of a text in which the answers lie at these places.

    Raises:
        RowError: see `joined`.
    """
    if not spans:
        raise RowError("no answer", "got a row without an answer that counts, expected one")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RowError(
            "a lone surrogate",
            f"got the character {text[error.start]!a} at place {error.start}, half of a pair, "
            "expected text that is Unicode",
        ) from error
    counted = spans[-1:] if loss_on is LossOn.LAST else spans
    first = counted[0][0]
    ends = [place - first for span in counted for place in span][1:]
    if ends[-1] < len(text) - first:
        ends.append(len(text) - first)
    else:
        ends.pop()
    gaps = tuple((start, end) for start, end in zip(ends[::2], ends[1::2], strict=True) if start < end)
    return Example(text[:first], text[first:], whole, gaps)
