"""How a row of data becomes a prompt and a response: pure text, no model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from jobs.data import jinja_template as own_template
from jobs.data.conversation import (
    ANSWER,
    QUESTION,
    Conversation,
    conversation,
    history,
    holds_conversation,
    question_and_answer,
)
from jobs.data.pieces import Example, joined
from jobs.data.values import Fields, Row, text_of
from jobs.errors import RowError
from jobs.recipes.data import LossOn, Template

WriteChat: TypeAlias = Callable[[Conversation, LossOn], Example]  # in the tokenizer's own chat form
Pieces: TypeAlias = Iterator[tuple[str, bool]]  # text, and whether it is an answer

# The two prompts of Stanford Alpaca, as the models that were tuned on it expect them.
ALPACA = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
)
ALPACA_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)
INSTRUCTION = "### Instruction:\n{}\n\n### Response:\n"
INSTRUCTION_WITH_INPUT = "### Instruction:\n{}\n\n### Input:\n{}\n\n### Response:\n"
# Of the guanaco models; the blank belongs to the answer, as tokenizers join it to the word.
HUMAN = "### Human: {}\n"
ASSISTANT = "### Assistant:"


def needed(template: Template) -> str:
    """The columns that a template reads, for messages."""
    pair = f"{' or '.join(QUESTION)}, and {' or '.join(ANSWER)}"
    said = "messages (a list of role and content) or conversations (of from and value)"
    return {
        Template.ALPACA: f"{pair} (input, system and history may be given too)",
        Template.AUTO: f"{said}, or {pair}, or text",
        Template.COMPLETION: pair,
        Template.HUMAN_ASSISTANT: f"{said}, or {pair}",
        Template.CHAT: f"{said}, or {pair}",
        Template.TEXT: "text",
    }[template]


def recognised(row: Row) -> Template:
    """The template of a row by its columns.

    Raises:
        RowError: they are of no known format.
    """
    fields = Fields(row)
    if holds_conversation(fields):
        return Template.CHAT
    asked, answered = fields.first(QUESTION)[0], fields.first(ANSWER)[0]
    if asked and answered:
        return Template.COMPLETION if (asked, answered) == ("prompt", "completion") else Template.ALPACA
    if fields.get("text") is not None:
        return Template.TEXT
    raise _lacking(fields, Template.AUTO)


def render(template: str, row: Row | Fields, write_chat: WriteChat, loss_on: LossOn = LossOn.LAST) -> Example:
    """Write a row as the template says.

    Args:
        template: of the recipe: one of `Template`, or Jinja text.

    Raises:
        RowError: the row lacks a column, holds what is no text, or no conversation that ends with an answer.
        DataError: the template is of no use for any row.
    """
    fields = row if isinstance(row, Fields) else Fields(row)
    if template not in list(Template):
        return joined(own_template.write(template, fields), loss_on)
    known = Template(template)
    if known is Template.AUTO:
        known = recognised(fields.row)
    if known is Template.CHAT:
        return write_chat(_conversation(fields, known), loss_on)
    pieces = {
        Template.ALPACA: _alpaca,
        Template.COMPLETION: _completion,
        Template.HUMAN_ASSISTANT: _human_assistant,
        Template.TEXT: _text,
    }[known](fields)
    return joined(pieces, loss_on)


def mapped(row: Row, columns: Mapping[str, str | None]) -> Row:
    """A row under the names that templates read.

    Args:
        columns: name for the template -> name in the row, or None for a column that is not to be read.

    Raises:
        RowError: the row lacks a column.
    """
    if not columns:
        return row
    missing = [theirs for theirs in columns.values() if theirs is not None and theirs not in row]
    if missing:
        raise RowError(
            "a missing column",
            f"got the columns {_listed(row)}, expected {', '.join(missing)}",
            "data.columns has the form {name in the template: name in the data}",
            "columns",
        )
    # a mapped column must not lose against one of the file that templates would rather take
    hidden = {name for alike in (QUESTION, ANSWER) if columns.keys() & set(alike) for name in alike}
    kept = {name: value for name, value in row.items() if name not in hidden and name not in columns}
    return kept | {ours: row[theirs] for ours, theirs in columns.items() if theirs is not None}


def _alpaca(fields: Fields) -> Pieces:
    question, answer = _pair(fields, Template.ALPACA)
    more = fields.text("input")
    yield f"{fields.text('system') or (ALPACA_WITH_INPUT if more else ALPACA)}\n\n", False
    for asked, answered in history(fields):
        yield INSTRUCTION.format(asked), False
        yield answered, True
        yield "\n\n", False
    yield (INSTRUCTION_WITH_INPUT.format(question, more) if more else INSTRUCTION.format(question)), False
    yield answer, True


def _completion(fields: Fields) -> Pieces:
    question, answer = _pair(fields, Template.COMPLETION)
    yield question, False
    yield answer, True


def _human_assistant(fields: Fields) -> Pieces:
    said = _conversation(fields, Template.HUMAN_ASSISTANT)
    counted = said.answers
    for place, message in enumerate(said.messages):
        if said.tools or "tool_calls" in message or message["role"] == "tool":
            raise RowError(
                "tools", "got tools, expected none", "data.template=chat hands them to the model's own"
            )
        if message["role"] == "assistant":
            yield ASSISTANT, False
            yield f" {message['content']}", place in counted
            yield "" if place == len(said.messages) - 1 else "\n", False
        else:
            form = HUMAN if message["role"] == "user" else "{}\n\n"
            yield form.format(message["content"]), False


def _text(fields: Fields) -> Pieces:
    value = fields.get("text")
    if value is None:
        raise _lacking(fields, Template.TEXT)
    yield text_of("text", value), True


def _conversation(fields: Fields, template: Template) -> Conversation:
    if not holds_conversation(fields):
        _pair(fields, template)
    return conversation(fields)


def _pair(fields: Fields, template: Template) -> tuple[str, str]:
    pair = question_and_answer(fields)
    if pair is None:
        raise _lacking(fields, template)
    return pair


def _lacking(fields: Fields, template: Template) -> RowError:
    given = [name for name, value in fields.row.items() if value is not None]
    empty = sorted(set(fields.row) - set(given))
    without = f" (nothing in {', '.join(empty)})" if empty else ""
    return RowError(
        f"nothing of what {template.value} reads" if not given else "no question or no answer",
        f"got the columns {_listed(given)}{without}, expected for the template {template.value}: "
        f"{needed(template)}",
        "choose another data.template, or rename the columns (data.columns)",
    )


def _listed(names: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, names))) or "none"
