"""A row as a conversation, in whichever of the field's formats it is written. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from jobs.data.values import Fields, short, structure, text_of
from jobs.errors import RowError

Message: TypeAlias = dict[str, Any]

QUESTION = ("instruction", "prompt", "question")
ANSWER = ("output", "completion", "response", "answer")
CONVERSATIONS = ("messages", "conversations", "conversation")
ROLES = ("system", "developer", "user", "assistant", "tool")
# The words of ShareGPT and its relatives for these roles.
OTHER_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "observation": "tool",
    "function_response": "tool",
    "function": "tool",
    "ipython": "tool",
}
CALLS = ("function_call", "tool_call")  # roles of an assistant's turn that holds a call as JSON
KEPT = ("name", "tool_call_id", "reasoning_content", "reasoning", "thinking")  # chat templates know them
NO_CONVERSATION = "no conversation"


@dataclass(frozen=True)
class Conversation:
    """Messages as chat templates read them, and the tools that the assistant may call."""

    messages: list[Message]
    tools: list[Any] = field(default_factory=list)

    @property
    def answers(self) -> list[int]:
        """The places of the assistant's messages that count; those of weight 0 do not."""
        return [
            place
            for place, message in enumerate(self.messages)
            if message["role"] == "assistant" and message.get("weight") != 0
        ]


def holds_conversation(fields: Fields) -> bool:
    """Whether a row holds messages, not a question and an answer."""
    return _said(fields) is not None


def conversation(fields: Fields) -> Conversation:
    """The conversation of a row: its messages, or a question with its answer and what went before them.

    Raises:
        RowError: there is none that ends with an answer, or a message holds what is no text.
    """
    said = _said(fields)
    messages = _asked_and_answered(fields) if said is None else [_message(*said, one) for one in said[1]]
    if (
        messages[:1]
        and messages[0]["role"] not in ("system", "developer")
        and (text := fields.text("system"))
    ):
        messages = [{"role": "system", "content": text}, *messages]
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise RowError(
            "a conversation that does not end with the assistant",
            f"{said[0] if said else 'prompt'}: got {short(said[1] if said else messages)}, "
            "expected a conversation that ends with the assistant",
        )
    tools = structure("tools", fields.get("tools")) or []
    return Conversation(messages, tools if isinstance(tools, list) else [tools])


def _said(fields: Fields) -> tuple[str, list[Any]] | None:
    """The column of the messages, and these; None where a row has a question and an answer."""
    name, value = fields.first(CONVERSATIONS)
    if name:
        return name, _listed(name, structure(name, value))
    name, value = fields.first(QUESTION)
    if isinstance(value, list):  # a prompt and a completion that are messages themselves
        other, answer = fields.first(ANSWER)
        return name, _listed(name, value) + _listed(other or ANSWER[0], answer)
    return None


def _listed(name: str, value: Any) -> list[Any]:
    if isinstance(value, list) and value and all(isinstance(message, Mapping) for message in value):
        return value
    raise RowError(
        NO_CONVERSATION, f"{name}: got {short(value)}, expected a list of objects with role and content"
    )


def history(fields: Fields) -> list[tuple[str, str]]:
    """Questions and answers that came before, oldest first.

    Raises:
        RowError: they are no pairs of texts.
    """
    pairs = structure("history", fields.get("history")) or []
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise RowError(
            "a history that is no list of pairs",
            f"history: got {short(pairs)}, expected a list of [question, answer]",
        )
    return [(text_of("history", asked), text_of("history", answer)) for asked, answer in pairs]


def question_and_answer(fields: Fields) -> tuple[str, str] | None:
    """The texts of a row that has both; None where one of them is absent.

    Raises:
        RowError: one of them is no text.
    """
    asked, question = fields.first(QUESTION)
    answered, answer = fields.first(ANSWER)
    if not asked or not answered:
        return None
    return text_of(asked, question), text_of(answered, answer)


def _asked_and_answered(fields: Fields) -> list[Message]:
    pair = question_and_answer(fields)
    if pair is None:
        raise RowError("no question or no answer", "")  # the template says what it needs
    (question, answer), more = pair, fields.text("input")
    turns = [*history(fields), (f"{question}\n\n{more}" if more else question, answer)]
    return [
        {"role": role, "content": text}
        for turn in turns
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]


def _message(column: str, everything: Sequence[Any], one: Mapping[str, Any]) -> Message:
    """One message under the names that chat templates know."""
    role, content = one.get("role", one.get("from")), one.get("content", one.get("value"))
    if not isinstance(role, str):
        got = short(everything)
        raise RowError(
            NO_CONVERSATION, f"{column}: got {got}, expected a list of objects with role and content"
        )
    known = OTHER_ROLES.get(role.lower(), role.lower())
    calls = structure("tool_calls", one.get("tool_calls")) or []
    if known in CALLS or one.get("function_call"):
        known, calls, content = (
            "assistant",
            [one.get("function_call") or content],
            None if known in CALLS else content,
        )
    if known not in ROLES:
        raise RowError(f"the role {role!r}", f"{column}: got the role {role!r}, expected {', '.join(ROLES)}")
    message: Message = {"role": known}
    if content is not None:
        message["content"] = _text(column, content)
    if calls:
        message["tool_calls"] = [_call(column, call) for call in calls]
    elif content is None:
        raise RowError("a message without content", f"{column}: got {short(one)}, expected its content")
    message |= {name: text_of(name, one[name]) for name in KEPT if one.get(name) is not None}
    return message | ({"weight": one["weight"]} if one.get("weight") is not None else {})


def _text(column: str, content: Any) -> str:
    """The text of a message: alone, or in parts."""
    return "".join(_parts(column, content)) if isinstance(content, list) else text_of(column, content)


def _parts(column: str, parts: Sequence[Any]) -> Iterator[str]:
    for part in parts:
        text = part.get("text") if isinstance(part, Mapping) and part.get("type", "text") == "text" else None
        if isinstance(part, str):
            text = part
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, Mapping) else None
            raise RowError(
                f"a part of the type {kind!r}" if kind else "a part that is no text",
                f"{column}: got the part {short(part)}, expected parts of text",
                "trials train on text alone",
            )
        yield text


def _call(column: str, call: Any) -> Any:
    """A call of a tool as chat templates read it: its arguments are an object, not JSON text of one."""
    call = structure("tool_calls", call)
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise RowError(
            "a call without a name", f"{column}: got the call {short(call)}, expected a name and arguments"
        )
    arguments = structure("arguments", function.get("arguments") or {})
    named = {key: value for key, value in call.items() if key not in ("function", "name", "arguments")}
    return {"type": "function", **named, "function": {"name": function["name"], "arguments": arguments}}
