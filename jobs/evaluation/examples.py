"""The tokenised examples of a recipe: made once into the cache, then read in a fraction of a second."""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal, TypeAlias

from transformers import PreTrainedTokenizerBase

from hpo.records import read_json, write_json
from jobs.cache import key_of, known_digest, obtain
from jobs.data.account import Account
from jobs.data.rows import data_key
from jobs.data.selection import SelectedExample, Selection, select
from jobs.data.tokens import Examples, Tokens
from jobs.errors import DataError
from jobs.evaluation.curation import Loss, curate
from jobs.evaluation.scores import Measure, obtain_losses
from jobs.recipes.data import DataRecipe
from jobs.recipes.recipe import ModelRecipe, Recipe
from jobs.recipes.sources import find_source

Say: TypeAlias = Callable[[str], None]
LoadTokenizer: TypeAlias = Callable[[], PreTrainedTokenizerBase]
LAYOUT = 2  # raised when what is written into an entry, or how rows become tokens, changes
TOKENIZER_FILES = ("*token*.json", "*.model", "*.jinja", "vocab.*", "merges.txt")
NUMBERS: Literal["i"] = "i"  # C int, 32 bits wherever torch runs


def obtain_examples(
    recipe: Recipe, cache: Path, load_tokenizer: LoadTokenizer, say: Say, measure: Measure | None = None
) -> Examples:
    """The examples of a recipe, tokenised first if the cache does not hold them.

    Args:
        measure: takes losses of the untuned base model, if curation needs some that the cache does not hold.

    Raises:
        DataError: see `jobs.data.selection` and `jobs.evaluation.curation`.
    """
    selection = obtain_selection(recipe, cache, load_tokenizer, say)
    return curated(recipe, selection, cache, measure, say)


def curated(recipe: Recipe, selection: Selection, cache: Path, measure: Measure | None, say: Say) -> Examples:
    """The examples of a selection as trials read them; see `mixed`.

    Raises:
        DataError: see `jobs.evaluation.curation`.
    """
    key = examples_key(recipe, cache)
    losses = {} if measure is None else obtain_losses(recipe, selection.train, key, cache, measure, say)
    return mixed(selection, recipe.data, losses)


def obtain_selection(recipe: Recipe, cache: Path, load_tokenizer: LoadTokenizer, say: Say) -> Selection:
    """As `obtain_examples`, before weights and curation are applied.

    Raises:
        DataError: see `jobs.data.selection`.
    """

    def build(made: Path) -> None:
        say("tokenising the data, once for this cache")
        write_selection(select(recipe.data, load_tokenizer(), cache), made)

    about = _about(recipe, cache)
    return read_selection(obtain(cache / "tokens" / examples_key(recipe, cache), build, about))


def examples_key(recipe: Recipe, cache: Path) -> str:
    """Name of the tokenised examples by what decides them."""
    return key_of(layout=LAYOUT, order=sys.byteorder, **_about(recipe, cache))


def _about(recipe: Recipe, cache: Path) -> dict[str, str]:
    return {"data": data_key(recipe.data, cache), "tokenizer": _tokenizer_key(recipe.model, cache)}


def _tokenizer_key(model: ModelRecipe, cache: Path) -> str:
    source = find_source(model)
    files = [source.path]  # a GGUF file, which holds the tokenizer too
    if not source.packed:
        files = [path for kind in TOKENIZER_FILES for path in source.path.glob(kind)]
    digests = {path.name: known_digest(path, cache) for path in files}
    return key_of(files=digests, versions={name: version(name) for name in ("transformers", "tokenizers")})


def write_selection(selection: Selection, folder: Path) -> None:
    """Write a selection as plain arrays."""
    kept = [*selection.train, *selection.validation]
    numbers = array(NUMBERS)
    for values in (
        [len(one.tokens) for one in kept],
        [one.tokens.response_at for one in kept],
        [one.source for one in kept],
        [len(one.tokens.gaps) for one in kept],
        [place for one in kept for gap in one.tokens.gaps for place in gap],
    ):
        numbers.extend(values)
    with (folder / "ids").open("wb") as stream:
        for one in kept:
            array(NUMBERS, one.tokens.ids).tofile(stream)
    with (folder / "index").open("wb") as stream:
        numbers.tofile(stream)
    about = {"train": len(selection.train), "validation": len(selection.validation)}
    write_json(folder / "about.json", {**about, "account": selection.account.to_json()})


def read_selection(folder: Path) -> Selection:
    """What `write_selection` wrote."""
    about = read_json(folder / "about.json")
    index = memoryview((folder / "index").read_bytes()).cast(NUMBERS)
    ids: memoryview[int] = memoryview((folder / "ids").read_bytes()).cast(NUMBERS)
    count = about["train"] + about["validation"]
    kept, start, borders = [], 0, iter(index[4 * count :])
    columns = (index[column * count : (column + 1) * count] for column in range(4))
    for length, response_at, source, gaps in zip(*columns, strict=True):
        own = tuple((next(borders), next(borders)) for _ in range(gaps))
        # a view, no copy: a hundred thousand examples are there at once
        kept.append(SelectedExample(Tokens(ids[start : start + length], response_at, own), source))
        start += length
    return Selection(kept[: about["train"]], kept[about["train"] :], Account.from_json(about["account"]))


def mixed(selection: Selection, data: DataRecipe, losses: Mapping[int, Loss] | None = None) -> Examples:
    """The examples as trials read them: those of each training source as often as its weight says.

    Where data are curated, their losses decide too. Validation is neither weighted nor curated, so that
    trials with other weights are judged alike.

    Args:
        losses: of the untuned base model on the examples that curation asks for, by their places.

    Raises:
        DataError: no training example is left, or curation wants examples of a kind that is not there.
    """
    times = repeats([one.source for one in selection.train], [source.weight for source in data.parts()])
    account = selection.account
    if data.curation.active and any(times):
        made = curate(selection.train, data.parts(), data.curation, losses or {}, sum(times))
        times, account = made.times, replace(account, curated=made.parts)
    train = [one.tokens for one, often in zip(selection.train, times, strict=True) for _ in range(often)]
    if not train:
        raise DataError(
            "data.sources: got weights that leave no training example, expected at least one",
            "raise a weight",
        )
    return Examples(train, [one.tokens for one in selection.validation], account)


def repeats(sources: Sequence[int], weights: Sequence[float]) -> list[int]:
    """How often an epoch reads each example.

    A weight of 2.5 reads all examples of the source twice and the first half of them once more.
    """
    totals = Counter(sources)
    extra = {number: round(weights[number] % 1 * total) for number, total in totals.items()}
    seen: Counter[int] = Counter()
    times = []
    for number in sources:
        times.append(int(weights[number]) + (seen[number] < extra[number]))
        seen[number] += 1
    return times
