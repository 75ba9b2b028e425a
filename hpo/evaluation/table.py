"""An evaluation as tables: on the screen, and as long rows for a CSV file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from hpo.evaluation.deltas import (
    FOUR_BIT,
    SIXTEEN_BIT,
    Contrast,
    Evaluation,
    EvaluationRow,
    RowScore,
    ScoreMetric,
)


def show(evaluation: Evaluation, console: Console) -> None:
    """Print the scores with their deltas, 16 bits against 4, what failed, and where the files are.

    Args:
        evaluation: as far as it is there.
        console: where to print it.
    """
    headlines = [one for one in evaluation.metrics if one.headline]
    limit = evaluation.settings["tasks"].get("limit")
    documents = "all documents" if limit is None else f"the first {limit} documents of each task"
    console.print(f"{evaluation.study}: {documents}; in brackets the difference to the untuned base model")
    console.print(_scores(evaluation.rows, headlines))
    over = [row for row in evaluation.rows if any(score.over_4bit for score in row.scores.values())]
    if over:
        console.print("\nthe base of 16 bits against that of 4 bits, under the same adapter")
        console.print(_over(over, headlines))
    if any(one.seen for one in headlines):
        console.print("\n(seen): an objective of the tuning, so no longer unseen data", highlight=False)
    failed = [row for row in evaluation.rows if row.state in ("failed", "cancelled")]
    for row in failed:
        console.print(f"{row.subject} {row.base} {row.state}: {row.message}", markup=False, soft_wrap=True)
    if failed:
        console.print(f"`frontrunner retry {evaluation.folder}` gives them another attempt", soft_wrap=True)
    console.print(f"\nfiles     {evaluation.folder}/evaluation.json, .csv", highlight=False, soft_wrap=True)


def _scores(rows: Sequence[EvaluationRow], metrics: Sequence[ScoreMetric]) -> Table:
    table = _table(metrics)
    for row in rows:
        if row.scores:
            cells = [_score(row.scores.get(one.name)) for one in metrics]
            table.add_row(row.subject, _bits(row.base), *cells, _score(row.average))
    return table


def _over(rows: Sequence[EvaluationRow], metrics: Sequence[ScoreMetric]) -> Table:
    table = _table(metrics)
    for row in rows:
        scores = [row.scores.get(one.name) for one in metrics]
        cells = [_contrast(score.over_4bit) if score else "" for score in (*scores, row.average)]
        table.add_row(row.subject, "16 - 4", *cells)
    return table


def _table(metrics: Sequence[ScoreMetric]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("base")
    for one in metrics:
        seen = " (seen)" if one.seen else ""
        table.add_column(f"{one.task} {one.metric}{seen}", justify="right")
    table.add_column("average", justify="right")
    return table


def _score(score: RowScore | None) -> str:
    if score is None:
        return ""
    error = "" if score.standard_error is None else f" ±{score.standard_error:.4f}"
    delta = f" ({_contrast(score.delta)})" if score.delta else ""
    return f"{score.value:.4f}{error}{delta}"


def _contrast(contrast: Contrast | None) -> str:
    if contrast is None:
        return ""
    error = "" if contrast.standard_error is None else f" ±{contrast.standard_error:.4f}"
    return f"{contrast.value:+.4f}{error}"


def _bits(base: str) -> str:
    return {FOUR_BIT: "4-bit", SIXTEEN_BIT: "16-bit"}[base]


COLUMNS = (
    "subject", "base", "task", "metric", "headline", "seen", "documents", "score", "standard_error",
    "delta", "delta_standard_error", "delta_paired", "over_4bit", "over_4bit_standard_error",
)  # fmt: skip


def csv_rows(evaluation: Evaluation) -> Iterator[tuple[Any, ...]]:
    """The evaluation as long rows, see `COLUMNS`; averages have the task `average`."""
    for row in evaluation.rows:
        for one in evaluation.metrics:
            if one.name in row.scores:
                about = (one.task, one.metric, one.headline, one.seen)
                yield (row.subject, row.base, *about, *_cells(row.scores[one.name]))
        if row.average:
            about = ("average", "", True, any(one.seen for one in evaluation.metrics if one.averaged))
            yield (row.subject, row.base, *about, *_cells(row.average))


def _cells(score: RowScore) -> tuple[Any, ...]:
    delta, over = score.delta, score.over_4bit
    return (
        score.documents, score.value, score.standard_error,
        *((delta.value, delta.standard_error, delta.paired) if delta else (None, None, None)),
        *((over.value, over.standard_error) if over else (None, None)),
    )  # fmt: skip
