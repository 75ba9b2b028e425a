"""How a row of data becomes a prompt and a response: pure text, no model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.data import jinja_template as own_template
from jobs.errors import DataError
from jobs.recipes.data import Template

Row = Mapping[str, Any]
ChatText = Callable[[Sequence[Mapping[str, str]], bool], str]  # (messages, ask for an answer) -> text

# The two prompts of Stanford Alpaca, as the models that were tuned on it expect them.
ALPACA_PROMPT = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:\n"
)
ALPACA_PROMPT_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
)
# Of the guanaco models; the blank belongs to the answer, as tokenizers join it to the word.
HUMAN_ASSISTANT = {"user": "### Human: {}\n", "assistant": "### Assistant: {}\n"}
ASSISTANT = "### Assistant:"
QUESTION = ("instruction", "prompt", "question")
ANSWER = ("output", "completion", "response", "answer")


@dataclass(frozen=True)
class Example:
    """One example as text; the loss is taken on the response only.

    `whole` says that the template wrote beginning and end marks itself, so that none are to be added.
    """

    prompt: str
    response: str
    whole: bool = False


def needed(template: Template) -> str:
    """The columns that a template reads, for messages."""
    pair = f"{' or '.join(QUESTION)}, and {' or '.join(ANSWER)}"
    return {
        Template.ALPACA: f"{pair} (input may be given too)",
        Template.COMPLETION: pair,
        Template.HUMAN_ASSISTANT: f"messages (a list of role and content), or {pair}",
        Template.CHAT: f"messages (a list of role and content), or {pair}",
        Template.TEXT: "text",
    }[template]


def render(template: str, row: Row, chat_text: ChatText) -> Example:
    """Write a row as the template says.

    Args:
        template: of the recipe: one of `Template`, or Jinja text.

    Raises:
        DataError: the row lacks a column, or its messages are not a conversation that ends with an answer.
    """
    if template not in list(Template):
        return Example(*own_template.write(template, row))
    template = Template(template)
    match template:
        case Template.HUMAN_ASSISTANT:
            return _human_assistant(messages(row))
        case Template.TEXT:
            return Example("", _column(row, ("text",), template))
        case Template.CHAT:
            return _chat(messages(row), chat_text)
    question, answer = _column(row, QUESTION, template), _column(row, ANSWER, template)
    if template is Template.COMPLETION:
        return Example(question, answer)
    context = str(row.get("input") or "")
    form = ALPACA_PROMPT_WITH_INPUT if context else ALPACA_PROMPT
    return Example(form.format(instruction=question, input=context), answer)


def mapped(row: Row, columns: Mapping[str, str | None]) -> Row:
    """A row under the names that templates read.

    Args:
        columns: name for the template -> name in the row, or None for a column that is not to be read.

    Raises:
        DataError: the row lacks a column.
    """
    if not columns:
        return row
    missing = [theirs for theirs in columns.values() if theirs is not None and theirs not in row]
    if missing:
        raise DataError(
            f"got the columns {', '.join(sorted(row)) or 'none'}, expected {', '.join(missing)}",
            "data.columns has the form {name in the template: name in the data}",
        )
    # a mapped column must not lose against one of the file that templates would rather take
    hidden = {name for alike in (QUESTION, ANSWER) if columns.keys() & set(alike) for name in alike}
    kept = {name: value for name, value in row.items() if name not in hidden and name not in columns}
    return kept | {ours: row[theirs] for ours, theirs in columns.items() if theirs is not None}


def messages(row: Row) -> list[dict[str, str]]:
    """The conversation of a row: its messages, or a question and its answer.

    Raises:
        DataError: there is no conversation that ends with the assistant's message.
    """
    said = row.get("messages")
    if said is None:
        question = _column(row, QUESTION, Template.CHAT)
        asked = f"{question}\n\n{row['input']}" if row.get("input") else question
        answer = _column(row, ANSWER, Template.CHAT)
        return [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    if not isinstance(said, list) or not all(
        isinstance(m, dict) and {"role", "content"} <= m.keys() for m in said
    ):
        raise DataError(f"messages: got {_short(said)}, expected a list of objects with role and content")
    if len(said) < 2 or said[-1]["role"] != "assistant":
        raise DataError(f"messages: got {_short(said)}, expected a conversation that ends with the assistant")
    return [{"role": str(message["role"]), "content": str(message["content"])} for message in said]


def _human_assistant(said: Sequence[Mapping[str, str]]) -> Example:
    before = "".join(HUMAN_ASSISTANT.get(m["role"], "{}\n\n").format(m["content"]) for m in said[:-1])
    return Example(before + ASSISTANT, f" {said[-1]['content']}")


def _chat(said: Sequence[Mapping[str, str]], chat_text: ChatText) -> Example:
    prompt, full = chat_text(said[:-1], True), chat_text(said, False)
    if not full.startswith(prompt):
        raise DataError(
            "data.template: got chat with a tokenizer whose chat template rewrites earlier messages, "
            "expected one that only appends",
            "use data.template=completion or alpaca",
        )
    return Example(prompt, full[len(prompt) :], whole=True)


def _column(row: Row, names: Sequence[str], template: Template) -> str:
    for name in names:
        value = row.get(name)
        if value is not None:
            return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    raise DataError(
        f"got the columns {', '.join(sorted(row)) or 'none'}, expected for the template {template.value}: "
        f"{needed(template)}",
        "choose another data.template, or rename the columns",
    )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:80]}..."
