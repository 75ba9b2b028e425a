"""How often an epoch reads each training example: more where the untuned base model does badly.

After the winner of the one-GPU, one-day challenge, who sampled more from the tasks on which the base model
did badly, apart for tasks with one right answer (exact-match) and for tasks that generate text, and balanced
both. `by=score` measures accuracy and ROUGE as the winner did; else the loss per response token says how
badly, which needs no generation. The length of its response says of what kind an example is.

Within a kind an example is read in proportion to w l^a: the weight of its source, times the loss (its own, or
the mean of its source and kind) to the power of `strength`. The draw is systematic: each example comes floor
or ceil of its expected number of times, and a seed decides where the fractions fall.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias

from jobs.data.account import CuratedPart
from jobs.errors import DataError
from jobs.recipes.data import CurateBy, CurationRecipe, DataSource

if TYPE_CHECKING:
    from jobs.data.selection import SelectedExample
    from jobs.data.tokens import Tokens

Cell: TypeAlias = tuple[int, bool]  # number of a source, and whether of the exact-match kind
Loss: TypeAlias = tuple[float, int]  # summed over the response tokens of an example, and how many these are
WHAT = dict.fromkeys(CurateBy, "untuned loss") | {CurateBy.SCORE: "untuned errors"}
KINDS = {True: "exact-match", False: "generation"}


@dataclass(frozen=True)
class Curated:
    """How often an epoch reads each training example, and the same in sums."""

    times: list[int]
    parts: list[CuratedPart]


def cells(train: Sequence[SelectedExample], most_tokens: int) -> list[Cell]:
    """Source and kind of each example."""
    return [(kept.source, is_short(kept.tokens, most_tokens)) for kept in train]


def is_short(example: Tokens, most_tokens: int) -> bool:
    """Whether an example is of the exact-match kind."""
    return example.answered <= most_tokens


def to_score(train: Sequence[SelectedExample], recipe: CurationRecipe) -> list[int]:
    """The places of the examples whose loss curation needs, in ascending order.

    Args:
        train: the training examples, in the order of their hashes: the first of them are a random part.
    """
    if recipe.by is CurateBy.NONE:
        return []
    if recipe.by is CurateBy.EXAMPLE:
        return list(range(len(train)))
    answers = recipe.by is CurateBy.SCORE  # of which plain text asks for none
    seen: dict[Cell, int] = {}
    chosen = []
    for place, cell in enumerate(cells(train, recipe.exact_match_tokens)):
        if answers and not train[place].tokens.response_at:
            continue
        seen[cell] = seen.get(cell, 0) + 1
        if seen[cell] <= recipe.scored:
            chosen.append(place)
    return chosen


def curate(
    train: Sequence[SelectedExample],
    sources: Sequence[DataSource],
    recipe: CurationRecipe,
    losses: Mapping[int, Loss],
    usual: int,
) -> Curated:
    """Decide how often an epoch reads each example.

    Args:
        sources: of the recipe, whose weights count too.
        losses: place of an example -> its loss; of all that `to_score` names.
        usual: examples that an epoch reads without curation, at least 1.

    Returns:
        Numbers that add up to `recipe.examples`, or `usual`.

    Raises:
        DataError: a kind of which examples are wanted has none.
    """
    of = cells(train, recipe.exact_match_tokens)
    means = _means(of, losses)
    weights = [sources[number].weight for number, _ in of]
    drawn = [0] * len(train)
    for exact, count in _counts(of, weights, recipe, recipe.examples or usual).items():
        places = [place for place, cell in enumerate(of) if cell[1] is exact and weights[place]]
        scores = [_score(place, of[place], recipe, losses, means) for place in places]
        offset = random.Random(f"{recipe.seed} {KINDS[exact]}").random()
        pulls = [weights[place] * pull for place, pull in zip(places, _pulls(scores, recipe), strict=True)]
        for place, often in zip(places, spread(pulls, count, offset), strict=True):
            drawn[place] = often
    parts = []
    for cell in sorted(set(of), key=lambda cell: (cell[0], not cell[1])):
        own = [often for often, other in zip(drawn, of, strict=True) if other == cell]
        read, distinct = sum(own), sum(often > 0 for often in own)
        name, kind = sources[cell[0]].name, KINDS[cell[1]]
        parts.append(CuratedPart(name, kind, len(own), means.get(cell), read, distinct, WHAT[recipe.by]))
    return Curated(drawn, parts)


def _means(of: Sequence[Cell], losses: Mapping[int, Loss]) -> dict[Cell, float]:
    """Token-weighted mean loss of each cell."""
    sums: dict[Cell, list[float]] = {}
    tokens: dict[Cell, int] = {}
    for place, (total, count) in losses.items():
        sums.setdefault(of[place], []).append(total)
        tokens[of[place]] = tokens.get(of[place], 0) + count
    return {cell: math.fsum(own) / tokens[cell] for cell, own in sums.items() if tokens[cell]}


def _counts(
    of: Sequence[Cell], weights: Sequence[float], recipe: CurationRecipe, total: int
) -> dict[bool, int]:
    """Examples of each kind that an epoch reads."""
    there = {
        kind: math.fsum(weight for weight, cell in zip(weights, of, strict=True) if cell[1] is kind)
        for kind in (True, False)
    }
    share = recipe.exact_match_share
    if share is None:
        share = there[True] / (there[True] + there[False])
    exact = round(share * total)
    counts = {kind: count for kind, count in ((True, exact), (False, total - exact)) if count}
    for kind in counts:
        if not there[kind]:
            most, bound = recipe.exact_match_tokens, "at most" if kind else "more than"
            raise DataError(
                f"data.curation.exact_match_share: got {share:g}, expected training examples of both kinds: "
                f"there is no response of {bound} {most} tokens",
                "change data.curation.exact_match_tokens, or set data.curation.exact_match_share=null",
            )
    return counts


def _score(
    place: int,
    cell: Cell,
    recipe: CurationRecipe,
    losses: Mapping[int, Loss],
    means: Mapping[Cell, float],
) -> float:
    """The loss that counts for an example; 1 where none is taken."""
    match recipe.by:
        case CurateBy.NONE:
            return 1.0
        case CurateBy.SOURCE:
            return means.get(cell, 0.0)
        case CurateBy.SCORE:  # what cannot be asked is like the rest
            return means[cell] if cell in means else math.fsum(means.values()) / max(1, len(means))
        case CurateBy.EXAMPLE:
            total, count = losses[place]
            return total / count if count else 0.0


def _pulls(scores: Sequence[float], recipe: CurationRecipe) -> list[float]:
    """Powers of losses, as shares of the greatest; all alike where no loss is above 0."""
    most = max(scores, default=0.0)
    return [(score / most) ** recipe.strength if most > 0 else 1.0 for score in scores]


def spread(weights: Sequence[float], count: int, offset: float) -> list[int]:
    """Systematic sampling: numbers that add up to `count`, each floor or ceil of its weight's part of it.

    Args:
        weights: at least 0, one of them above.
        count: to be given out.
        offset: in [0, 1), where the first border lies.
    """
    borders = list(accumulate(weights))  # divided by the last of them, which so is 1 to the last bit
    marks = [min(math.floor(border / borders[-1] * count + offset), count) for border in borders]
    return [mark - before for mark, before in zip(marks, [0, *marks[:-1]], strict=True)]
