"""`plan --simulate`: a study's end and cost beforehand, kept for the report of what came."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from written_study import write_study

from hpo import cli
from hpo.commands.plan import plan
from hpo.commands.planning import model, simulate
from hpo.commands.tune import tune
from hpo.controller.assembly import assemble
from hpo.controller.compose import compose_config
from hpo.errors import InputError
from hpo.forecasts.simulated import SimulatedEnds, Spread
from hpo.formatting import duration
from hpo.paths import StudyPaths
from hpo.reporting.sections.blocks import FigureBlock, TableBlock, TextBlock
from hpo.reporting.sections.forecast import forecast_section
from hpo.study.gpu_hours import used
from hpo.study.journal import load_study
from hpo.study.snapshot import elapsed_s, take

HOURS = [
    *("experiment=none", "trainer=synthetic", "cluster=simulated", "strategy=random", "batch.size=6"),
    *("trainer.seconds=3600", "trainer.step_seconds=120", "trainer.checkpoint_every_s=900"),
    *("cluster.nodes=1", "cluster.gpus_per_node=4", "report.automatic=false"),
    *("cluster.preemptions_per_gpu_hour=0.4", "cluster.queue_wait=300", "trainer.start_seconds=120"),
]


def overrides(folder: Path, *more: str) -> list[str]:
    """A study of six trials of an hour on four cards that come and go."""
    return [*HOURS, "budget.trials=6", f"study.root={folder}", "study.name=s", *more]


def shown(folder: Path, *more: str, runs: int = 19) -> str:
    """What `plan --simulate` prints."""
    out = io.StringIO()
    assert plan(overrides(folder, *more), None, Console(file=out, width=200), runs) == 0
    return out.getvalue()


def material_of(paths: StudyPaths) -> Any:
    """As much of a report's material as the section looks at."""
    snapshot = take(paths)
    return SimpleNamespace(snapshot=snapshot, study=snapshot.study)


@pytest.fixture
def quick_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """One true run stands for all: the others take a percent longer each."""
    real = simulate._run
    known: dict[int, Any] = {}

    def run(raw: Any, seed: int) -> Any:
        key = raw["budget"]["trials"]
        known[key] = known.get(key) or real(raw, 1)
        seconds, usage = known[key]
        return seconds * (1 + seed / 100), usage

    monkeypatch.setattr(simulate, "_run", run)


