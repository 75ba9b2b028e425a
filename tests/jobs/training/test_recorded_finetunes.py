"""The recorder of fine-tunes: what trials come to, once each, whatever interrupts it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.finetunes.recording import RecordingError, record
from benchmarks.finetunes.sets import FineTunes
from hpo.paths import TrialPaths
from hpo.records import TrialResult
from hpo.space.space import parse_space
from jobs import run_trial
from jobs.kinds.qlora import Qlora
from jobs.prepare.trials import _prepare
from jobs.recipes.recipe import parse
from jobs.recipes.recorded import load

pytestmark = pytest.mark.usefixtures("keep_handlers")


def in_this_process(kind: Qlora, recipe: dict[str, Any], cache: str, say: Callable[[str], None]) -> None:
    """What a process of its own does, which would load torch again."""
    _prepare(parse(recipe), Path(cache))


@pytest.mark.slow
def test_what_is_recorded_is_what_trials_come_to(
    recipe: dict[str, Any],
    cache: Path,
    tmp_path: Path,
    make_trial: Callable[..., TrialPaths],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A trial of the same seed has the same loss; failures and rungs are there; what is there stays."""
    monkeypatch.setattr(Qlora, "prepare", in_this_process)
    recipe["trainer"] |= {"micro_batch_size": None, "gradient_checkpointing": False}
    space = parse_space({"divergence_loss": "choice(0.1, 20.0)", "learning_rate": "interval(1e-3, 1e-2)"})
    chosen = FineTunes("tiny", {"about": "", "licence": ""}, recipe, space, (1 / 3, 2 / 3, 1.0), 4, seed=0)
    file = tmp_path / "tables" / "tiny.jsonl"
    record(chosen, file, 4, cache, lambda line: None)
    table = load(file)
    diverged = [trial for trial in table.trials if trial.params["divergence_loss"] == 0.1]
    assert len(diverged) == 2  # Sobol points: half of four
    assert [trial.failure is not None for trial in table.trials].count(True) == 2
    assert all(
        trial.failure and (trial.failure.cause, trial.failure.step) == ("diverged", 1) for trial in diverged
    )
    whole = next(trial for trial in table.trials if trial.failure is None)
    assert [point.step for point in whole.measured] == [2, 4, 6]
    assert table.untuned["eval_loss"].value > whole.measured[-1].metrics["eval_loss"].value
    applied = {**recipe, "trainer": {**recipe["trainer"], **whole.params}}
    paths = make_trial(applied, seed=whole.number)
    assert run_trial.main(str(paths.folder.parent.parent), "000", paths.folder.name) == 0
    assert whole.measured[-1].metrics["eval_loss"] == TrialResult.read(paths.metrics).metrics["eval_loss"]

    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:2], lines[3], lines[4][:20]]))  # one is missing, one is torn
    record(chosen, file, 4, cache, lambda line: None)
    again = load(file)
    ends = [
        [trial.measured[-1:] and trial.measured[-1].metrics["eval_loss"] for trial in one.trials]
        for one in (table, again)
    ]
    assert ends[0] == ends[1]
    assert len(file.read_text().splitlines()) == 5
    with pytest.raises(RecordingError, match="other fine-tunes"):
        record(replace(chosen, rungs=(0.5, 1.0)), file, 4, cache, lambda line: None)
    assert json.loads(file.read_text().splitlines()[0])["recipe"]["data"]["path"] == "rows.jsonl"
