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

pytestmark = pytest.mark.slow

TWO = ["budget.trials=2", "batch.size=2", "batch.refill=2", "strategy=sobol", "~strategy.initial"]
LOCAL = ["cluster=local", "cluster.mem_gb=2", "controller.poll_seconds=0.2"]


@pytest.fixture
def tiny_before(tmp_path: Path) -> StudyRun:
    """A study of two QLoRA trials of the tiny model, not begun."""
    rows = [{"prompt": f"{n}:", "completion": "ok" * (1 + n % 5)} for n in range(40)]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = [
        f"model.path={save_tiny_llama(tmp_path / 'tiny')}",
        f"data.path={data}",
        f"cache={tmp_path / 'c'}",
    ]
    own = [*files, "data.template=completion", "trainer.max_steps=4"]
    return StudyRun(tmp_path / "studies", options=[*LOCAL, *TWO, *own])


@pytest.fixture
def tiny(tiny_before: StudyRun) -> StudyRun:
    """A complete study of two QLoRA trials of the tiny model."""
    tiny_before.finish()
    return tiny_before


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


def test_evaluation_adds_what_is_missing_and_then_does_nothing(tiny: StudyRun, tmp_path: Path) -> None:
    """One trial at 4 bits, then both at 4 and 16: the first parts stay; a third call only shows the table."""
    tasks = [f"evaluation.tasks.folder={write_task(tmp_path / 'tasks')}", "evaluation.tasks.limit=5"]
    command = ["evaluate", str(tiny.paths.folder), *tasks]
    first = tiny.run(*command, "--trials", "0001", "--bases", "4bit", timeout_s=600)
    assert first.returncode == 0, first.stderr
    [folder] = (tiny.paths.folder / "evaluations").iterdir()
    parts = StudyPaths(folder)
    early = {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/metrics.json")}
    assert len(early) == 2
    second = tiny.run(*command, "--trials", "all", "--bases", "4bit,16bit", timeout_s=600)
    assert second.returncode == 0, second.stderr
    assert {path: path.stat().st_mtime_ns for path in early} == early
    journal = parts.journal.read_bytes()
    third = tiny.run(*command, "--trials", "all", "--bases", "4bit,16bit")
    assert "complete; nothing to do" in third.stdout
    assert parts.journal.read_bytes() == journal
    found = read_json(folder / "evaluation.json")
    rows = [(row["subject"], row["base"], row["scores"]["pick_acc"]["documents"]) for row in found["rows"]]
    subjects = ("untuned", "0000", "0001")
    assert rows == [(subject, base, 5) for subject in subjects for base in ("4bit", "16bit")]
    assert all(row["scores"]["pick_acc_norm"]["delta"]["paired"] for row in found["rows"][2:])
    assert len((folder / "evaluation.csv").read_text().splitlines()) == 1 + 6 * 2


def test_training_goes_on_from_the_adapter_and_is_merged(tiny: StudyRun) -> None:
    """A study of one trial beside the first; its adapter, and a model folder that needs neither."""
    command = ["train", str(tiny.paths.folder), "--trial", "0001", "--from-adapter", "--merge"]
    done = tiny.run(*command, "trainer.max_steps=8", timeout_s=600)
    assert done.returncode == 0, done.stderr
    trained = StudyPaths(tiny.root / "study-train-0001")
    result = TrialResult.read(trained.trial("0000").metrics)
    before = TrialResult.read(tiny.paths.trial("0001").metrics)
    assert result.details["steps"] == 8
    assert result.metrics["eval_loss"].value < before.metrics["eval_loss"].value
    assert (trained.folder / "merged" / "0000" / "model" / "model.safetensors").is_file()


def test_front_is_all_there_where_the_other_adapters_were_deleted(
    tiny_before: StudyRun, tmp_path: Path
) -> None:
    """One objective, so one of two trials: it is judged and trained on; the other says what became of it."""
    run = tiny_before
    run.options = [*run.options, "objectives=loss", "study.keep_adapters=front"]
    run.finish(timeout_s=600)
    losses = {name: trial.metrics["eval_loss"].value for name, trial in run.study.trials.items()}
    best, other = sorted(losses, key=lambda name: losses[name])
    assert [path.parent.name for path in run.paths.trials.glob("*/adapter")] == [best]
    tasks = [f"evaluation.tasks.folder={write_task(tmp_path / 'tasks')}", "evaluation.tasks.limit=2"]
    judged = run.run("evaluate", str(run.paths.folder), *tasks, "--bases", "4bit", timeout_s=600)
    assert judged.returncode == 0, judged.stderr
    [found] = run.paths.evaluations()
    assert [row["subject"] for row in read_json(found)["rows"]] == ["untuned", best]
    again = ["train", str(run.paths.folder), "--from-adapter", "trainer.max_steps=5", "--trial"]
    refused = run.run(*again, other)
    assert refused.returncode == 2
    assert f"the adapter of trial {other} of study study was deleted" in refused.stderr
    trained = run.run(*again, best, timeout_s=600)
    assert trained.returncode == 0, trained.stderr
    assert (run.root / f"study-train-{best}" / "trials" / "0000" / "adapter").is_dir()
    assert run.run("export", str(run.paths.folder), "--format", "csv").returncode == 0


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
    wait_until(lambda: not Path(f"/proc/{trained.process('0000')}").exists(), 30)
    done = run.run(*command)
    assert done.returncode == 0, done.stderr
    assert trained.attempts() == {"0000": 2}
    result = TrialResult.read(trained.paths.trial("0000").metrics)
    assert result.details["attempts"] == [1, 2]
    assert len(load_study(trained.paths.journal).trials) == 1
    assert "complete; nothing to do" in run.run(*command).stdout


def test_samples_of_base_and_trials_are_in_the_report(tiny_before: StudyRun, tmp_path: Path) -> None:
    """The study's own folder has all that the report shows: the cache is not needed any more."""
    prompts = "evaluation.samples.prompts=[{prompt: '3:'}, 'Asked: <script>']"
    run = tiny_before
    run.options = [*run.options, prompts, "evaluation.samples.max_new_tokens=4", "report.automatic=false"]
    assert "asking the untuned base model" in run.finish()
    base = read_json(run.paths.base_samples)
    fixed, held_out = base["samples"][:2], base["samples"][2:]
    assert [one["asked"] for one in fixed] == [{"prompt": "3:"}, "Asked: <script>"]
    assert len(held_out) == 6  # as the demo has it
    assert all(one["expected"].replace(" ", "").strip("ok") == "" for one in held_out)
    assert all(run.paths.trial(name).samples.exists() for name in run.completed())
    (tmp_path / "c").rename(tmp_path / "no-cache")
    assert run.run("report", str(run.paths.folder)).returncode == 0
    page = (run.paths.report / "report.html").read_text()
    section = page.partition('<section id="samples">')[2].partition("</section>")[0]
    assert "Asked: &lt;script&gt;" in section
    assert "held-out answer" in section
    assert "All completed trials are shown." in section
