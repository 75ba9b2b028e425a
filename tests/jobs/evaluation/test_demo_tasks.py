"""The tasks that come with the package, on which studies are tried at demo scale."""

from __future__ import annotations

import json

import pytest

from jobs.data import demo_data
from jobs.recipes.evaluation import DEMO_TASKS, TaskRecipe
from jobs.recipes.task_metrics import survey

KINDS = {
    "demo_words": ("sort", "upper", "reverse", "address", "as_json"),
    "demo_numbers": ("larger", "add", "date", "convert"),
}


@pytest.mark.parametrize("task", KINDS)
def test_questions_are_those_that_the_project_generates(task: str) -> None:
    """The files hold what is generated: 200 questions, four different answers, the right one among them."""
    lines = (DEMO_TASKS / f"{task}.jsonl").read_text().splitlines()
    made = demo_data.questions(KINDS[task], 200, 1)
    assert [json.loads(line) for line in lines] == made
    assert {len(set(map(str, row["choices"]))) for row in made} == {4}  # type: ignore[call-overload]
    right = {row["prompt"]: row["completion"] for row in demo_data.rows(1)}
    assert all(row["choices"][row["gold"]] == right[str(row["prompt"])] for row in made)  # type: ignore[index]


def test_no_question_is_in_the_training_rows() -> None:
    """What the demo's rows ask is not asked again."""
    trained = {row["prompt"] for row in demo_data.rows(0)}
    asked = {row["prompt"] for kinds in KINDS.values() for row in demo_data.questions(kinds, 200, 1)}
    assert asked & trained == set()


def test_they_are_found_by_the_folders_short_name() -> None:
    """`evaluation.tasks.folder=demo` needs no path."""
    found = survey(TaskRecipe(None, "demo", None, 200, None, False, 32))
    assert not found.problems
    assert [one.name for one in found.reported] == [
        f"{task}_{metric}" for task in ("demo_numbers", "demo_words") for metric in ("acc", "acc_norm")
    ]
