"""What a model writes to the prompts of an evaluation, for people to read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from hpo.records import SCHEMA_VERSION
from jobs.attempt.card import halving
from jobs.data.marks import pad_token
from jobs.errors import RecipeError
from jobs.evaluation.questions import Question
from jobs.evaluation.shards import Answers, Shards
from jobs.models.precision import Precision
from jobs.recipes.recipe import Recipe

PARTS = "samples"  # name of the first part of their answers
# The most probable token, whatever else the model's own generation_config.json would like.
GREEDY = {"do_sample": False, "num_beams": 1, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0}


@dataclass(frozen=True)
class Writer:
    """A model that continues prompts.

    Not lm-eval's, as for tasks: that takes seconds to import, and makes tokens of its own out of a text.
    """

    model: torch.nn.Module
    tokenizer: PreTrainedTokenizerBase
    precision: Precision
    most: int  # tokens of an answer

    @property
    def causal(self) -> Any:
        """The model as transformers knows it; adapters are part of its layers."""
        return self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model

    @property
    def ends(self) -> list[int]:
        """The tokens that end an answer: what trials learn to end with, and what the model knows as such."""
        known = self.causal.generation_config.eos_token_id
        listed = known if isinstance(known, list) else [known]
        every = dict.fromkeys([self.tokenizer.eos_token_id, *listed])
        return [int(cast(int, token)) for token in every if token is not None]

    def fitting(self, questions: Sequence[Question]) -> list[Question]:
        """Those of which the model has a place for every token; of held-out examples nobody said how long.

        Raises:
            RecipeError: a fixed prompt is too long.
        """
        places = getattr(self.causal.config.get_text_config(), "max_position_embeddings", None)
        if places is None:
            return list(questions)
        fixed = [len(one.ids) for one in questions if one.expected is None]
        if fixed and max(fixed) + self.most > places:
            raise RecipeError(
                f"evaluation.samples: got a prompt of {max(fixed)} tokens and max_new_tokens={self.most}, "
                f"expected at most {places} together, as the model takes no more"
            )
        return [one for one in questions if len(one.ids) + self.most <= places]

    def write(self, prompts: Sequence[Sequence[int]]) -> Answers:
        """Answers to prompts, in one batch; the training mode is put back afterwards.

        Args:
            prompts: as tokens; padded on the left.

        Returns:
            For each [text, tokens in it, whether it ended by itself].
        """
        training, longest, pad = self.model.training, max(map(len, prompts)), pad_token(self.tokenizer)
        gaps = [longest - len(prompt) for prompt in prompts]
        ids = [[pad] * gap + list(prompt) for gap, prompt in zip(gaps, prompts, strict=True)]
        mask = [[0] * gap + [1] * (longest - gap) for gap in gaps]
        ends, precision = self.ends, self.precision
        self.model.eval()
        with (
            torch.no_grad(),
            torch.autocast(precision.device.type, precision.compute, enabled=precision.autocast),
        ):
            found = self.causal.generate(
                input_ids=torch.tensor(ids, device=precision.device),
                attention_mask=torch.tensor(mask, device=precision.device),
                max_new_tokens=self.most,
                eos_token_id=ends or None,
                pad_token_id=pad,
                use_cache=True,
                **GREEDY,
            )
        self.model.train(training)
        return [self._read(row, ends) for row in found[:, longest:].tolist()]

    def _read(self, row: list[int], ends: Sequence[int]) -> list[Any]:
        at = next((place for place, token in enumerate(row) if token in ends), None)
        own = row[:at]
        return [self.tokenizer.decode(own, skip_special_tokens=True), len(own), at is not None]


def sample(
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    recipe: Recipe,
    questions: Sequence[Question],
    precision: Precision,
    shards: Shards,
    after_batch: Callable[[], None],
) -> dict[str, Any]:
    """What a model writes to prompts.

    Args:
        questions: its prompts; there may be none. Held-out ones that are too long for the model are left out.
        shards: batches that are finished, and the place for those to come.

    Returns:
        The record that `report` shows: how the base model is stored, the most tokens of an answer, and for
        each prompt what was `asked`, the `prompt` as the model read it, the `answer`, its `tokens`, and
        whether it `ended` by itself; of held-out examples also the `expected` answer, and whether that is
        `whole`.

    Raises:
        RecipeError: a fixed prompt is too long for the model.
        OutOfMemory: not even one prompt fits the card.
    """
    samples = recipe.evaluation.samples
    assert samples is not None
    writer = Writer(model, tokenizer, precision, samples.max_new_tokens)
    questions = writer.fitting(questions)
    answers = _answers(
        writer, [list(one.ids) for one in questions], recipe.evaluation.batch_size, shards, after_batch
    )
    told = [
        {**question.record(), "answer": text, "tokens": tokens, "ended": ended}
        for question, (text, tokens, ended) in zip(questions, answers, strict=True)
    ]
    return {
        "schema_version": SCHEMA_VERSION,
        "quantisation": recipe.trainer.quantisation.value,
        "max_new_tokens": samples.max_new_tokens,
        "samples": told,
    }


def _answers(
    writer: Writer, prompts: list[list[int]], size: int, shards: Shards, after_batch: Callable[[], None]
) -> Answers:
    found: Answers = []
    while len(found) < len(prompts):
        left = prompts[len(found) :]
        name, asked = f"{PARTS}-{len(found):05}", [left[:size], writer.most]
        found += shards.obtain(name, asked, partial(_fitting, writer, left[:size]))
        after_batch()
    return found


def _fitting(writer: Writer, prompts: list[list[int]]) -> Answers:
    """Answers to the first prompts, as many as the card's memory suffices for."""
    return halving(lambda size: writer.write(prompts[:size]), len(prompts), "sample generations")[0]
