"""Conversations in the chat form of a tokenizer, and where the assistant's words lie in them.

A chat template that marks them (`{% generation %}`) says itself what counts. For one that does not, the turns
are found by what each adds to the text before it; see `_turn`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import jinja2
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import render_jinja_template

from jobs.data.conversation import Conversation, Message
from jobs.data.pieces import Example, Span, of_spans
from jobs.data.templates import WriteChat
from jobs.data.tokens import refuse_unplaced
from jobs.errors import DataError, RowError
from jobs.recipes.data import LossOn

MARKED = re.compile(r"\{%-?\s*generation\s*-?%\}")
REWRITES = "a chat template that rewrites earlier messages"
# What a chat template may raise: its own refusals, and mistakes in it that only some rows show.
FAILURES = (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError)


# texts and marked places of conversations; the library's own annotation is of the texts alone
_render = cast(Callable[..., tuple[list[str], list[list[Span]]]], render_jinja_template)


@dataclass(frozen=True)
class Written:
    """A conversation as text, and the places that the template marks."""

    text: str
    spans: list[Span]


def chat_writer(tokenizer: PreTrainedTokenizerBase) -> WriteChat:
    """What writes conversations in the tokenizer's own chat form.

    Args:
        tokenizer: of the base model; one that has no such form raises DataError when it is to write.
    """

    def write(said: Conversation, loss_on: LossOn) -> Example:
        form = _ChatForm(tokenizer, _template(tokenizer, said), said)
        spans, text = form.answers(loss_on)
        return of_spans(text, spans, loss_on, whole=True)

    return write


def _template(tokenizer: PreTrainedTokenizerBase, said: Conversation) -> str:
    try:
        return tokenizer.get_chat_template(None, said.tools or None)
    except ValueError as error:  # it has none
        raise DataError(
            f"data.template: got chat with a tokenizer that cannot: {str(error)[:200]}",
            "use data.template=human_assistant or alpaca",
        ) from error


@dataclass(frozen=True)
class _ChatForm:
    tokenizer: PreTrainedTokenizerBase
    template: str
    said: Conversation

    def answers(self, loss_on: LossOn) -> tuple[list[Span], str]:
        """The places of the answers that may count, and the text in which they lie."""
        self._refuse_unwritten()
        whole = self.write(self.said.messages, ask=False)
        places = self.said.answers
        if MARKED.search(self.template):
            answers = [place for place, one in enumerate(self.said.messages) if one["role"] == "assistant"]
            if len(whole.spans) == len(answers):  # else the template marks in its own way, without weights
                return [whole.spans[answers.index(place)] for place in places], whole.text
            return whole.spans, whole.text
        if loss_on is LossOn.ALL:
            refuse_unplaced(self.tokenizer)
        wanted = places[-1:] if loss_on is LossOn.LAST else places
        spans = [self._turn(place, whole.text) for place in wanted if place > 0]
        return spans, whole.text

    def write(self, messages: Sequence[Message], *, ask: bool) -> Written:
        """Messages as text.

        Args:
            ask: whether to end with what asks for an answer.

        Raises:
            RowError: the template refuses them.
        """
        plain = [{name: value for name, value in one.items() if name != "weight"} for one in messages]
        try:
            texts, spans = _render(
                conversations=[plain],
                tools=self.said.tools or None,
                chat_template=self.template,
                return_assistant_tokens_mask=MARKED.search(self.template) is not None,
                add_generation_prompt=ask,
                **cast(dict[str, Any], self.tokenizer.special_tokens_map),
            )
        except FAILURES as error:
            roles = " ".join(dict.fromkeys(str(one["role"]) for one in messages))
            raise RowError(
                "a conversation that the chat template refuses",
                f"the tokenizer's chat template refuses a conversation of {roles}: {str(error)[:200]}",
                "data.template=human_assistant takes any; or change the rows",
            ) from error
        return Written(texts[0], [(start, end) for start, end in spans[0]] if spans else [])

    def _turn(self, place: int, text: str) -> Span:
        """Where the assistant's message at a place lies in the text of the whole conversation.

        It begins where the messages before it and the words that ask for an answer end, and ends where the
        conversation up to it does. A template that ends a conversation otherwise than a turn (Phi 3 does)
        agrees only up to some token with the whole. One that writes the last answer otherwise than earlier
        ones (Qwen 3 does) has this answer's words there, and after them its end mark.

        Raises:
            RowError: the words before the answer are written otherwise once it is there.
        """
        before = self.write(self.said.messages[:place], ask=True).text
        if not text.startswith(before):
            raise RowError(
                REWRITES,
                "data.template: got chat with a tokenizer whose chat template rewrites earlier messages, "
                "expected one that only appends",
                "data.loss_on=last, a chat template with {% generation %} marks, or data.template=alpaca",
            )
        start, last = len(before), place == len(self.said.messages) - 1
        upto = text if last else self.write(self.said.messages[: place + 1], ask=False).text
        if text.startswith(upto):
            return start, len(upto)
        words = str(self.said.messages[place].get("content", "")).strip()
        end = self._token_end(text, _alike(text, upto))
        if end > start and words in text[start:end]:
            return start, end
        if words and (found := re.compile(rf"\s*{re.escape(words)}\s*").match(text, start)):
            return start, self._after_end_mark(text, found.end())
        raise RowError(
            REWRITES,
            "data.loss_on: got all with a tokenizer whose chat template writes earlier answers otherwise "
            "than the last one, expected one that only appends",
            "data.loss_on=last, or a chat template with {% generation %} marks",
        )

    def _token_end(self, text: str, most: int) -> int:
        """The last end of a token that is not beyond a place."""
        made = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return max((end for _, end in cast(list[Span], made["offset_mapping"]) if end <= most), default=0)

    def _after_end_mark(self, text: str, place: int) -> int:
        marks = sorted(self.tokenizer.get_added_vocab(), key=len, reverse=True)
        return place + len(next((mark for mark in marks if text.startswith(mark, place)), ""))

    def _refuse_unwritten(self) -> None:
        """A template that knows nothing of tools would leave them out without a word."""
        calls = any("tool_calls" in message for message in self.said.messages)
        for there, name in ((calls, "tool_calls"), (bool(self.said.tools), "tools")):
            if there and name not in self.template:
                raise RowError(
                    f"{name} that the chat template does not write",
                    f"got {name} with a tokenizer whose chat template does not write them",
                    "take a model whose template knows tools",
                )


def _alike(first: str, second: str) -> int:
    """How many characters two texts have in common before they differ."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(first), len(second)))
