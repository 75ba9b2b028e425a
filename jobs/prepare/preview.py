"""Shows what trials of a recipe read: `python -m jobs.prepare.preview RECIPE.json CACHE`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, cast

from jobs.attempt.console import say
from jobs.attempt.environment import go_offline
from jobs.data.account import Account, aligned
from jobs.prepare.isolated_process import entry
from jobs.recipes.data import DataSource
from jobs.recipes.hub import fetch
from jobs.recipes.recipe import Recipe, parse
from jobs.recipes.sources import find_source

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from jobs.data.selection import Selection
    from jobs.data.tokens import Examples, Tokens
    from jobs.evaluation.scores import Measure

SHOWN = 3  # examples of the whole; one of each source where there are more
LONGEST = 1200  # characters of a prompt or response that are shown
BINS, WIDTH = 10, 40
COLUMNS = ("source", "weight", "rows", "equal", "dropped", "unused", "cut", "training", "validation")


def _preview(recipe: Recipe, cache: Path) -> None:
    fetch(recipe.data, cache, say)
    go_offline()
    from jobs.evaluation.examples import curated, obtain_selection  # loads torch
    from jobs.prepare.mark_lines import mark_lines

    tokenizer = _tokenizer(recipe, cache)
    selection = obtain_selection(recipe, cache, lambda: tokenizer, say)
    examples = curated(recipe, selection, cache, _measure(recipe, cache, tokenizer), say)
    for line in (
        *table(selection.account, recipe.data.parts()),
        "",
        *selection.account.notes(),
        *_reasons(selection.account),
        *examples.account.curation(),
        *_epoch(examples, recipe),
        *mark_lines(tokenizer, examples.train),
        "\ntokens of a training example",
        *histogram([len(one) for one in examples.train]),
        "\ntokens of a validation example",
        *histogram([len(one) for one in examples.validation]),
        *_samples(selection, recipe.data.parts(), lambda ids: cast(str, tokenizer.decode(list(ids)))),
    ):
        say(line)


def _tokenizer(recipe: Recipe, cache: Path) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    folder = find_source(recipe.model).path
    if folder.is_file():
        from jobs.models.base_model import obtain_base

        folder = obtain_base(recipe, cache, say).folder
    trust = recipe.model.trust_remote_code
    return cast("PreTrainedTokenizerBase", AutoTokenizer.from_pretrained(folder, trust_remote_code=trust))


def _measure(recipe: Recipe, cache: Path, tokenizer: PreTrainedTokenizerBase) -> Measure:
    """Loads the base model when the first losses are wanted; as a rule the cache holds them."""

    @lru_cache(maxsize=1)
    def measure() -> Measure:
        from jobs.evaluation.answer_scores import measure_for
        from jobs.models.base_model import load, obtain_base
        from jobs.models.precision import of_this_machine

        precision = of_this_machine()
        model = load(obtain_base(recipe, cache, say).folder, recipe.model, precision)
        return measure_for(recipe, model, tokenizer, precision)

    return lambda part: measure()(part)


def table(account: Account, sources: Sequence[DataSource]) -> Iterator[str]:
    """A line per source: what became of its rows.

    Args:
        sources: of the recipe, in its order.
    """
    lines: list[tuple[str, ...]] = [COLUMNS]
    for source in sources:
        own = account.sources[source.name]
        dropped = sum(own.dropped.values())
        counts = (own.rows, own.equal, dropped, own.beyond, own.cut, own.train, own.validation)
        lines.append((source.name, f"{source.weight:g}", *map(str, counts)))
    yield from aligned(lines)


def _reasons(account: Account) -> Iterator[str]:
    for line, reason in zip(account.lines(), account.reasons(), strict=True):
        yield f"{line}, as in {printable(account.samples[reason])!r}"


def _epoch(examples: Examples, recipe: Recipe) -> Iterator[str]:
    tokens = sum(map(len, examples.train))
    counted = sum(one.counted for one in examples.train)
    read = recipe.trainer.steps(len(examples.train)) * recipe.trainer.batch_size
    yield (
        f"an epoch reads {len(examples.train):,} examples of {tokens:,} tokens, {counted:,} of which count; "
        f"a trial reads {read:,} examples, {read / len(examples.train):.3g} epochs"
    )


def histogram(lengths: Sequence[int]) -> Iterator[str]:
    """Text bars of how often lengths occur, and their middle.

    Args:
        lengths: at least one.
    """
    least, most = min(lengths), max(lengths)
    step = max(1, -(-(most - least + 1) // BINS))
    counts = [0] * (1 + (most - least) // step)
    for length in lengths:
        counts[(length - least) // step] += 1
    digits = len(str(least + len(counts) * step - 1))
    for place, count in enumerate(counts):
        first = least + place * step
        bar = "█" * -(-count * WIDTH // max(counts))
        yield f"  {first:{digits}}-{first + step - 1:<{digits}}  {bar.ljust(WIDTH)} {count}"
    ordered = sorted(lengths)
    yield f"  median {ordered[len(ordered) // 2]}, 95% at most {ordered[int(0.95 * len(ordered))]}"


def _samples(
    selection: Selection, sources: Sequence[DataSource], decode: Callable[[Sequence[int]], str]
) -> Iterator[str]:
    each = max(1, SHOWN // len(sources))
    for number, source in enumerate(sources):
        own = [kept.tokens for kept in selection.train if kept.source == number][:each]
        for place, tokens in enumerate(own, start=1):
            size = f"{len(tokens)} tokens, {tokens.counted} of which count"
            yield f"\ntraining example {place} of {source.name}: {size}"
            yield from marked(tokens, decode)


def marked(tokens: Tokens, decode: Callable[[Sequence[int]], str]) -> Iterator[str]:
    """An example as the model sees it; what is not learned stands in ⟦ and ⟧, line by line."""
    start = max(tokens.response_at, 1)  # as in the labels: the first token of all never counts
    borders = [0, start, *(place for gap in tokens.gaps for place in gap), len(tokens)]
    lines = [""]
    for number, (first, last) in enumerate(pairwise(borders)):
        own = printable(shortened(decode(tokens.ids[first:last]))).split("\n")
        shown = (
            own
            if number % 2
            else [f"⟦{line}⟧" if line or place < len(own) - 1 else "" for place, line in enumerate(own)]
        )
        lines[-1] += shown[0]
        lines += shown[1:]
    yield from lines


def shortened(text: str) -> str:
    """A text without its middle where it is too long."""
    left_out = len(text) - LONGEST
    if left_out <= 0:
        return text
    return f"{text[: LONGEST * 3 // 4]} [... {left_out} characters ...] {text[-LONGEST // 4 :]}"


def printable(text: str) -> str:
    """A text that does nothing to a terminal: control characters but line feed and tab are escaped."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


main = entry(lambda raw, cache: _preview(parse(raw), cache))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
