"""The winners' mixtures: rows of each set's layout, made here, become the prompt and answer meant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from jobs.data.files import FileRow
from jobs.data.pieces import Example
from jobs.data.reader import RowReader
from jobs.data.rows import load_source
from jobs.data.trees import conversations
from jobs.errors import DataError
from jobs.recipes import hub
from jobs.recipes.data import DataRecipe, LossOn

CONF = Path(__file__).resolve().parents[3] / "conf" / "data"


def mixture(name: str, **more: Any) -> DataRecipe:
    base, own = (yaml.safe_load((CONF / f"{each}.yaml").read_text()) for each in ("file", name))
    own.pop("defaults")
    merged = {key: value for key, value in {**base, **own, **more}.items() if key != "path"}
    return TypeAdapter(DataRecipe).validate_python({"path": None, **merged})


BIG = {"inputs": "Q: movie?", "targets": ["b"], "multiple_choice_targets": ["a", "b"]}
TURNS = {"questions": ["Who?", "When?"], "orig_answers": {"texts": ["Ann", "1900"], "answer_starts": [0, 4]}}
ROWS: list[tuple[str, str, dict[str, Any], str, str]] = [
    ("challenge_full", "instructions",
     {"task_name": "t", "id": "1", "definition": "Add.", "inputs": "1+1", "targets": "2"},
     "### Instruction:\nAdd.\n\n### Input:\n1+1\n\n### Response:\n", "2"),
    ("challenge_full", "math", {"source": "data/CoT/gsm_train.json", "instruction": "1+1?", "output": "2"},
     "### Instruction:\n1+1?\n\n### Response:\n", "2"),
    ("challenge_full", "quac", {"context": "Ann, 1900.", **TURNS},
     "Ann, 1900.\n\nQuestion: Who?\nAnswer: Ann\n\nQuestion: When?\nAnswer: ", "1900"),
    ("challenge_full", "openbook",
     {"question_stem": "Sky?", "choices": {"text": ["red", "blue"], "label": ["A", "B"]}, "answerKey": "B"},
     "Question: Sky?\nA. red\nB. blue\nAnswer: ", "B"),
    ("challenge_full", "news", {"article": "Long.", "highlights": "L.", "id": "x"},
     "Long.\n\nSummarize the article above.\n\nSummary: ", "L."),
    ("challenge_full", "lima", {"conversations": ["Hi?", "Yes."], "source": "wiki"}, "Hi?\n\n", "Yes."),
    ("challenge_40gb_full", "mmlu",
     {"question": "Which?", "subject": "philosophy", "choices": ["a", "b", "c", "d"], "answer": 2},
     "Human: Which?\nA. a\nB. b\nC. c\nD. d\n\nAssistant: ", "C"),
    ("challenge_40gb_full", "bigbench_snarks", {**BIG, "multiple_choice_scores": [0, 1]},
     "Human: Q: movie?\n\nAssistant: ", "b"),
    ("challenge_40gb_full", "bigbench_emoji_movie", {"inputs": "Q", "targets": ["up"],
     "multiple_choice_targets": [], "multiple_choice_scores": []}, "Human: Q\n\nAssistant: ", "up"),
    ("challenge_40gb_full", "truthfulqa",
     {"question": "Is it?", "best_answer": "No", "correct_answers": ["No"], "incorrect_answers": ["Yes"]},
     "Human: Is it?\n\nAssistant: ", "No"),
    ("challenge_40gb_full", "gsm8k", {"question": "1+1?", "answer": "#### 2"},
     "Human: 1+1?\n\nAssistant: ", "#### 2"),
    ("challenge_40gb_full", "dolly", {"instruction": "Say", "context": "Ctx", "response": "R"},
     "Human: Say\n\nCtx\n\nAssistant: ", "R"),
    ("challenge_40gb_full", "oasst1", {"messages": [{"role": "user", "content": "a"},
     {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"},
     {"role": "assistant", "content": "d"}]},
     "Human: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: ", "d"),
    ("challenge_40gb_full", "tldr", {"prompt": "POST: x\nTL;DR:", "label": " y"},
     "Human: POST: x\nTL;DR:\n\nAssistant: ", " y"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "source", "row", "prompt", "answer"), ROWS)
def test_rows_become_what_is_meant(
    name: str, source: str, row: dict[str, Any], prompt: str, answer: str
) -> None:
    """By hand, for one row of each layout: the end of the prompt, and the answer."""
    recipe = mixture(name)
    (part,) = [one for one in recipe.parts() if one.name == source]
    example = RowReader(part, LossOn.LAST, lambda said, loss_on: pytest.fail("no chat template")).read(
        FileRow(row, "x", 1)
    )
    assert isinstance(example, Example)
    assert example.prompt.endswith(prompt)
    assert example.response == answer


def test_every_set_of_the_40gb_mixture_is_there_and_lima_ten_times() -> None:
    """17 sets, nine of BIG-bench; a tenth of MMLU."""
    parts = {part.name: part for part in mixture("challenge_40gb_full").parts()}
    assert len(parts) == 17
    assert sum(name.startswith("bigbench_") for name in parts) == 9
    assert (parts["lima"].weight, parts["mmlu"].weight, parts["dolly"].weight) == (10.0, 0.1, 1.0)


def tree(*rows: tuple[str, str | None, str, float | None]) -> list[FileRow]:
    made = []
    for number, (name, parent, role, rank) in enumerate(rows, start=1):
        row = {"message_id": name, "parent_id": parent, "role": role, "text": name.upper(), "rank": rank}
        made.append(FileRow(row, "oasst", number))
    return made


def test_tree_becomes_its_best_ranked_conversation() -> None:
    """b2 outranks b1; nobody answers c, so the conversation ends with b2. A tree of one gives nothing."""
    rows = tree(
        ("a", None, "prompter", None), ("b1", "a", "assistant", 1.0), ("b2", "a", "assistant", 0.0),
        ("c", "b2", "prompter", 0.0), ("alone", None, "prompter", None),
    )  # fmt: skip
    (found,) = conversations(rows)
    assert found.row == {
        "messages": [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B2"}]
    }
    assert found.number == 1


def test_where_reads_the_rows_whose_column_holds_it(tmp_path: Path) -> None:
    """What a language model wrote is left out by the pattern of the shipped mixture."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"data_source": "airoboros", "n": 1}\n{"data_source": "scibench", "n": 2}\n{"n": 3}\n')
    (part,) = [one for one in mixture("challenge_full").parts() if one.name == "platypus"]
    here = replace(part, path=str(path))
    assert [one.row["n"] for one in load_source(here, 0)] == [2, 3]
    assert [one.row["n"] for one in load_source(replace(here, where={"n": "^[13]$"}), 0)] == [1, 3]


def test_sets_that_cannot_be_had_stop_or_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`prefetch` names each; with skip the others are read, and those have no rows on a node."""

    def refuse(source: Any, cache: Path) -> None:
        if source.name == "lima":
            raise DataError(f"data.path: got {source.path!r}, expected a set that can be reached", "later")

    monkeypatch.setattr(hub, "_fetch", refuse)
    said: list[str] = []
    with pytest.raises(DataError, match="GAIR/lima"):
        hub.fetch(mixture("challenge_full"), tmp_path, said.append)
    assert any(line.startswith("data.sources.lima cannot be had") for line in said)
    assert sum(line.startswith("fetching") for line in said) == 7  # it goes on to tell of all
    said.clear()
    recipe = mixture("challenge_full", missing="skip")
    hub.fetch(recipe, tmp_path, said.append)
    assert [line for line in said if "lima is left out" in line]
    assert all(load_source(part, 0, tmp_path) == [] for part in recipe.parts())
    with pytest.raises(DataError, match="not in the cache"):
        load_source(mixture("challenge_full").parts()[0], 0, tmp_path)
