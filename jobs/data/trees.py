"""Conversations out of trees of messages, as OpenAssistant's are: a row a message, which names its parent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from jobs.data.files import FileRow

MESSAGE = ("message_id", "parent_id", "role", "text")  # columns of such a row
USERS = ("prompter", "user")


def is_forest(rows: Sequence[FileRow]) -> bool:
    """Whether rows are the messages of trees."""
    first = next((one.row for one in rows if one.problem is None), {})
    return all(name in first for name in MESSAGE)


def conversations(rows: Iterable[FileRow]) -> Iterator[FileRow]:
    """One conversation of each tree, as rows of `messages`: at each turn the reply that was ranked best.

    It ends with the last answer on its way. Rows that cannot be read stay as they are; a tree without an
    answer gives nothing.
    """
    replies: dict[Any, list[FileRow]] = {}
    for one in rows:
        if one.problem is not None:
            yield one
        else:
            replies.setdefault(one.row["parent_id"] or None, []).append(one)
    for root in replies.get(None, []):
        said = [_message(root)]
        node: FileRow | None = root
        while node is not None and (further := replies.get(node.row["message_id"])):
            node = min(further, key=_rank)
            said.append(_message(node))
        while said and said[-1]["role"] != "assistant":
            said.pop()
        if said:
            yield FileRow({"messages": said}, root.file, root.number)


def _message(one: FileRow) -> dict[str, Any]:
    return {"role": "user" if one.row["role"] in USERS else "assistant", "content": one.row["text"]}


def _rank(one: FileRow) -> tuple[float, int]:
    """The best is 0; what nobody has ranked comes last, in the order of the file."""
    rank = one.row.get("rank")
    return (float(rank) if isinstance(rank, int | float) and rank == rank else float("inf"), one.number)
