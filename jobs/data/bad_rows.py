"""What follows from rows that are of no use: the end, or a count of them. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobs.errors import DataError, RowError
from jobs.recipes.data import BadRows, DataRecipe, DataSource

SKIP = "data.bad_rows=skip leaves such rows out and counts them"


@dataclass
class BadRowCount:
    """The rows of no use that were met, by reason.

    Args:
        rows: how many were looked at, good and bad.
    """

    data: DataRecipe
    rows: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)  # of each reason: where it stands, and what is wrong

    def meet(self, source: DataSource, where: str, error: RowError) -> None:
        """Take note of one.

        Raises:
            DataError: `data.bad_rows` is stop.
        """
        what, _, hint = str(error).partition("\n\nhint: ")
        if self.data.bad_rows is BadRows.STOP:
            key = self.data.key_of(source, error.setting)
            raise DataError(f"{key}: {where}: {what}", f"{hint}; {SKIP}" if hint else SKIP)
        self.reasons[error.reason] = self.reasons.get(error.reason, 0) + 1
        self.first.setdefault(error.reason, f"{where}: {what}")

    def conclude(self) -> None:
        """Say whether there are few enough.

        Raises:
            DataError: there are more than `data.bad_rows_limit`.
        """
        bad, limit = sum(self.reasons.values()), self.data.bad_rows_limit
        if bad > limit * self.rows:
            listed = "\n".join(self.lines())
            raise DataError(
                f"data.bad_rows: got {bad} bad rows of {self.rows}, expected at most "
                f"{limit:.3g} of them\n{listed}",
                "mend the rows or data.template, or raise data.bad_rows_limit",
            )

    def lines(self) -> list[str]:
        """How many of each reason, the most frequent first, and the first of them."""
        ordered = sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))
        return [f"skipped {count}: {reason}, first {self.first[reason]}" for reason, count in ordered]
