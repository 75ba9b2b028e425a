"""Reads the rows of one source as its template wants them, and takes note of what it does not read."""

from __future__ import annotations

from jobs.data.files import FileRow
from jobs.data.pieces import Example
from jobs.data.templates import WriteChat, mapped, recognised, render
from jobs.data.values import Fields, marked_wrong
from jobs.recipes.data import DataSource, LossOn, Template


class RowReader:
    """What makes examples out of the rows of a source.

    Args:
        template: in place of the source's, where that is a file.
    """

    def __init__(
        self, source: DataSource, loss_on: LossOn, write_chat: WriteChat, template: str | None = None
    ) -> None:
        self._source, self._loss_on, self._write_chat = source, loss_on, write_chat
        self._template = template or source.template
        self.recognised: Template | None = None  # where the template is auto, once a row has told
        self._read: set[str] = set()
        self._there: set[str] = set()

    def read(self, at: FileRow) -> Example | str:
        """The example of a row; or why it is not one to learn from.

        Raises:
            RowError: the row is of no use.
            DataError: see `jobs.data.templates.render`.
        """
        if at.problem:
            raise at.problem
        row, columns = at.filled, self._source.columns
        fields = Fields(mapped(row, columns))
        if self._template == Template.AUTO:
            self._template = self.recognised = recognised(fields.row)
        wrong = marked_wrong(fields) if self._template in list(Template) else None
        if wrong:
            return f"marked as no answer to learn ({wrong}: false)"
        example = render(self._template, fields, self._write_chat, self._loss_on)
        self._read |= {columns.get(name) or name for name in fields.read}
        self._there |= {name for name, value in row.items() if value is not None and value == value}
        return example

    @property
    def unread(self) -> set[str]:
        """The columns that hold something and were not asked for, by their names in the file."""
        hidden = {name for name, theirs in self._source.columns.items() if theirs is None}
        return self._there - self._read - hidden
