"""Sources: formats, columns, templates, weights and caps, alone and mixed."""

from __future__ import annotations

import copy
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from selected_examples import load_examples

from jobs.data.files import read_rows
from jobs.data.pieces import Example
from jobs.data.rows import data_key
from jobs.data.templates import mapped, render
from jobs.errors import DataError
from jobs.evaluation.examples import repeats
from jobs.kinds.qlora import Qlora
from jobs.recipes.data import FilterRecipe, HubRecipe
from jobs.recipes.hub import fetch, hub_file
from jobs.recipes.recipe import parse

CONF = Path(__file__).resolve().parents[3] / "conf"
WHOLE = "{{ question }}\n{% generation %}\n{{ answer }}{% endgeneration %}\n"


@pytest.fixture
def two(recipe: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Sources `a` of 60 rows with columns q and r, and `b` of 40 with prompt and completion."""
    (tmp_path / "a.json").write_text(json.dumps([{"q": f"{n}+", "r": "aa"} for n in range(60)]))
    (tmp_path / "b.csv").write_text("prompt,completion\n" + "".join(f"{n}:,bb\n" for n in range(40)))
    recipe["data"]["path"] = None
    recipe["data"]["sources"] = {
        "a": {"path": str(tmp_path / "a.json"), "columns": {"prompt": "q", "completion": "r"}},
        "b": {"path": str(tmp_path / "b.csv"), "template": "human_assistant"},
    }
    return recipe


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file without their places."""
    return [one.row for one in read_rows(path)]


def own(text: str, row: dict[str, Any]) -> tuple[str, str]:
    """Prompt and response by a template of one's own."""
    example = render(text, row, lambda said, loss_on: Example("", ""))
    return example.prompt, example.response


def counts(examples: Any, tokenizer: Any) -> tuple[int, int, int]:
    """Training examples of `a` and of `b`, and validation examples."""
    of = Counter("b" if "#" in tokenizer.decode(one.ids) else "a" for one in examples.train)
    return of["a"], of["b"], len(examples.validation)


def test_parquet_reads_as_the_others(tmp_path: Path) -> None:
    """The same rows, and a date that JSON does not know survives the hash."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": ["1", "2"]}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [{"x": "1"}, {"x": "2"}]
    (tmp_path / "b.parquet").write_text("no table")
    with pytest.raises(DataError, match=r"b\.parquet: got what is no Parquet"):
        read(tmp_path / "b.parquet")


@pytest.mark.parametrize(
    ("columns", "row", "expected"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"prompt": "q"}, {"q": "Q", "instruction": "I"}, {"q": "Q", "prompt": "Q"}),
        ({"prompt": "answer"}, {"answer": "A", "output": "O"}, {"answer": "A", "output": "O", "prompt": "A"}),
        ({"input": None}, {"input": "x", "prompt": "p"}, {"prompt": "p"}),
    ],
)
def test_columns_are_renamed(columns: dict[str, Any], row: dict[str, Any], expected: dict[str, Any]) -> None:
    """A mapped column wins over one that the template would rather take; null hides one."""
    assert mapped(row, columns) == expected


def test_human_assistant_writes_conversations() -> None:
    """As the guanaco models know it; the blank belongs to the answer."""
    said = [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    row = {"messages": [{"role": role, "content": text} for role, text in said]}
    prompt = "s\n\n### Human: a\n### Assistant: b\n### Human: c\n### Assistant:"
    assert render("human_assistant", row, lambda said, loss_on: Example("", "")) == Example(prompt, " d")


def test_own_template_marks_the_response() -> None:
    """What stands in the tags counts, whatever conditions are around it."""
    assert own(WHOLE, {"question": "Q", "answer": "A"}) == ("Q\n", "A")
    text = "{% if hint is defined %}{{ hint }} {% endif %}q{% generation %}{{ a }}{% endgeneration %}"
    assert own(text, {"a": "A"}) == ("q", "A")
    assert own(text, {"a": "A", "hint": "h"}) == ("h q", "A")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{% if %}", "mistake in line 1"),
        ("{{ nothing }}{% generation %}x{% endgeneration %}", "more than the columns a: 'nothing'"),
        ("{{ a }}{% set b = 1 %}", "0 responses"),
        ("{% generation %}x{% endgeneration %}after", "text after the response"),
        ("{{ a.__class__.__mro__ }}{% generation %}x{% endgeneration %}", "unsafe"),
        ("{% for i in range(10**9) %}{% endfor %}", "Range too big"),
    ],
)
def test_own_template_is_refused_with_the_reason(text: str, words: str) -> None:
    """Mistakes, missing columns, missing marks, and what a template has no business with."""
    with pytest.raises(DataError, match=words):
        own(text, {"a": "A"})


def test_template_file_becomes_part_of_the_recipe(recipe: dict[str, Any], tmp_path: Path) -> None:
    """So that a later change of the file changes no study."""
    (tmp_path / "mine.jinja").write_text("{{ prompt }}{% generation %}{{ completion }}{% endgeneration %}")
    recipe["data"]["template"] = str(tmp_path / "mine.jinja")
    assert list(Qlora().problems(recipe)) == []
    assert Qlora().resolve(recipe)["data"]["template"].startswith("{{ prompt }}")
    recipe["data"]["template"] = str(tmp_path / "other.jinja")
    assert "data.template" in dict(Qlora().problems(recipe))


def test_sources_are_mixed(two: dict[str, Any], tokenizer: Any) -> None:
    """Every row of both is on one side, each through its own columns and template."""
    assert list(Qlora().problems(two)) == []
    first, second, judged = counts(load_examples(parse(two).data, tokenizer), tokenizer)
    assert first + second + judged == 100
    assert judged > 0


def test_weights_repeat_training_examples_only(two: dict[str, Any], tokenizer: Any) -> None:
    """Twice all of a, half of b, and the validation examples as before."""
    plain = load_examples(parse(two).data, tokenizer)
    weighted = copy.deepcopy(two)
    weighted["data"]["sources"]["a"]["weight"] = 2
    weighted["data"]["sources"]["b"]["weight"] = 0.5
    changed = load_examples(parse(weighted).data, tokenizer)
    first, second, judged = counts(plain, tokenizer)
    assert counts(changed, tokenizer) == (2 * first, round(second / 2), judged)
    assert changed.validation == plain.validation


def test_repeats_by_hand() -> None:
    """2.5 of three, 0 of one, 0.25 of four."""
    assert repeats([0, 1, 0, 2, 2, 0, 2, 2], [2.5, 0, 0.25]) == [3, 0, 3, 1, 0, 2, 0, 0]


def test_cap_of_a_source_holds_for_training(two: dict[str, Any], tokenizer: Any) -> None:
    """Seven of a; b and the validation as without."""
    _, second, judged = counts(load_examples(parse(two).data, tokenizer), tokenizer)
    two["data"]["sources"]["a"]["cap"] = 7
    assert counts(load_examples(parse(two).data, tokenizer), tokenizer) == (7, second, judged)


def test_weights_are_no_part_of_the_content(two: dict[str, Any], tmp_path: Path) -> None:
    """Trials with other weights share the tokenised data and the untuned loss; other caps do not."""
    before = data_key(parse(two).data, tmp_path)
    two["data"]["sources"]["a"]["weight"] = 3
    assert data_key(parse(two).data, tmp_path) == before
    two["data"]["sources"]["a"]["cap"] = 3
    assert data_key(parse(two).data, tmp_path) != before


@pytest.mark.parametrize(
    ("change", "key", "words"),
    [
        ({"path": "x.jsonl"}, "data.path", "beside data.sources"),
        ({"sources": {"a": {}}}, "data.sources.a.path", "missing"),
        ({"sources": {"a": {"path": None, "weight": -1}}}, "data.sources.a.weight", "at least 0"),
        ({"sources": {"a": {"path": None, "weight": 0}}}, "data.sources", "no weight above 0"),
        ({"sources": {"a": {"path": "no.jsonl"}}}, "data.sources.a.path", "existing file"),
        (
            {"sources": {"stream": {"path": None, "template": "x"}}},
            "data.sources.stream.template",
            "'alpaca'",
        ),
        (
            {"sources": {"a": {"path": None, "columns": {"text": "x"}}}},
            "data.sources.a.columns",
            "expected x",
        ),
    ],
)
def test_wrong_sources_are_told(two: dict[str, Any], change: dict[str, Any], key: str, words: str) -> None:
    """Each by its own key path."""
    two["data"] |= change
    told = dict(Qlora().problems(two))
    assert words in told[key]


def test_paths_of_sources_become_absolute(
    two: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hub names stay as they are."""
    monkeypatch.chdir(tmp_path)
    two["data"]["sources"] |= {"a": {"path": "a.json"}, "c": {"path": "openai/gsm8k"}, "d": {"path": None}}
    sources = Qlora().resolve(two)["data"]["sources"]
    assert sources["a"]["path"] == str(tmp_path / "a.json")
    assert sources["c"]["path"] == "openai/gsm8k"
    assert sources["d"]["path"] is None


def test_hub_name_is_fetched_once(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`datasets` reads a folder as it reads the hub; afterwards the rows are in the cache, without it."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    rows = [{"prompt": str(n), "completion": "x"} for n in range(3)]
    (tmp_path / "owner" / "name" / "train.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    recipe["data"]["path"] = "owner/name"
    data, cache = parse(recipe).data, tmp_path / "cache"
    with pytest.raises(DataError, match=r"(?s)not in the cache.*frontrunner prefetch"):
        hub_file(data.parts()[0], cache)
    fetch(data, cache, lambda line: None)
    (tmp_path / "owner" / "name" / "train.jsonl").unlink()
    fetch(data, cache, lambda line: pytest.fail("fetched again"))
    assert read(hub_file(data.parts()[0], cache)) == rows


def test_hub_that_does_not_answer_says_what_to_do(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline, the message names the data set and `prefetch`."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    recipe["data"]["path"] = "no-such-owner/no-such-data"
    with pytest.raises(DataError, match=r"(?s)no-such-owner/no-such-data.*frontrunner prefetch"):
        fetch(parse(recipe).data, tmp_path, lambda line: None)


@pytest.mark.parametrize("name", ["demo", "file"])
def test_shipped_profiles_filter_nothing(name: str) -> None:
    """The defaults for older recipes are those of conf/."""
    shipped = yaml.safe_load((CONF / "data" / f"{name}.yaml").read_text())
    assert FilterRecipe(**shipped["filters"]) == FilterRecipe()
    assert HubRecipe(**shipped["hub"]) == HubRecipe()
