"""Chooses the examples of a recipe: rows, by their hashes, through template, filters, caps and tokenizer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from jobs.data.account import Account, SourceAccount
from jobs.data.bad_rows import BadRowCount
from jobs.data.chat import chat_writer
from jobs.data.filters import Filters
from jobs.data.pieces import Example
from jobs.data.reader import RowReader
from jobs.data.rows import Placed, load_source, place, validates
from jobs.data.tokens import Tokens, cut, tokenise
from jobs.errors import DataError, RowError
from jobs.recipes.data import DataRecipe, DataSource

CHUNK = 256  # examples tokenised together


@dataclass(frozen=True)
class SelectedExample:
    """One example and the number of its source."""

    tokens: Tokens
    source: int


@dataclass(frozen=True)
class Selection:
    """What is left of the rows; weights are not applied yet."""

    train: list[SelectedExample]
    validation: list[SelectedExample]
    account: Account


def select(data: DataRecipe, tokenizer: PreTrainedTokenizerBase, cache: Path | None) -> Selection:
    """Read, split, render, filter and tokenise the data of a recipe.

    Raises:
        DataError: see `jobs.data.rows` and `jobs.data.templates`; or nothing is left on one side.
    """
    sources = data.parts()
    rows = [load_source(source, data.seed, cache) for source in sources]
    placed = place(rows, data)
    distinct = Counter(one.source for one in placed)
    selector = _Selector(data, sources, tokenizer)
    accounts = selector.account.sources
    for number, (source, own) in enumerate(zip(sources, rows, strict=True)):
        unreadable = [(one.where, one.problem) for one in own if one.problem]
        accounts[source.name].rows = len(own)
        accounts[source.name].equal = len(own) - len(unreadable) - distinct[number]
        for where, problem in unreadable:
            selector.pass_over(number, where, problem)
    # the validation rows first: of examples that are duplicates, theirs stay
    validation = selector.side([one for one in placed if validates(one, data)], data.validation_examples, {})
    caps = {number: source.cap for number, source in enumerate(sources) if source.cap is not None}
    train = selector.side([one for one in placed if not validates(one, data)], data.train_examples, caps)
    for kept, side in ((train, "train"), (validation, "validation")):
        for number, count in Counter(one.source for one in kept).items():
            setattr(accounts[sources[number].name], side, count)
    selector.conclude()
    if not train or not validation:
        reasons = "; ".join(selector.account.lines())
        raise DataError(
            f"data.max_length: got {data.max_length}, expected room for a response after the prompts: "
            f"{selector.account.dropped} examples dropped, none left on one side ({reasons})",
            "raise data.max_length, or loosen data.filters",
        )
    return Selection(train, validation, selector.account)


class _Selector:
    """Both sides of the split share the filters, so that no example comes twice."""

    def __init__(
        self, data: DataRecipe, sources: Sequence[DataSource], tokenizer: PreTrainedTokenizerBase
    ) -> None:
        self.account = Account({source.name: SourceAccount() for source in sources})
        self._data = data
        self._sources = sources
        self._tokenizer = tokenizer
        self._filters = Filters(data.filters)
        write_chat = chat_writer(tokenizer)
        self._readers = [RowReader(source, data.loss_on, write_chat) for source in sources]
        self._bad = BadRowCount(data)

    def side(
        self, placed: Sequence[Placed], most: int | None, caps: Mapping[int, int]
    ) -> list[SelectedExample]:
        """The examples of one side until its caps are reached.

        Args:
            most: examples of all sources; None: all.
            caps: number of a source -> most examples of it.
        """
        kept: list[SelectedExample] = []
        taken: Counter[int] = Counter()  # per source; what no longer fits into max_length takes a place too
        pending: list[tuple[int, Example]] = []

        def full(source: int, more: Iterable[tuple[int, Example]]) -> bool:
            waiting = [number for number, _ in more]
            everything = most is not None and taken.total() + len(waiting) >= most
            return everything or (source in caps and taken[source] + waiting.count(source) >= caps[source])

        def flush() -> None:
            kept.extend(self._tokenised(pending, taken))
            pending.clear()

        for one in placed:
            if len(pending) >= CHUNK or full(one.source, pending):
                flush()
            if full(one.source, ()):
                self._account_of(one.source).beyond += 1
            elif (example := self._written(one)) is not None:
                pending.append((one.source, example))
        flush()
        return kept

    def pass_over(self, source: int, where: str, error: RowError) -> None:
        """Leave a row out that is of no use.

        Raises:
            DataError: it is not to be left out.
        """
        self._bad.rows += 1
        self._bad.meet(self._sources[source], where, error)
        sample = f"{where}: {str(error).splitlines()[0]}"
        self.account.drop(self._sources[source].name, f"bad row: {error.reason}", sample, shown=200)

    def conclude(self) -> None:
        """Tell how the sources were read.

        Raises:
            DataError: too many rows are of no use.
        """
        self._bad.conclude()
        for reader, source in zip(self._readers, self._sources, strict=True):
            own = self.account.sources[source.name]
            own.template, own.unread = reader.recognised or "", sorted(reader.unread)

    def _account_of(self, source: int) -> SourceAccount:
        return self.account.sources[self._sources[source].name]

    def _written(self, one: Placed) -> Example | None:
        """The row as text, or None if it is of no use, or a filter leaves it out."""
        source = self._sources[one.source]
        try:
            example = self._readers[one.source].read(one.at)
        except RowError as error:
            self.pass_over(one.source, one.at.where, error)
            return None
        self._bad.rows += 1
        if isinstance(example, str):
            self.account.drop(source.name, example, one.at.where)
            return None
        reason = self._filters.text(example)
        if reason is None:
            return example
        self.account.drop(source.name, reason, example.response)
        return None

    def _tokenised(
        self, pending: Sequence[tuple[int, Example]], taken: Counter[int]
    ) -> Iterable[SelectedExample]:
        longest = self._data.max_length
        tokenised = tokenise([example for _, example in pending], self._tokenizer)
        for (source, example), tokens in zip(pending, tokenised, strict=True):
            reason = self._filters.tokens(tokens.response_at, tokens.ids[tokens.response_at :])
            if reason is None:
                taken[source] += 1
                if tokens.response_at < longest:
                    self._account_of(source).cut += len(tokens) > longest
                    yield SelectedExample(cut(tokens, longest), source)
                    continue
                reason = f"prompt alone fills {longest} tokens"
            self.account.drop(self._sources[source].name, reason, example.response)
