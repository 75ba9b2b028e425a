"""Learning curves for other tools: a trial's progress log without the steps that a later attempt repeated."""

from __future__ import annotations

from pathlib import Path

from hpo.records import Progress, RecordError, read_jsonl

MOST = 1000  # points of one curve: what tools draw in one


def learning_curve(path: Path, most: int = MOST) -> list[Progress]:
    """The records of a progress log that tell a loss, by step; a long one is thinned out.

    Args:
        path: progress.jsonl; one that is not there or damaged has no points.
        most: points, at least 2; the last step is always among them.
    """
    try:
        records = [Progress.from_json(line, path) for line in read_jsonl(path)]
    except RecordError:
        return []
    told: dict[int, Progress] = {}
    for record in records:
        known = told.get(record.step)
        if record.loss is not None or record.eval_loss is not None:
            told[record.step] = _merged(known, record) if known else record
    points = [told[step] for step in sorted(told)]
    every = max(1, -(-(len(points) - 1) // (most - 1)))
    return points if every == 1 else [*points[:-1:every], points[-1]]


def _merged(old: Progress, new: Progress) -> Progress:
    """Of two records of a step, the newer one's word; a value that it does not tell stays."""
    kept = {name: value for name, value in new.__dict__.items() if value is not None}
    return Progress(**{**old.__dict__, **kept})