def test_a_forecast_is_shown_kept_and_set_beside_what_came(
    tmp_path: Path, quick_runs: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """As text and as JSON; beside the study until `tune` has made it; then in its report."""
    text = shown(tmp_path)
    assert "simulated 19 times: 4 at once, 0.4 preemptions a GPU-hour, 5m00s in the queue on average" in text
    paths = StudyPaths(tmp_path / "s")
    assert not paths.folder.exists()
    kept = SimulatedEnds.read(paths.early_forecast)
    assert set(kept.lines()) <= set(text.splitlines())
    assert cli.main(["plan", "--simulate", "19", "--json", *overrides(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["seconds"] == vars(Spread.of(kept.seconds))
    assert tune(overrides(tmp_path), None, Console(quiet=True)) == 0
    assert not paths.early_forecast.exists()
    section = forecast_section(material_of(paths))
    assert section is not None
    words, table, figure = section.blocks
    assert isinstance(words, TextBlock)
    assert "before the first trial: 4 at once" in words.text
    assert isinstance(table, TableBlock)
    study = load_study(paths.journal)
    came = [duration(elapsed_s(study)), f"{used(study).hours:.3g}"]
    assert [row[3] for row in table.rows[:2]] == came
    within = Spread.of(kept.seconds).holds(elapsed_s(study))
    assert table.rows[0][4] == ("yes" if within else "no")
    assert isinstance(figure, FigureBlock)
    assert [list(trace.x) for trace in figure.figure.data][1] == kept.gpu_hours
    with pytest.raises(InputError, match="nothing is left to simulate"):
        shown(tmp_path)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_shows_how_far_the_runs_are(tmp_path: Path, quick_runs: None, terminal: bool) -> None:
    """And nothing else does: what is piped holds the forecast alone."""
    out = io.StringIO()
    console = Console(file=out, width=200, force_terminal=terminal)
    assert plan(overrides(tmp_path), None, console, 19) == 0
    assert ("simulating the study" in out.getvalue()) is terminal


def test_a_report_without_a_forecast_has_no_such_section(tmp_path: Path) -> None:
    """Nor one whose forecast is damaged."""
    paths = write_study(tmp_path / "s", 4)
    assert forecast_section(material_of(paths)) is None
    paths.forecast.write_text("{")
    assert forecast_section(material_of(paths)) is None


@pytest.mark.slow
def test_a_run_is_the_study_that_has_its_seeds(tmp_path: Path) -> None:
    """To the microsecond that times are rounded to; another seed is another study."""
    parts = assemble(*compose_config(overrides(tmp_path)))
    raw = model.model_of(parts, simulate.study_of(parts)).raw
    (seconds, usage), (others, _) = simulate._run(raw, 1), simulate._run(raw, 2)
    seeds = ["cluster.simulation_seed=1", f"study.seed={simulate.SEEDS}"]
    assert tune(overrides(tmp_path, *seeds), None, Console(quiet=True)) == 0
    study = load_study(StudyPaths(tmp_path / "s").journal)
    assert seconds == pytest.approx(elapsed_s(study), abs=1e-4)
    assert usage.hours == pytest.approx(used(study).hours, abs=1e-7)
    assert abs(others - seconds) > 1


def test_another_kind_of_trials_takes_as_long_as_its_completed_ones(tmp_path: Path) -> None:
    """Their mean, and the deviation of their logarithm."""
    paths = write_study(tmp_path / "s", 12)
    study = load_study(paths.journal)
    work = model.work_time(SimpleNamespace(), study)  # type: ignore[arg-type] # which it asks nothing
    completed = {trial.id for trial in study.trials.values() if trial.state == "completed"}
    took: dict[str, float] = {}
    for end in study.ends:
        if end.trial in completed:
            useful = end.seconds if end.cause is None else end.useful_seconds
            took[end.trial] = took.get(end.trial, 0.0) + useful
    assert work.mean == pytest.approx(fmean(took.values()))
    logs = [math.log(seconds) for seconds in took.values()]
    mean = fmean(logs)
    assert work.sigma == pytest.approx((sum((one - mean) ** 2 for one in logs) / (len(logs) - 1)) ** 0.5)
    assert work.source == f"as the {len(completed)} completed ones took"


def test_what_is_left_of_a_study_is_simulated(tmp_path: Path, quick_runs: None) -> None:
    """Six trials done of ten: four are run, after what has passed and was used."""
    assert tune(overrides(tmp_path), None, Console(quiet=True)) == 0
    paths = StudyPaths(tmp_path / "s")
    events = [line for line in paths.journal.read_text().splitlines() if '"study_finished"' not in line]
    paths.journal.write_text("\n".join([*events, ""]))
    shown(tmp_path, "budget.trials=10")
    kept, study = SimulatedEnds.read(paths.forecast), load_study(paths.journal)
    assert kept.trials == 6
    assert min(kept.gpu_hours) > used(study).hours
    four = assemble(*compose_config(overrides(tmp_path / "new", "budget.trials=4")))
    assert kept.gpu_hours[0] - used(study).hours == pytest.approx(
        simulate.simulated(four, simulate.study_of(four), 19).gpu_hours[0]
    )


def test_too_few_runs_hold_nothing(tmp_path: Path) -> None:
    """One error, and nothing left behind."""
    with pytest.raises(InputError, match="got 18, expected at least 19"):
        shown(tmp_path, runs=18)
    assert list(tmp_path.iterdir()) == []


def test_trials_of_which_nothing_is_known_are_refused(tmp_path: Path) -> None:
    """A program of which no trial has completed yet."""
    program = [
        *("experiment=none", "trainer=command", "trainer.argv=[true, '{x}']", "trainer.metrics=[eval_loss]"),
        *("space=none", "space.x=interval(0, 1)", "objectives=loss", "cluster=local", "study.name=s"),
    ]
    parts = assemble(*compose_config([*program, f"study.root={tmp_path}"]))
    with pytest.raises(InputError, match="nothing tells how long trials take"):
        simulate.simulated(parts, simulate.study_of(parts), 19)


def test_json_belongs_to_simulate(capsys: pytest.CaptureFixture[str]) -> None:
    """Said with exit 2."""
    assert cli.main(["plan", "--json"]) == 2
    assert "--simulate N" in capsys.readouterr().err


@pytest.mark.slow
def test_the_intervals_hold_what_studies_come_to(tmp_path: Path) -> None:
    """Of thirty studies on clusters of other seeds; at 90%, fewer than 22 would come once in 500 times."""
    more = ["budget.trials=16", "cluster.node_failures_per_hour=0.05"]
    parts = assemble(*compose_config(overrides(tmp_path, *more)))
    forecast = simulate.simulated(parts, simulate.study_of(parts), 39)
    ends, hours = 0, 0
    for seed in range(500, 530):
        own = [f"cluster.simulation_seed={seed}", f"study.seed={seed}", f"study.root={tmp_path / str(seed)}"]
        assert tune(overrides(tmp_path, *more, *own), None, Console(quiet=True)) == 0
        study = load_study(StudyPaths(tmp_path / str(seed) / "s").journal)
        ends += Spread.of(forecast.seconds).holds(elapsed_s(study))
        hours += Spread.of(forecast.gpu_hours).holds(used(study).hours)
    assert (ends >= 22, hours >= 22) == (True, True)
