"""Conversations of several turns: which tokens are learned, by two methods of transformers."""

from __future__ import annotations

import copy
from itertools import takewhile
from typing import Any

import pytest
from tokenizer_families import CHATML_MARKED, FAMILIES, family

from jobs.data.chat import chat_writer
from jobs.data.conversation import Conversation
from jobs.data.pieces import Example
from jobs.data.templates import render
from jobs.data.tokens import IGNORED, Tokens, cut, tokenise
from jobs.errors import RowError
from jobs.recipes.data import LossOn

SAID = [
    ("user", "What is one?"),
    ("assistant", "One is two."),
    ("user", "Why?"),
    ("assistant", " yes, yes "),
    ("user", "no"),
    ("assistant", "three\n\ntimes"),
    ("user", "model"),
    ("assistant", "<b>hello</b>"),
]
CHATTING = [name for name in FAMILIES if name != "gpt_neox"]  # which has no chat template
APPENDING = [name for name in CHATTING if name != "qwen3"]


def messages(count: int = len(SAID), *, system: bool = False) -> list[dict[str, Any]]:
    """The first messages, perhaps after one of the system."""
    said = [("system", "Be brief.")] * system + SAID[:count]
    return [{"role": role, "content": text} for role, text in said]


def tokens(tokenizer: Any, said: list[dict[str, Any]], loss_on: LossOn = LossOn.ALL) -> Tokens:
    """A conversation as a trial reads it."""
    (made,) = tokenise([chat_writer(tokenizer)(Conversation(said), loss_on)], tokenizer)
    return made


def mask(made: Tokens) -> list[int]:
    """1 for each token that counts."""
    return [int(label != IGNORED) for label in made.labels]


def marked(name: str) -> Any:
    """The tokenizer of a family with a chat template that marks what the assistant says."""
    made = copy.deepcopy(family(name))
    made.chat_template = CHATML_MARKED
    return made


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("system", [False, True])
def test_marked_tokens_are_those_of_transformers(name: str, system: bool) -> None:
    """Ids and mask of `apply_chat_template`, for four answers, by every kind of tokenizer."""
    tokenizer, said = marked(name), messages(system=system)
    expected = tokenizer.apply_chat_template(said, return_dict=True, return_assistant_tokens_mask=True)
    made = tokens(tokenizer, said)
    assert list(made.ids) == expected["input_ids"]
    assert mask(made) == expected["assistant_masks"]
    assert sum(expected["assistant_masks"]) > 4
    last = mask(tokens(tokenizer, said, LossOn.LAST))
    borders = [
        place for place in range(1, len(last)) if expected["assistant_masks"][place - 1 : place + 1] == [0, 1]
    ]
    assert last == [0] * borders[-1] + expected["assistant_masks"][borders[-1] :]


@pytest.mark.parametrize("name", APPENDING)
def test_unmarked_turns_are_what_they_add_to_the_tokens(name: str) -> None:
    """From the tokens of the prompt of each answer on, as far as those up to it and those of all agree."""
    tokenizer, said = family(name), messages()

    def ids(count: int, *, ask: bool) -> list[int]:
        made = tokenizer.apply_chat_template(said[:count], add_generation_prompt=ask, return_dict=True)
        return list(made["input_ids"])

    whole = ids(len(said), ask=False)
    expected = [0] * len(whole)
    for place in range(1, len(said), 2):
        start = len(ids(place, ask=True))
        alike = takewhile(
            lambda pair: pair[0] == pair[1], zip(ids(place + 1, ask=False), whole, strict=False)
        )
        end = len(list(alike))
        assert start < end
        expected[start:end] = [1] * (end - start)
    made = tokens(tokenizer, said)
    assert list(made.ids) == whole
    assert mask(made) == expected


def test_a_template_that_drops_thoughts_of_earlier_turns_has_all_answers_learned() -> None:
    """Qwen 3: the answers as they stand in the whole, each with its end mark; the last with its thoughts."""
    tokenizer = family("qwen3")
    made = tokens(tokenizer, messages())
    learned = [one for one, counts in zip(made.ids, mask(made), strict=True) if counts]
    assert tokenizer.decode(learned) == (
        "One is two.<|im_end|> yes, yes <|im_end|>three\n\ntimes<|im_end|>"
        "<think>\n\n</think>\n\n<b>hello</b><|im_end|>\n"
    )


def test_a_template_that_changes_the_prompt_is_refused() -> None:
    """What stands before the answer must not depend on it."""
    tokenizer = marked("qwen2")
    tokenizer.chat_template = "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}"
    with pytest.raises(RowError, match="rewrites earlier messages"):
        tokens(tokenizer, messages(2))


@pytest.mark.parametrize("name", CHATTING)
def test_last_is_the_last_answer_alone(name: str) -> None:
    """Also where it is cut, the tokens before it do not count."""
    tokenizer = family(name)
    made = tokens(tokenizer, messages(4), LossOn.LAST)
    assert "yes, yes" in tokenizer.decode(made.ids[made.response_at :])
    assert made.gaps == ()
    assert "One" not in tokenizer.decode(made.ids[made.response_at :])


def test_answers_of_weight_zero_are_not_learned() -> None:
    """As in the fine-tuning files of OpenAI."""
    tokenizer, said = marked("llama3"), messages(4)
    said[1]["weight"] = 0
    assert mask(tokens(tokenizer, said)) == mask(tokens(tokenizer, said, LossOn.LAST))


def test_gaps_are_cut_and_counted() -> None:
    """Ten tokens of which 2, 3, 6 and 9 count; cut within a gap, and after it."""
    made = Tokens(tuple(range(10)), 2, ((4, 6), (7, 9)))
    assert [place for place, label in enumerate(made.labels) if label != IGNORED] == [2, 3, 6, 9]
    assert (made.answered, made.counted, list(made.first_answer)) == (4, 4, [2, 3])
    assert cut(made, 5) == Tokens((0, 1, 2, 3, 4), 2, ((4, 5),))
    assert cut(made, 7) == Tokens(tuple(range(7)), 2, ((4, 6),))


def some_chat(said: Conversation, loss_on: LossOn) -> Example:
    """In place of a chat template where none is asked."""
    return pytest.fail("a chat template was asked")


def test_guanaco_form_learns_every_answer() -> None:
    """By hand: blanks belong to the answers, what people say does not count."""
    example = render("human_assistant", {"messages": messages(4)}, some_chat, LossOn.ALL)
    text = example.prompt + example.response
    assert [text[start:end] for start, end in example.learned] == [" One is two.", "  yes, yes "]
    assert text == (
        "### Human: What is one?\n### Assistant: One is two.\n### Human: Why?\n### Assistant:  yes, yes "
    )


def test_apart_and_whole_tokens_of_several_answers(tokenizer: Any) -> None:
    """One token a character: labels are the characters that count, and the end mark."""
    example = render("human_assistant", {"messages": messages(4)}, some_chat, LossOn.ALL)
    (made,) = tokenise([example], tokenizer)
    text = example.prompt + example.response
    counted = {place for start, end in example.learned for place in range(start, end)} | {len(text)}
    assert {place for place, label in enumerate(made.labels) if label != IGNORED} == counted
