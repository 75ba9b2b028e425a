"""The section on stand-alone evaluations, from the files that `evaluate` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo.formatting import number
from hpo.paths import StudyPaths
from hpo.records import SCHEMA_VERSION, RecordError, read_json
from hpo.reporting.sections.blocks import Block, Cell, Section, TableBlock, TextBlock

_BITS = {"4bit": "4-bit", "16bit": "16-bit"}


def evaluation_section(paths: StudyPaths) -> Section | None:
    """Scores of trials and of the untuned base model by held-out tasks."""
    says = (
        "Trials and the untuned base model judged by tasks: each score with its standard error, and in "
        "brackets its difference to the untuned base model; a task that is marked as seen was an objective."
    )
    blocks: list[Block] = []
    for path in paths.evaluations():
        blocks += _blocks(path)
    return Section("evaluations", "Evaluations", says, blocks) if blocks else None


def _blocks(path: Path) -> list[Block]:
    name = path.parent.name
    try:
        record = read_json(path)
        if record.get("schema_version", 0) > SCHEMA_VERSION:
            return [TextBlock(f"{name}: written by a later version.")]
        metrics = [own for own in record["metrics"] if own["headline"]]
        rows = [_row(own, metrics) for own in record["rows"]]
        over = [_over(own, metrics) for own in record["rows"] if _has_over(own)]
    except (RecordError, FileNotFoundError, KeyError, TypeError, ValueError) as error:
        return [TextBlock(f"{name}: {path.name} cannot be read: {error!r}")]
    titles = [f"{own['task']} {own['metric']}" + (" (seen)" if own["seen"] else "") for own in metrics]
    head = ["", "base", *titles, "average"]
    so_far = "" if record.get("complete") else ", as far as it has come"
    blocks: list[Block] = [TableBlock(head, rows, f"{name}{so_far}")]
    if over:
        blocks.append(
            TableBlock(head, over, f"{name}: the base of 16 bits against that of 4, under the same adapter")
        )
    return blocks


def _row(row: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> list[Cell]:
    scores = row["scores"]
    cells: list[Cell] = [_score(scores.get(own["name"])) for own in metrics]
    if not scores:
        told: list[Cell] = [f"{row['state']} {row['message']}".strip(), *([""] * (len(metrics) - 1))]
        cells = told[: len(metrics)]
    return [str(row["subject"]), _BITS.get(row["base"], row["base"]), *cells, _score(row.get("average"))]


def _has_over(row: Mapping[str, Any]) -> bool:
    return any(score.get("over_4bit") for score in row["scores"].values())


def _over(row: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> list[Cell]:
    scores = [*(row["scores"].get(own["name"]) for own in metrics), row.get("average")]
    cells: list[Cell] = [_contrast(score["over_4bit"]) if score else "" for score in scores]
    return [str(row["subject"]), "16 - 4", *cells]


def _score(score: Mapping[str, Any] | None) -> str:
    if not score:
        return ""
    delta = _contrast(score.get("delta"))
    return number(float(score["value"])) + _error(score) + (f" ({delta})" if delta else "")


def _contrast(contrast: Mapping[str, Any] | None) -> str:
    return f"{contrast['value']:+.4g}{_error(contrast)}" if contrast else ""


def _error(told: Mapping[str, Any]) -> str:
    error = told.get("standard_error")
    return "" if error is None else f" ± {error:.2g}"
