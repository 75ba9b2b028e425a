"""Earlier studies taken along: what fits, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpo.errors import InputError
from hpo.objectives import parse_objectives
from hpo.records import append_jsonl
from hpo.space.space import parse_space
from hpo.study.warm_start import gather

SPACE = parse_space({"x": "interval(0, 1)"})
OBJECTIVES = parse_objectives({"loss": "min"})


def write_study(folder: Path, xs: list[float], metric: str = "loss") -> None:
    """A study's journal with a completed trial for each value of x, and one that was cancelled."""
    folder.mkdir()

    def event(name: str, **fields: Any) -> None:
        common = {"schema_version": 1, "at": "2026-01-01T00:00:00+00:00", "event": name}
        append_jsonl(folder / "journal.jsonl", {**common, **fields})

    same: dict[str, Any] = {"objectives": {}, "settings": {}, "identity": {}}
    event("study_created", study=folder.name, uid="0", **same)
    ids = [f"{number:04d}" for number in range(len(xs) + 1)]
    trials = [
        {"trial": own, "number": int(own), "params": {"x": x}, "seed": 0, "origin": "sobol", "note": ""}
        for own, x in zip(ids, [*xs, 0.5], strict=True)
    ]
    event("batch_planned", batch="0000", proposals=trials, retries=[])
    for own, x in zip(ids, xs, strict=False):
        event("trial_completed", trial=own, attempt=1, metrics={metric: {"value": x, "standard_error": 0.1}})
    event("trial_cancelled", trial=ids[-1])


def test_completed_trials_of_the_space_are_taken_with_their_errors(tmp_path: Path) -> None:
    """2.0 is not of the space; the cancelled trial has no result."""
    write_study(tmp_path / "before", [0.25, 0.75, 2.0])
    found = gather({"known": ["before"], "related": []}, tmp_path, SPACE, OBJECTIVES)
    assert found["related"] == []
    [study] = found["known"]
    assert study["study"] == "before"
    assert study["trials"] == [{"params": {"x": x}, "metrics": {"loss": [x, 0.1]}} for x in (0.25, 0.75)]


def test_what_does_not_fit_is_refused_by_key(tmp_path: Path) -> None:
    """No study of that name, and one that measured something else: both are said."""
    write_study(tmp_path / "other", [0.25, 0.75], metric="accuracy")
    with pytest.raises(InputError) as refused:
        gather({"known": ["nowhere"], "related": ["other"]}, tmp_path, SPACE, OBJECTIVES)
    keys = [key for key, _ in refused.value.problems]
    assert keys == ["study.known", "study.related"]
    assert "no study 'nowhere'" in refused.value.problems[0][1]
    assert "of the 2 completed trials of other, 0 fit" in refused.value.problems[1][1]
