"""Which examples are left out, and why: rules that know no language."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from jobs.data.pieces import Example
from jobs.recipes.data import Duplicates, FilterRecipe

N = 4  # tokens: shorter runs come again in any text
Reason = str


class Filters:
    """The rules of one recipe; examples are shown to them in the order of their hashes."""

    def __init__(self, recipe: FilterRecipe) -> None:
        self._recipe = recipe
        self._seen: set[str] = set()
        self._rules: list[Callable[[Example], Reason | None]] = [self._patterns, self._quality]
        if recipe.duplicates is not Duplicates.NONE:
            self._rules.append(self._duplicate)

    def text(self, example: Example) -> Reason | None:
        """Why an example is left out for its text; None if it stays."""
        return next((reason for rule in self._rules if (reason := rule(example)) is not None), None)

    def tokens(self, prompt: int, response: Sequence[int]) -> Reason | None:
        """Why an example is left out for its tokens; None if it stays.

        Args:
            prompt: number of tokens before the response.
            response: its tokens, the end mark among them.
        """
        rules, length = self._recipe, prompt + len(response)
        if rules.min_tokens is not None and length < rules.min_tokens:
            return f"shorter than {rules.min_tokens} tokens"
        if rules.max_tokens is not None and length > rules.max_tokens:
            return f"longer than {rules.max_tokens} tokens"
        if rules.min_response_tokens is not None and len(response) < rules.min_response_tokens:
            return f"response shorter than {rules.min_response_tokens} tokens"
        if rules.max_repetition is not None and repetition(response) > rules.max_repetition:
            return f"more than {rules.max_repetition:g} of the response repeats itself"
        return None

    def _patterns(self, example: Example) -> Reason | None:
        text = example.prompt + example.response
        for pattern in self._recipe.keep:
            if re.search(pattern, text) is None:
                return f"does not match {pattern!r}"
        for pattern in self._recipe.drop:
            if re.search(pattern, text) is not None:
                return f"matches {pattern!r}"
        return None

    def _quality(self, example: Example) -> Reason | None:
        least = self._recipe.min_word_characters
        if self._recipe.empty_response and not any(map(str.isalnum, example.response)):
            return "empty response"
        if least is not None and word_share(example.response) < least:
            return f"less than {least:g} of the response are letters or digits"
        return None

    def _duplicate(self, example: Example) -> Reason | None:
        by_prompt = self._recipe.duplicates is Duplicates.PROMPT
        text = normal(example.prompt) + ("" if by_prompt else f"\x00{normal(example.response)}")
        if text in self._seen:
            return "same prompt as another" if by_prompt else "same as another"
        self._seen.add(text)
        return None


def normal(text: str) -> str:
    """A text as duplicates are compared: forms of characters, capitals and white space make no difference."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def repetition(tokens: Sequence[int]) -> float:
    """The share of runs of `N` tokens that came before in the same text, 0 if it is shorter."""
    runs = [tuple(tokens[start : start + N]) for start in range(len(tokens) - N + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def word_share(text: str) -> float:
    """The share of letters, marks and digits of any script among what is no white space; 0 of nothing."""
    shown = [character for character in text if not character.isspace()]
    words = sum(unicodedata.category(character)[0] in "LMN" for character in shown)
    return words / len(shown) if shown else 0.0
