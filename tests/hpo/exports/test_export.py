"""A study in other tools' formats, read back with those tools."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hpo.commands import export as module
from hpo.commands.export import export
from hpo.errors import FrontrunnerError, InputError
from hpo.objectives import parse_objectives
from hpo.paths import StudyPaths
from hpo.records import Progress, append_jsonl
from hpo.space.space import parse_space
from hpo.study.journal import Journal
from hpo.study.learning_curves import learning_curve
from hpo.study.snapshot import pareto_trials, take
from hpo.study.state import Event
from hpo.study.store import create_study
from hpo.study.warm_start import gather

SPACE = parse_space(
    {
        "learning_rate": "tag(log, interval(1e-5, 1e-2))",
        "lora_rank": "range(4, 63, step=4)",
        "target_modules": "choice(qv, all)",
        "lora_alpha": "derive(2 * lora_rank)",
        "packing": True,
    }
)
OBJECTIVES = {
    "eval_loss": {"direction": "min", "threshold": None},
    "accuracy": {"direction": "max", "threshold": None},
}
# loss and accuracy, or the cause of a failure, or "" for a trial that runs. By hand: 0, 2 and 5 are on the
# front; 1 is beaten by 0; 6 equals 5, so both are on it or both off
OUTCOMES: list[Any] = [
    *((1.0, 0.5), (1.5, 0.4), (2.0, 0.9), "diverged", "cancelled", (0.8, 0.3), (0.8, 0.3), ""),
]
FRONT = ["0000", "0002", "0005", "0006"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyPaths:
    """Eight trials, with learning curves; one trial's second attempt repeated a step."""
    paths = StudyPaths(tmp_path_factory.mktemp("studies") / "mine")
    created = {"objectives": OBJECTIVES, "settings": {"budget": {"trials": 20}}}
    create_study(paths, {}, {"space": SPACE.describe()}, created)
    journal = Journal(paths.journal)
    journal.record(Event.BATCH_PLANNED, batch="0000", retries=[], proposals=[_proposal(n) for n in range(8)])
    for number, outcome in enumerate(OUTCOMES):
        _end(journal, f"{number:04d}", outcome)
        log = paths.trial(f"{number:04d}").progress
        log.parent.mkdir()
        for attempt, step, loss in ((1, 1, 3.0), (1, 2, 9.0), (2, 2, 2.5), (2, 3, 2.0)):
            line = Progress(attempt, "training", step, 3, loss=loss, learning_rate=1e-3)
            append_jsonl(log, line.to_json(), durable=False)
    return paths


def _proposal(number: int) -> dict[str, Any]:
    rank = 4 * (number + 1)
    params = {
        "learning_rate": 1e-5 * (number + 1),
        "lora_rank": rank,
        "target_modules": "qv" if number % 2 else "all",
        "lora_alpha": 2 * rank,
        "packing": True,
    }
    return {"trial": f"{number:04d}", "number": number, "params": params, "origin": "sobol"}


def _end(journal: Journal, trial: str, outcome: Any) -> None:
    if isinstance(outcome, tuple):
        metrics = {
            "eval_loss": {"value": outcome[0], "standard_error": 0.01},
            "accuracy": {"value": outcome[1], "standard_error": None},
            "tokens": {"value": 1e6, "standard_error": None},
        }
        journal.record(Event.TRIAL_COMPLETED, trial=trial, metrics=metrics)
    elif outcome == "cancelled":
        journal.record(Event.TRIAL_CANCELLED, trial=trial)
    elif outcome:
        journal.record(Event.TRIAL_FAILED, trial=trial, cause=outcome, message="loss is NaN")


