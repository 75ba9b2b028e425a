"""Curation by score: how answers of the untuned model are judged, and what is read more for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from jobs.data.selection import SelectedExample
from jobs.data.tokens import Tokens
from jobs.evaluation import answer_scores
from jobs.evaluation.answer_scores import exact_match, measure_for, rouge_l
from jobs.evaluation.curation import curate, to_score
from jobs.models.precision import precision_for
from jobs.recipes.data import CurateBy, CurationRecipe, DataSource, HubRecipe
from jobs.recipes.recipe import parse


@pytest.mark.parametrize(
    ("right", "answer", "score"),
    [
        ("Paris", " paris.\nQ: and Rome?", 1.0),  # the untuned model goes on by itself
        ("Paris", "Paris is the capital", 0.0),
        ("a  b", "A b", 1.0),
        ("yes", "", 0.0),
    ],
)
def test_exact_match_by_the_first_line(right: str, answer: str, score: float) -> None:
    """Capitals, spaces and a last full stop make no difference."""
    assert exact_match(right, answer) == score


def test_rouge_l_is_the_f_measure_of_the_longest_common_subsequence() -> None:
    """By hand: `the cat sat` in `the black cat sat down`: recall 3/3, precision 3/5, F 2*0.6/1.6 = 0.75."""
    assert rouge_l("the cat sat", "the black cat sat down") == pytest.approx(0.75)
    assert rouge_l("the cat sat", "dogs bark") == 0.0
    assert rouge_l("кот сидел тут", "Кот тут") == pytest.approx(2 * 1.0 * (2 / 3) / (5 / 3))
    assert rouge_l("!", "! ") == 1.0


def test_sources_that_are_answered_badly_are_read_more() -> None:
    """Errors of 0.25 and 0.75 on two sources of 20 examples: 40 reads are shared out 10 to 30."""
    lengths = [1] * 20 + [1] * 20
    train = [SelectedExample(Tokens((5, 6), 1), place // 20) for place, _ in enumerate(lengths)]
    sources = [DataSource(name, None, "completion", {}, HubRecipe(), 1.0, None) for name in "ab"]
    recipe = CurationRecipe(CurateBy.SCORE, scored=4)
    places = to_score(train, recipe)
    assert places == [0, 1, 2, 3, 20, 21, 22, 23]
    badness = [0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0]
    made = curate(train, sources, recipe, {at: (one, 1) for at, one in zip(places, badness, strict=True)}, 40)
    assert [(part.read, part.loss, part.by) for part in made.parts] == [
        (10, 0.25, "untuned errors"),
        (30, 0.75, "untuned errors"),
    ]


def test_text_without_a_prompt_is_not_asked_and_is_read_like_the_rest() -> None:
    """Its examples count as the mean of the sources that were asked."""
    train = [SelectedExample(Tokens((5, 6), at), source) for source, at in ((0, 1), (0, 1), (1, 0), (1, 0))]
    recipe = CurationRecipe(CurateBy.SCORE)
    assert to_score(train, recipe) == [0, 1]
    sources = [DataSource(name, None, "completion", {}, HubRecipe(), 1.0, None) for name in "ab"]
    made = curate(train, sources, recipe, {0: (0.5, 1), 1: (0.5, 1)}, 4)
    assert made.times == [1, 1, 1, 1]


def test_a_model_is_asked_and_its_answers_are_compared(
    recipe: dict[str, Any], tokenizer: Any, tiny_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the expected answer is the model's own greedy one there is no error."""
    from transformers import AutoModelForCausalLM

    recipe["data"]["curation"] = {"by": "score", "exact_match_tokens": 4}
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    monkeypatch.setattr(answer_scores, "MOST", 12)
    prompts = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("1:", "22:")]
    own = []
    for prompt, most in zip(prompts, (4, 12), strict=True):
        said = model.generate(torch.tensor([prompt]), max_new_tokens=most, do_sample=False, eos_token_id=2)
        own.append(said[0].tolist())
    right = [Tokens(tuple(ids), len(prompt)) for ids, prompt in zip(own, prompts, strict=True)]
    wrong = [replace(one, ids=(*one.ids[: one.response_at], 3, 3, 3)) for one in right[:1]]
    plain = [Tokens((5, 6, 7), 0)]
    asked: list[int] = []
    measure = measure_for(parse(recipe), model, tokenizer, precision_for(None), lambda: asked.append(1))
    badness, counted = measure([*right, *wrong, *plain])
    assert counted == [1, 1, 1, 0]
    assert badness[:2] == pytest.approx([0.0, 0.0])
    assert badness[2:] == [1.0, 0.0]
    assert len(asked) == 2  # the short ones together, the long one
