"""What a model is asked for people to read: fixed prompts, and held-out examples, whose answers are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

from transformers import PreTrainedTokenizerBase

from jobs.data.chat import chat_writer
from jobs.data.tokens import Tokens, tokenise
from jobs.data.values import Row
from jobs.evaluation.prompts import written
from jobs.recipes.evaluation import SampleRecipe
from jobs.recipes.recipe import Recipe


@dataclass(frozen=True)
class Question:
    """One prompt.

    Args:
        prompt: as the model reads it.
        ids: the same as tokens.
        expected: the answer of a held-out example; None: not known.
        whole: whether that answer was not cut at data.max_length.
    """

    asked: str | Row
    prompt: str
    ids: Sequence[int]
    expected: str | None = None
    whole: bool = True

    def record(self) -> dict[str, Any]:
        """What the record of its answer says of the question."""
        told: dict[str, Any] = {"asked": self.asked, "prompt": self.prompt}
        return told if self.expected is None else {**told, "expected": self.expected, "whole": self.whole}


def questions_of(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, held_out: Sequence[Tokens]
) -> list[Question]:
    """Every prompt of a recipe's samples: the fixed ones, then those of held-out examples.

    Args:
        held_out: examples; those without a prompt, as plain text is, are passed over.

    Raises:
        DataError: a prompt cannot be written with this tokenizer.
    """
    samples = recipe.evaluation.samples
    assert samples is not None
    known = islice(_known(held_out, tokenizer, recipe.data.max_length), samples.validation)
    return [*_fixed(samples, recipe.data.template, tokenizer), *known]


def _fixed(samples: SampleRecipe, template: str, tokenizer: PreTrainedTokenizerBase) -> Iterator[Question]:
    write_chat = chat_writer(tokenizer)
    examples = [written(asked, template, write_chat) for asked in samples.prompts]
    for asked, example, tokens in zip(samples.prompts, examples, tokenise(examples, tokenizer), strict=True):
        yield Question(asked, example.prompt, tokens.ids[: tokens.response_at])


def _known(
    held_out: Sequence[Tokens], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> Iterator[Question]:
    for example in held_out:
        ids, answer = example.ids[: example.response_at], example.first_answer
        prompt = _text(tokenizer, ids)
        if prompt.strip():
            ended = bool(example.gaps) or example.ids[-1] == tokenizer.eos_token_id
            whole = ended or len(example) < max_length
            yield Question(prompt, prompt, ids, _text(tokenizer, answer).strip(), whole)


def _text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    return cast(str, tokenizer.decode(list(ids), skip_special_tokens=True))
