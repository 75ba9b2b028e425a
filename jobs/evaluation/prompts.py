"""The fixed prompts of an evaluation: how a model reads them, and what is wrong with them. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobs.data.conversation import ANSWER, QUESTION
from jobs.data.pieces import Example
from jobs.data.templates import WriteChat, recognised, render
from jobs.data.values import Row
from jobs.errors import DataError
from jobs.recipes.data import TEMPLATE_FILES, Template
from jobs.recipes.evaluation import SampleRecipe

UNSAID = "?"  # in place of the answer, which is what is asked for; templates want one
# The columns of a prompt by template; of the first ones each row has one.
ASKING = {
    Template.ALPACA: (QUESTION, ("input", "system", "history")),
    Template.CHAT: (("messages", "conversations", *QUESTION), ("input", "system", "history", "tools")),
    Template.COMPLETION: (QUESTION, ()),
    Template.HUMAN_ASSISTANT: (("messages", "conversations", *QUESTION), ("input", "system", "history")),
}


def written(asked: str | Row, template: str, write_chat: WriteChat) -> Example:
    """A prompt as the model reads it; its response is empty.

    Args:
        asked: a row without its answer, or a text that is taken as it is.
        template: of the recipe: one of `Template`, or Jinja text.

    Raises:
        DataError: see `jobs.data.templates.render`.
    """
    if isinstance(asked, str):
        return Example(asked, "")
    return replace(render(template, _answered(asked, template), write_chat), response="", gaps=())


def _answered(asked: Row, template: str) -> Row:
    for name in ("messages", "conversations"):
        if isinstance(said := asked.get(name), list):
            return {**asked, name: [*said, {"role": "assistant", "content": UNSAID}]}
    return {**asked, ANSWER[0]: UNSAID} if template in list(Template) else asked


def prompt_problems(samples: SampleRecipe | None, template: str) -> list[tuple[str, str]]:
    """(key path, what is wrong) for the prompts of an evaluation.

    Args:
        template: of the recipe's data, or a file that holds it.
    """
    if samples is None:
        return []
    if template.endswith(TEMPLATE_FILES) and "{%" not in template:
        try:
            template = Path(template).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return []  # told where the data is looked at
    found = [(number, _problem(asked, template)) for number, asked in enumerate(samples.prompts)]
    return [(f"evaluation.samples.prompts.{number}", problem) for number, problem in found if problem]


def _problem(asked: str | Mapping[str, Any], template: str) -> str:
    if isinstance(asked, Mapping) and template in list(Template):
        problem = _columns_problem(asked, Template(template))
        if problem:
            return problem
    try:
        example = written(asked, template, lambda said, loss_on: Example(UNSAID, UNSAID))
    except DataError as error:
        return str(error)
    return "" if example.prompt.strip() else f"got {asked!r}, which asks nothing, expected a prompt"


def _columns_problem(asked: Row, template: Template) -> str:
    if template is Template.AUTO:
        try:
            template = recognised(_answered(asked, template))
        except DataError as error:
            return str(error)
    if template not in ASKING:
        return "got a row, expected a text, as data.template=text has no prompts"
    one_of, more = ASKING[template]
    said = asked.get("messages", asked.get("conversations"))
    last = said[-1] if isinstance(said, list) and said else None
    if isinstance(last, Mapping) and {"assistant", "gpt"} & {last.get("role"), last.get("from")}:
        return "got a conversation that ends with the assistant's message, expected one that asks for it"
    if sum(name in asked for name in one_of) == 1 and asked.keys() <= {*one_of, *more}:
        return ""
    expected = f"one of {', '.join(one_of)}" + "".join(f", and perhaps {name}" for name in more)
    columns = ", ".join(map(str, asked)) or "none"
    return f"got the columns {columns}, expected for data.template={template.value} {expected}"
