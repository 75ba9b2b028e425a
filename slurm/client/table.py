"""Tables of squeue and sinfo, told apart from what a site's wrappers and banners print around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from slurm.client.command import Outcome, run

MARK = "frontrunner|"


def ask(command: Sequence[str], form: str, heading: str) -> Outcome:
    """Run a client that prints a table; of its output the rows alone are left.

    Every line of the table begins with our mark, the heading too. So an answer without a heading is no
    answer, such as that of a wrapper which printed something else and ended well; it must not pass for an
    empty queue.

    Args:
        command: the client and its options.
        form: of a row, as `-o` takes it.
        heading: what the client calls the first column.
    """
    outcome = run([*command, "-o", MARK + form])
    return read(outcome, heading) if outcome.ok else outcome


def read(outcome: Outcome, heading: str) -> Outcome:
    """The same outcome with the table's rows as its output."""
    lines = [line.partition(MARK)[2] for line in outcome.stdout.splitlines() if MARK in line]
    if not lines:
        return replace(outcome, garbled="but no table in what it printed")
    rows = [line for line in lines if not line.startswith(heading)]
    return replace(outcome, stdout="".join(f"{row}\n" for row in rows))
