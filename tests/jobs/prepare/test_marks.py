"""Marks by family: what pads, what begins an example, how often, and whether its end is learned."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from tokenizer_families import family
from tokenizers import processors

from jobs.data.chat import chat_writer
from jobs.data.marks import Marks
from jobs.data.templates import render
from jobs.data.tokens import tokenise
from jobs.prepare.mark_lines import mark_lines

ROW = {"prompt": "What is one?", "completion": "two"}
NONE = "the tokenizer has none"
FILLS = "the tokenizer has none; {} fills gaps, which are masked"


def lines(tokenizer: Any, template: str) -> list[str]:
    """The marks of one example by a template, each without its name and the number of its token."""
    made = tokenise([render(template, ROW, chat_writer(tokenizer))], tokenizer)
    told = (line.partition(": ")[2] for line in mark_lines(tokenizer, made))
    return [" ".join(word for word in line.split(" ") if not word.startswith("(")) for line in told]


@pytest.mark.parametrize(
    ("name", "pad", "begin", "begin_of_chat", "end", "end_of_chat"),
    [
        ("llama2", FILLS.format("</s>"), "<s> once", "<s> once", "</s>", "</s>"),
        ("llama3", FILLS.format("<|eot_id|>"), *["<|begin_of_text|> once"] * 2, *["<|eot_id|>"] * 2),
        ("mistral", FILLS.format("</s>"), "<s> once", "<s> once", "</s>", "</s>"),
        ("qwen2", "<|endoftext|>", NONE, NONE, "<|im_end|>", "<|im_end|>"),
        ("qwen3", "<|endoftext|>", NONE, NONE, "<|im_end|>", "<|im_end|>"),
        ("gemma2", "<pad>", "<bos> once", "<bos> once", "<eos>", "<end_of_turn>"),
        ("gemma3", "<pad>", "<bos> once", "<bos> once", "<end_of_turn>", "<end_of_turn>"),
        ("phi3", "<|endoftext|>", "<s> never", "<s> never", "<|endoftext|>", "<|endoftext|>"),
        ("gpt_neox", FILLS.format("<|endoftext|>"), "<|endoftext|> never", "", "<|endoftext|>", ""),
        ("smollm", "<|im_end|>", "<|im_start|> never", "<|im_start|> once", "<|im_end|>", "<|im_end|>"),
    ],
)
def test_marks_of_a_family(
    name: str, pad: str, begin: str, begin_of_chat: str, end: str, end_of_chat: str
) -> None:
    """Completions begin and end as the tokenizer has it, a chat as its template has it."""
    for template, first, last in (("completion", begin, end), ("chat", begin_of_chat, end_of_chat)):
        if not first:
            continue
        shown = lines(family(name), template)
        assert shown[0] == pad
        assert shown[1] == (NONE if first == NONE else f"{first} before 1 of 1 examples")
        assert shown[2].startswith(f"{last} learned by 1 of 1 examples")
    if name == "gemma2":
        assert shown[2].endswith("; the tokenizer's own is <eos>")


def test_a_begin_mark_that_the_template_writes_is_not_put_twice() -> None:
    """Into a text of one's own, as people copy it from model cards."""
    own = "<s>[INST] {{ prompt }} [/INST]{% generation %}{{ completion }}</s>{% endgeneration %}"
    shown = lines(family("mistral"), own)
    assert shown[1:] == ["<s> once before 1 of 1 examples", "</s> learned by 1 of 1 examples"]
    (made,) = tokenise([render(own, ROW, chat_writer(family("mistral")))], family("mistral"))
    assert list(made.ids).count(2) == 1


def test_no_end_mark_stands_between_prompt_and_answer() -> None:
    """Of a tokenizer that puts one after every text; the answer still learns it once."""
    tokenizer = copy.deepcopy(family("llama2"))
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    assert tokenizer("a")["input_ids"][-1] == 2
    (made,) = tokenise([render("completion", ROW, chat_writer(tokenizer))], tokenizer)
    assert (made.ids[0], list(made.ids).count(1), list(made.ids).count(2), made.ids[-1]) == (1, 1, 1, 2)
    assert Marks.of(tokenizer) == Marks((1,), 2)


def test_answers_that_never_end_are_told() -> None:
    """By a chat template that writes no end mark."""
    tokenizer = copy.deepcopy(family("qwen2"))
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    tokenizer.chat_template += "{% if add_generation_prompt %}assistant: {% endif %}"
    assert lines(tokenizer, "chat")[2] == (
        "learned by none of 1 examples, so that answers do not end; the tokenizer's is <|im_end|>"
    )
