"""Keys below data.sources and data.columns: names of the user's own, on the command line and in the space."""

from __future__ import annotations

from hpo.controller.compose import compose_config
from hpo.study.recipe import apply_params, unknown_names

SOURCE = ["data=file", "data.sources.own.path=a.jsonl"]


def test_sources_and_columns_are_open() -> None:
    """A source by dotted keys or as a mapping, columns alike; no plus sign needed."""
    config, problems = compose_config(
        [
            *SOURCE,
            "data.sources.own.weight=2",
            "data.sources.more={path: null, template: completion}",
            "data.columns={prompt: question}",
            "data.columns.completion=answer",
        ]
    )
    assert problems == []
    assert config["data"]["sources"] == {
        "own": {"path": "a.jsonl", "weight": 2},
        "more": {"path": None, "template": "completion"},
    }
    assert config["data"]["columns"] == {"prompt": "question", "completion": "answer"}


def test_other_keys_of_the_data_stay_closed() -> None:
    """A misspelt key is told, not taken."""
    _, problems = compose_config(["data.colums={a: b}", "data.filters.max_token=3"])
    assert [key for key, _ in problems] == ["data.colums", "data.filters.max_token"]


def test_weight_of_a_source_can_be_a_parameter() -> None:
    """Also where the source does not give one; a source that does not exist has none."""
    recipe, _ = compose_config(SOURCE)
    assert unknown_names(recipe, ["data.sources.own.weight"]) == []
    assert [key for key, _ in unknown_names(recipe, ["data.sources.other.weight"])] == [
        "space.data.sources.other.weight"
    ]
    applied = apply_params(recipe, {"data.sources.own.weight": 0.5})
    assert applied["data"]["sources"]["own"] == {"path": "a.jsonl", "weight": 0.5}