def exported(study: StudyPaths, kind: str, to: Path | str | None = None) -> str:
    out = Console(file=io.StringIO(), width=300)
    assert export(str(study.folder), study.folder.parent, kind, str(to) if to else None, out) == 0
    return out.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_table_as_csv(study: StudyPaths) -> None:
    """Every trial a row; the front is flagged as worked by hand."""
    exported(study, "csv")
    rows = list(csv.DictReader((study.export / "trials.csv").open()))
    assert [row["trial"] for row in rows if row["on_front"] == "true"] == FRONT
    assert rows[3]["cause"] == "diverged"
    assert (rows[0]["eval_loss_se"], rows[3]["eval_loss"]) == ("0.01", "")
    assert "accuracy_se" not in rows[0]  # nobody knows it


def test_an_exported_table_is_known_to_a_new_study(study: StudyPaths, tmp_path: Path) -> None:
    """`study.known` takes the file as it is: five results, and neither the failure nor what runs."""
    exported(study, "csv", tmp_path / "mine.csv")
    named = {"known": [str(tmp_path / "mine.csv")], "related": []}
    [known] = gather(named, tmp_path, SPACE, parse_objectives(OBJECTIVES))["known"]
    journalled = [trial for trial in take(study).study.trials.values() if trial.metrics]
    assert [one["params"] for one in known["trials"]] == [trial.params for trial in journalled]
    assert known["trials"][0]["metrics"] == {"eval_loss": [1.0, 0.01], "accuracy": [0.5, None]}


def test_table_as_parquet(study: StudyPaths, tmp_path: Path) -> None:
    """The same rows, with numbers as numbers."""
    parquet = pytest.importorskip("pyarrow.parquet")
    exported(study, "parquet", tmp_path / "t.parquet")
    table = parquet.read_table(tmp_path / "t.parquet").to_pylist()
    assert [row["trial"] for row in table if row["on_front"]] == FRONT
    assert table[1]["lora_rank"] == 8
    assert table[3]["eval_loss"] is None


def test_optuna_finds_the_same_front(study: StudyPaths, tmp_path: Path) -> None:
    """Its best_trials are our front; states, values, distributions and attributes are what the study says."""
    optuna = pytest.importorskip("optuna")
    said = exported(study, "optuna", tmp_path / "o.db")
    assert f"optuna-dashboard sqlite:///{tmp_path}/o.db" in said
    loaded = optuna.load_study(study_name="mine", storage=f"sqlite:///{tmp_path}/o.db")
    ours = [trial.id for trial in pareto_trials(take(study).study, parse_objectives(OBJECTIVES))]
    theirs = sorted(trial.user_attrs["trial"] for trial in loaded.best_trials)
    assert theirs == sorted(ours) == FRONT
    assert loaded.metric_names == ["eval_loss", "accuracy"]
    names = [trial.state.name for trial in loaded.trials]
    assert names == [*["COMPLETE"] * 3, "FAIL", "PRUNED", "COMPLETE", "COMPLETE", "RUNNING"]
    first = loaded.trials[0]
    assert first.values == [1.0, 0.5]
    assert first.params == {
        "learning_rate": 1e-5,
        "lora_rank": 4,
        "target_modules": "all",
        "packing": True,
    }
    assert first.distributions["learning_rate"] == optuna.distributions.FloatDistribution(
        1e-5, 1e-2, log=True
    )
    assert first.distributions["lora_rank"] == optuna.distributions.IntDistribution(4, 60, step=4)
    assert first.user_attrs["lora_alpha"] == 8  # derived: no parameter of Optuna's
    assert first.user_attrs["eval_loss_se"] == 0.01
    assert first.intermediate_values == {1: 3.0, 2: 2.5, 3: 2.0}
    assert loaded.trials[3].user_attrs["cause"] == "diverged"


