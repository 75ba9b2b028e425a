"""`train` and `evaluate` as a user runs them: on a study of real trials, with kills in between."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import yaml
from conditions import wait_until
from study_runs import SYNTHETIC, StudyRun
from tiny_llama import save_tiny_llama

from hpo.paths import StudyPaths
from hpo.records import TrialResult, read_json
from hpo.study.journal import load_study

pytestmark = [pytest.mark.slow, pytest.mark.long(200)]

TWO = ["budget.trials=2", "batch.size=2", "batch.refill=2", "strategy=sobol", "~strategy.initial"]
LOCAL = ["cluster=local", "cluster.mem_gb=2", "controller.poll_seconds=0.2"]
PROMPTS = "evaluation.samples.prompts=[{prompt: '3:'}, 'Asked: <script>']"


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> StudyRun:
    """A complete study of two QLoRA trials of the tiny model, and the adapter of the better one.

    No test takes anything away from it: what `evaluate`, `train` and `report` make of it lies beside.
    """
    folder = tmp_path_factory.mktemp("tuned")
    rows = [{"prompt": f"{n}:", "completion": "ok" * (1 + n % 5)} for n in range(40)]
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = [f"model.path={save_tiny_llama(folder / 'tiny')}", f"data.path={data}", f"cache={folder / 'c'}"]
    recipe = ["data.template=completion", "trainer.max_steps=4", "objectives=loss", PROMPTS]
    kept = ["study.keep_adapters=front", "evaluation.samples.max_new_tokens=4"]
    run = StudyRun(folder / "studies", options=[*LOCAL, *TWO, *files, *recipe, *kept])
    assert "asking the untuned base model" in run.finish()
    return run


@pytest.fixture(scope="module")
def best(tuned: StudyRun) -> str:
    """The trial whose adapter is there."""
    losses = {name: trial.metrics["eval_loss"].value for name, trial in tuned.study.trials.items()}
    assert len(losses) == 2
    return min(losses, key=lambda name: losses[name])


def write_task(folder: Path) -> Path:
    """A folder with one task of six questions."""
    folder.mkdir()
    rows = [{"question": str(n), "choices": ["a", "b b", "c"], "gold": n % 3} for n in range(6)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        "task": "pick", "output_type": "multiple_choice", "dataset_path": "json", "test_split": "test",
        "dataset_kwargs": {"data_files": {"test": "rows.jsonl"}}, "doc_to_text": "Q: {{question}}A:",
        "doc_to_choice": "choices", "doc_to_target": "gold",
    }  # fmt: skip
    (folder / "pick.yaml").write_text(yaml.safe_dump(task))
    return folder


def test_only_the_adapter_of_the_front_is_there(tuned: StudyRun, best: str) -> None:
    """One objective, so one of two trials."""
    assert [path.parent.name for path in tuned.paths.trials.glob("*/adapter")] == [best]


def test_evaluation_adds_what_is_missing_and_then_does_nothing(
    tuned: StudyRun, best: str, tmp_path: Path
) -> None:
    """At 4 bits, then at 4 and 16: the first parts stay; a third call only shows the table."""
    tasks = [f"evaluation.tasks.folder={write_task(tmp_path / 'tasks')}", "evaluation.tasks.limit=5"]
    command = ["evaluate", str(tuned.paths.folder), *tasks]
    first = tuned.run(*command, "--bases", "4bit")
    assert first.returncode == 0, first.stderr
    [folder] = (tuned.paths.folder / "evaluations").iterdir()
    parts = StudyPaths(folder)
    early = {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/metrics.json")}
    assert len(early) == 2
    second = tuned.run(*command, "--trials", "all", "--bases", "4bit,16bit")
    assert second.returncode == 0, second.stderr
    assert "1 trials are left out: their adapters were deleted" in second.stdout
    assert {path: path.stat().st_mtime_ns for path in early} == early
    journal = parts.journal.read_bytes()
    third = tuned.run(*command, "--trials", "all", "--bases", "4bit,16bit")
    assert "complete; nothing to do" in third.stdout
    assert parts.journal.read_bytes() == journal
    found = read_json(folder / "evaluation.json")
    rows = [(row["subject"], row["base"], row["scores"]["pick_acc"]["documents"]) for row in found["rows"]]
    assert rows == [(subject, base, 5) for subject in ("untuned", best) for base in ("4bit", "16bit")]
    assert all(row["scores"]["pick_acc_norm"]["delta"]["paired"] for row in found["rows"][2:])
    assert len((folder / "evaluation.csv").read_text().splitlines()) == 1 + 4 * 2


def test_training_goes_on_from_the_adapter_and_is_merged(tuned: StudyRun, best: str) -> None:
    """A study of one trial beside the first; its adapter, and a model folder that needs neither."""
    command = [
        "train",
        str(tuned.paths.folder),
        "--from-adapter",
        "--merge",
        "trainer.max_steps=8",
        "--trial",
    ]
    (other,) = {"0000", "0001"} - {best}
    refused = tuned.run(*command, other)
    assert refused.returncode == 2
    assert f"the adapter of trial {other} of study study was deleted" in refused.stderr
    done = tuned.run(*command, best)
    assert done.returncode == 0, done.stderr
    trained = StudyPaths(tuned.root / f"study-train-{best}")
    result = TrialResult.read(trained.trial("0000").metrics)
    before = TrialResult.read(tuned.paths.trial(best).metrics)
    assert result.details["steps"] == 8
    assert result.metrics["eval_loss"].value < before.metrics["eval_loss"].value
    assert (trained.trial("0000").folder / "adapter").is_dir()
    assert (trained.folder / "merged" / "0000" / "model" / "model.safetensors").is_file()


def test_a_study_without_some_adapters_is_exported(tuned: StudyRun) -> None:
    """A row a trial."""
    assert tuned.call("export", str(tuned.paths.folder), "--format", "csv") == 0
    assert len((tuned.paths.folder / "export" / "trials.csv").read_text().splitlines()) == 1 + 2


def test_training_outlasts_kills_of_controller_and_trial(tmp_path: Path) -> None:
    """Both are killed; the same command goes on with the same trial, and then has nothing to do."""
    run = StudyRun(tmp_path / "studies", options=[*LOCAL, *TWO, *SYNTHETIC, "trainer.seconds=0.2"])
    run.finish()
    longer = ["trainer.seconds=4", "trainer.checkpoint_every_s=0.2"]
    trained = StudyRun(run.root, "study-train-0001")
    command = ["train", str(run.paths.folder), "--trial", "0001", *longer]
    trained.command = lambda *more: [*run.command()[:3], *command]  # type: ignore[method-assign]
    trained.kill_when(lambda: trained.paths.trial("0000").checkpoint_pointer.exists())
    os.kill(trained.process("0000"), signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{trained.process('0000')}").exists())
    done = run.run(*command)
    assert done.returncode == 0, done.stderr
    assert trained.attempts() == {"0000": 2}
    result = TrialResult.read(trained.paths.trial("0000").metrics)
    assert result.details["attempts"] == [1, 2]
    assert len(load_study(trained.paths.journal).trials) == 1
    assert "complete; nothing to do" in run.run(*command).stdout


def test_samples_of_base_and_trials_are_in_the_report(tuned: StudyRun) -> None:
    """The study's own folder has all that the report shows: the cache is not needed any more."""
    base = read_json(tuned.paths.base_samples)
    fixed, held_out = base["samples"][:2], base["samples"][2:]
    assert [one["asked"] for one in fixed] == [{"prompt": "3:"}, "Asked: <script>"]
    assert len(held_out) == 6  # as the demo has it
    assert all(one["expected"].replace(" ", "").strip("ok") == "" for one in held_out)
    assert all(tuned.paths.trial(name).samples.exists() for name in tuned.completed())
    cache = tuned.root.parent / "c"
    away = cache.rename(cache.with_name("away"))
    try:
        assert tuned.run("report", str(tuned.paths.folder)).returncode == 0
    finally:
        away.rename(cache)
    page = (tuned.paths.report / "report.html").read_text()
    section = page.partition('<section id="samples">')[2].partition("</section>")[0]
    assert "Asked: &lt;script&gt;" in section
    assert "held-out answer" in section
    assert "All completed trials are shown." in section
