"""What `data` says of marks: what fills, begins and ends examples, and whether the end is learned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import cast

from transformers import PreTrainedTokenizerBase

from jobs.data.tokens import IGNORED, Tokens

TAIL = 4  # learned tokens at the end of an example among which its end mark is: white space may follow it
TIMES = ("never", "once", "twice")


def mark_lines(tokenizer: PreTrainedTokenizerBase, examples: Sequence[Tokens]) -> Iterator[str]:
    """A line for each mark.

    Args:
        examples: as trials read them; at least one.
    """
    yield f"padding: {_padding(tokenizer)}"
    yield f"begin mark: {_begin(tokenizer, examples)}"
    yield f"end mark: {_end(tokenizer, examples)}"


def _padding(tokenizer: PreTrainedTokenizerBase) -> str:
    if tokenizer.pad_token_id is not None:
        return _named(tokenizer, tokenizer.pad_token_id)
    return f"the tokenizer has none; {_named(tokenizer, tokenizer.eos_token_id)} fills gaps, which are masked"


def _begin(tokenizer: PreTrainedTokenizerBase, examples: Sequence[Tokens]) -> str:
    mark = tokenizer.bos_token_id
    if mark is None:
        return "the tokenizer has none"
    counts = Counter(_leading(one.ids, int(cast(int, mark))) for one in examples)
    times = (
        f"{TIMES[often] if often < len(TIMES) else f'{often} times'} before {count}"
        for often, count in sorted(counts.items())
    )
    return f"{_named(tokenizer, mark)} {', '.join(times)} of {len(examples)} examples"


def _leading(ids: Sequence[int], mark: int) -> int:
    return next((place for place, token in enumerate(ids) if token != mark), len(ids))


def _end(tokenizer: PreTrainedTokenizerBase, examples: Sequence[Tokens]) -> str:
    marks = {*tokenizer.get_added_vocab().values(), tokenizer.eos_token_id}
    counts: Counter[int] = Counter()
    for one in examples:
        learned = [label for label in one.labels if label != IGNORED][-TAIL:]
        counts.update([token for token in learned if token in marks][-1:])
    own = _named(tokenizer, tokenizer.eos_token_id)
    if not counts:
        none = f"learned by none of {len(examples)} examples, so that answers do not end"
        return f"{none}; the tokenizer's is {own}"
    told = ", ".join(
        f"{_named(tokenizer, token)} learned by {count}" for token, count in counts.most_common()
    )
    other = "" if tokenizer.eos_token_id in counts else f"; the tokenizer's own is {own}"
    return f"{told} of {len(examples)} examples{other}"


def _named(tokenizer: PreTrainedTokenizerBase, token: object) -> str:
    return "none" if token is None else f"{tokenizer.convert_ids_to_tokens(int(cast(int, token)))} ({token})"
