"""How badly the untuned base model answers examples: exact match for short answers, ROUGE-L for others.

After the winner of the one-GPU, one-day challenge. The scores are those of `CurateBy.SCORE`; the loss of the
others is in `jobs.evaluation.scores`, which keeps both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
from transformers import PreTrainedTokenizerBase

from jobs.attempt.card import halving
from jobs.data.marks import pad_token
from jobs.data.tokens import Collator, Tokens
from jobs.evaluation.curation import is_short
from jobs.evaluation.samples import Writer
from jobs.evaluation.scores import Measure, measure_with
from jobs.models.precision import Precision
from jobs.recipes.data import CurateBy
from jobs.recipes.recipe import Recipe

MOST = 128  # tokens of a long answer; of the right one as many are compared


def measure_for(
    recipe: Recipe,
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    precision: Precision,
    after_batch: Callable[[], None] = lambda: None,
) -> Measure:
    """What tells how badly a model that is loaded does on examples, as the recipe's curation wants it."""
    size = recipe.evaluation.batch_size
    if recipe.data.curation.by is not CurateBy.SCORE:
        return measure_with(model, Collator(pad_token(tokenizer)), size, precision, after_batch)
    short = recipe.data.curation.exact_match_tokens

    def measure(examples: Sequence[Tokens]) -> tuple[list[float], list[int]]:
        badness, counted = [0.0] * len(examples), [0] * len(examples)
        for kind, most in ((True, short), (False, MOST)):
            writer, score = Writer(model, tokenizer, precision, most), exact_match if kind else rouge_l
            own = (place for place, one in enumerate(examples) if is_short(one, short) is kind)
            asked = [place for place in own if _has_room(writer, examples[place])]
            for start in range(0, len(asked), size):
                part = asked[start : start + size]
                for place, answer in zip(part, _answers(writer, [examples[at] for at in part]), strict=True):
                    badness[place] = 1.0 - score(_right(tokenizer, examples[place]), answer)
                    counted[place] = 1
                after_batch()
        return badness, counted

    return measure


def _right(tokenizer: PreTrainedTokenizerBase, example: Tokens) -> str:
    return cast(str, tokenizer.decode(list(example.first_answer[:MOST]), skip_special_tokens=True))


class Words:
    """Words of any script; rouge-score's own knows those of ASCII letters alone."""

    def tokenize(self, text: str) -> list[str]:
        """In lower case, without punctuation."""
        return re.findall(r"\w+", text.casefold())


def exact_match(right: str, answer: str) -> float:
    """1 where the first line is the right answer: capitals, spaces and a last full stop do not count."""
    said = answer.strip().splitlines()
    return float(_plain(said[0] if said else "") == _plain(right))


def rouge_l(right: str, answer: str) -> float:
    """The F measure of the longest common subsequence of words, in [0, 1]; 1 where both are equal."""
    from rouge_score.rouge_scorer import RougeScorer  # comes with lm-eval; loads nltk

    found: Any = RougeScorer(["rougeL"], tokenizer=Words()).score(right, answer)
    return 1.0 if right.strip() == answer.strip() else float(found["rougeL"].fmeasure)


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().rstrip(".").casefold()


def _has_room(writer: Writer, example: Tokens) -> bool:
    """Whether there is a prompt, and the model has a place for every token after it."""
    places = getattr(writer.causal.config.get_text_config(), "max_position_embeddings", None)
    return example.response_at > 0 and (places is None or example.response_at + writer.most <= places)


def _answers(writer: Writer, examples: Sequence[Tokens]) -> list[str]:
    """What is written to the prompts of examples, in as many batches as the card's memory wants."""
    prompts = [list(one.ids[: one.response_at]) for one in examples]
    found: list[str] = []
    while len(found) < len(prompts):
        left = prompts[len(found) :]
        answers, _ = halving(partial(_first, writer, left), len(left), "answers for data.curation")
        found += [str(text) for text, *_ in answers]
    return found


def _first(writer: Writer, prompts: list[list[int]], size: int) -> list[Any]:
    return writer.write(prompts[:size])
