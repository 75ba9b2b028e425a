"""Names of tasks and what they report, read from files alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.kinds.qlora import METRICS, ON_A_CARD, Qlora
from jobs.recipes.evaluation import TaskRecipe
from jobs.recipes.task_metrics import survey

CONF = Path(__file__).resolve().parents[3] / "conf"


def of(names: list[str] | None, folder: Path | None = None, **settings: Any) -> TaskRecipe:
    """Tasks with the settings of conf/."""
    shipped = yaml.safe_load((CONF / "evaluation" / "tasks.yaml").read_text())["tasks"]
    return TaskRecipe(**{**shipped, "names": names, "folder": folder and str(folder), **settings})


def write(folder: Path, **content: Any) -> None:
    """A task file of this name and content."""
    name = content.get("task") if isinstance(content.get("task"), str) else content["group"]
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))


@pytest.mark.parametrize(
    ("name", "reported"),
    [
        ("hellaswag", ["hellaswag_acc", "hellaswag_acc_norm"]),
        ("gsm8k", ["gsm8k_exact_match_strict_match", "gsm8k_exact_match_flexible_extract"]),
        ("arc_challenge", ["arc_challenge_acc", "arc_challenge_acc_norm"]),  # all but the name is included
    ],
)
def test_metrics_of_lm_evals_own_tasks(name: str, reported: list[str]) -> None:
    """A task, one with two filters, and one that includes another's file."""
    assert [one.name for one in survey(of([name])).reported] == reported


@pytest.mark.parametrize(
    ("name", "reported"),
    [
        ("whole", ["whole_acc"]),
        ("apart", ["one_acc", "one_acc_norm", "two_f1"]),
        ("marked", ["one_acc", "one_acc_norm", "two_f1"]),
    ],
)
def test_groups_and_tags_lead_to_their_tasks(tmp_path: Path, name: str, reported: list[str]) -> None:
    """A group that is reported as a whole, one that is not, and a tag, all of the same two tasks."""
    write(tmp_path, task="one", tag="marked", output_type="multiple_choice")
    write(tmp_path, task="two", tag=["marked", "other"], metric_list=[{"metric": "f1"}])
    write(tmp_path, group="whole", task=["one", {"task": "two"}], aggregate_metric_list=[{"metric": "acc"}])
    write(tmp_path, group="apart", task=[{"group": "inner", "task": ["one"]}, "two"])
    assert [one.name for one in survey(of([name], tmp_path)).reported] == reported


def test_wrong_name_is_told_with_what_may_be_meant() -> None:
    """A typing error names the key and the tasks that are called almost so."""
    ((key, problem),) = survey(of(["helaswag"])).problems
    assert key == "evaluation.tasks.names"
    assert "got 'helaswag', expected a task, group or tag of lm-eval" in problem
    assert "hint: did you mean hellaswag" in problem


def test_folder_without_names_means_all_of_its_tasks(tmp_path: Path) -> None:
    """Tasks in files of any name, not the group; usual metrics where a file names none."""
    write(tmp_path, task="own-b", output_type="multiple_choice")
    write(tmp_path, task="own_a", metric_list=[{"metric": "exact_match"}])
    write(tmp_path, group="both", task=["own-b", "own_a"])
    found = survey(of(None, tmp_path))
    assert found.names == ("own-b", "own_a")
    assert [one.name for one in found.reported] == ["own_b_acc", "own_b_acc_norm", "own_a_exact_match"]
    assert found.folders == (tmp_path,)


def test_own_task_comes_before_the_shipped_one(tmp_path: Path) -> None:
    """A file of the user's folder replaces lm-eval's task of the same name."""
    write(tmp_path, task="hellaswag", metric_list=[{"metric": "brier_score"}])
    assert [one.name for one in survey(of(["hellaswag"], tmp_path)).reported] == ["hellaswag_brier_score"]


@pytest.mark.parametrize(
    ("settings", "key", "words"),
    [
        ({"metrics": ["acc_nrom"]}, "metrics", "got 'acc_nrom', expected some of acc, acc_norm"),
        ({"names": None}, "names", "got no names and no folder"),
        ({"names": ["squadv2"]}, "names", "written in Python"),
        ({"folder": "nowhere"}, "folder", "expected an existing folder"),
    ],
)
def test_problems_are_told_by_key(settings: dict[str, Any], key: str, words: str) -> None:
    """A metric that no task reports, no tasks at all, a task in Python, a folder that is not there."""
    ((told, problem),) = survey(of(**{"names": ["hellaswag"], **settings})).problems
    assert told == f"evaluation.tasks.{key}"
    assert words in problem


def test_broken_file_is_told_by_its_path(tmp_path: Path) -> None:
    """What is no YAML mapping names the file."""
    (tmp_path / "bad.yaml").write_text("task: bad\n  - : [")
    ((_, problem),) = survey(of(["bad"], tmp_path)).problems
    assert str(tmp_path / "bad.yaml") in problem


def test_trial_kind_knows_metrics_and_problems_of_tasks(recipe: dict[str, Any], tmp_path: Path) -> None:
    """What the controller asks before it submits: metrics with both bases, problems, absolute folders."""
    write(tmp_path, task="own", output_type="multiple_choice")
    tasks = {**vars(of(["own"], tmp_path)), "metrics": ["acc"]}
    recipe["evaluation"] |= {"tasks": tasks, "bases": ["4bit", "16bit"]}
    of_tasks = ("own_acc", "eval_loss_16bit", "own_acc_16bit")
    assert Qlora().metrics(recipe) == (*METRICS, *ON_A_CARD, *of_tasks)
    assert Qlora().problems(recipe) == []
    tasks["metrics"] = ["f1"]
    assert [key for key, _ in Qlora().problems(recipe)] == ["evaluation.tasks.metrics"]
    recipe["evaluation"]["bases"] = ["16bit"]
    assert "got [16bit], expected [4bit]" in dict(Qlora().problems(recipe))["evaluation.bases"]


def test_relative_folder_becomes_absolute(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials run elsewhere than the command."""
    monkeypatch.chdir(tmp_path)
    recipe["evaluation"]["tasks"] = {**vars(of(None)), "folder": "own"}
    assert Qlora().resolve(recipe)["evaluation"]["tasks"]["folder"] == str(tmp_path / "own")