@pytest.mark.slow
def test_mlflow_gets_a_run_for_each_trial_once(study: StudyPaths, tmp_path: Path) -> None:
    """Runs with parameters, metrics and curves; a second export to the same database adds nothing."""
    tracking = pytest.importorskip("mlflow.tracking")
    url = f"sqlite:///{tmp_path}/m.db"
    exported(study, "mlflow", url)
    exported(study, "mlflow", url)
    client = tracking.MlflowClient(tracking_uri=url)
    experiment = client.get_experiment_by_name("mine").experiment_id
    runs = {run.data.tags["frontrunner.trial"]: run for run in client.search_runs([experiment])}
    assert len(client.search_runs([experiment])) == len(runs) == 7  # not the one that still runs
    assert sorted(name for name, run in runs.items() if run.data.tags["on_front"] == "true") == FRONT
    assert runs["0003"].info.status == "FAILED"
    assert runs["0001"].data.params["lora_rank"] == "8"
    assert runs["0001"].data.metrics["eval_loss"] == 1.5
    curve = client.get_metric_history(runs["0001"].info.run_id, "curve/loss")
    assert [(point.step, point.value) for point in curve] == [(1, 3.0), (2, 2.5), (3, 2.0)]


def test_tensorboard_reads_curves_and_parameters(study: StudyPaths, tmp_path: Path) -> None:
    """A folder a trial: the curve without the repeated step, the metrics, the trial's values."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from tensorboard.plugins.hparams import metadata

    exported(study, "tensorboard", tmp_path / "tb")
    trial = accumulator.EventAccumulator(str(tmp_path / "tb" / "0001"))
    trial.Reload()
    assert [(e.step, e.value) for e in trial.Scalars("curve/loss")] == [(1, 3.0), (2, 2.5), (3, 2.0)]
    assert [e.value for e in trial.Scalars("metric/eval_loss")] == [1.5]
    told = trial.summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
    start = metadata.parse_session_start_info_plugin_data(told)
    assert start.hparams["lora_rank"].number_value == 8
    assert start.hparams["target_modules"].string_value == "qv"
    whole = accumulator.EventAccumulator(str(tmp_path / "tb"))
    whole.Reload()
    config = metadata.parse_experiment_plugin_data(
        whole.summary_metadata[metadata.EXPERIMENT_TAG].plugin_data.content
    )
    assert [info.name.tag for info in config.metric_infos][:2] == ["metric/eval_loss", "metric/accuracy"]


def test_an_export_takes_the_place_of_the_one_before_it(study: StudyPaths) -> None:
    """Twice in the study's own folder: one file, and nothing left over."""
    for _ in range(2):
        exported(study, "tensorboard")
    assert [path.name for path in study.export.iterdir() if "tensorboard" in path.name] == ["tensorboard"]


def test_a_place_that_is_taken_is_refused(study: StudyPaths, tmp_path: Path) -> None:
    """Nobody's file is overwritten, and a path is no address."""
    (tmp_path / "theirs").write_text("precious")
    with pytest.raises(InputError, match="expected a path where there is nothing"):
        exported(study, "csv", tmp_path / "theirs")
    assert (tmp_path / "theirs").read_text() == "precious"
    with pytest.raises(InputError, match="expected a path for --format csv"):
        exported(study, "csv", "postgresql://host/db")


def test_a_missing_package_is_told_with_its_extra(
    study: StudyPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extra's name, and nothing half-written."""

    def missing(*_: object) -> None:
        raise ImportError("No module named 'optuna'")

    formats = {"optuna": module.ExportFormat("o.db", "Optuna", "", missing)}
    monkeypatch.setattr(module, "FORMATS", formats)
    with pytest.raises(FrontrunnerError, match="needs Optuna") as refused:
        exported(study, "optuna", tmp_path / "o")
    assert refused.value.hint == "pip install 'frontrunner[optuna]'"
    assert list(tmp_path.iterdir()) == []


def test_a_long_curve_is_thinned_but_keeps_its_ends(tmp_path: Path) -> None:
    """1,000 steps in 10 points."""
    for step in range(1, 1001):
        line = Progress(1, "training", step, 1000, loss=1.0 / step).to_json()
        append_jsonl(tmp_path / "p", line, durable=False)
    points = learning_curve(tmp_path / "p", 10)
    assert len(points) == 10
    assert points[0].step == 1
    assert points[-1].step == 1000
