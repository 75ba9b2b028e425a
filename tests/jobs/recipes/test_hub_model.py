"""Base models that are named by their hub name: what is asked of the hub, and what is said when it fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from jobs.errors import ModelError
from jobs.kinds.qlora import Qlora
from jobs.recipes.hub import fetch_model
from jobs.recipes.recipe import ModelRecipe

SIZES = {
    "model_type": "llama",
    "hidden_size": 3200,
    "intermediate_size": 8640,
    "num_hidden_layers": 26,
    "num_attention_heads": 32,
    "vocab_size": 32000,
}


def model(**changes: Any) -> ModelRecipe:
    """A model of the hub that is not on this disk."""
    settings: dict[str, Any] = {"name": "M", "path": "nobody/none", "revision": "abc", "package": None}
    return ModelRecipe(**{**settings, "file": None, "trust_remote_code": False, "sizes": SIZES, **changes})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """The patterns of files that the hub is asked for; it has weights of the older kind only."""
    requests: list[list[str]] = []

    def hub(name: str, *, revision: str, local_files_only: bool = False, allow_patterns: Any = None) -> str:
        assert (name, revision) == ("nobody/none", "abc")
        if local_files_only:
            raise LocalEntryNotFoundError("not here")
        requests.append(allow_patterns)
        (tmp_path / "config.json").touch()
        if "pytorch_model*.bin" in allow_patterns:
            (tmp_path / "pytorch_model.bin").touch()
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    return requests


def test_older_weights_are_fetched_where_there_are_no_others(asked: list[list[str]], tmp_path: Path) -> None:
    """Configuration and safetensors first; code of the model's only where it is trusted."""
    said: list[str] = []
    fetch_model(model(), said.append)
    assert said == ["fetching nobody/none, once for this hub cache"]
    assert [("pytorch_model*.bin" in patterns, "*.py" in patterns) for patterns in asked] == [
        (False, False),
        (True, False),
    ]
    (tmp_path / "model.safetensors").touch()
    fetch_model(model(trust_remote_code=True), said.append)
    assert len(asked) == 3
    assert "*.py" in asked[-1]


def test_a_hub_that_does_not_answer_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Key, name, reason, and what to do."""

    def hub(*_: object, local_files_only: bool = False, **__: object) -> str:
        raise LocalEntryNotFoundError("not here") if local_files_only else OSError("no route to the hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    expected = r"model.path: got 'nobody/none'.*no route to the hub\n\nhint: .*frontrunner prefetch"
    with pytest.raises(ModelError, match=expected):
        fetch_model(model(), lambda line: None)


def test_memory_is_foretold_before_the_model_is_here(shipped: dict[str, Any], tmp_path: Path) -> None:
    """No problem to be told, and the same peak as from a folder with that config.json."""
    recipe = {**shipped, "model": vars(model())}
    assert Qlora().problems(recipe) == []
    peak = Qlora().peak_memory(recipe, str(tmp_path))
    assert peak is not None
    # 3.2 billion linear weights of 4.127 bits: 26 layers of 4 x 3200^2 + 3 x 3200 x 8640
    assert peak["base"] == pytest.approx(1.05 * 26 * (4 * 3200**2 + 3 * 3200 * 8640) * 4.127 / 8, rel=1e-6)


def test_a_folder_that_is_not_there_is_told_at_once(shipped: dict[str, Any]) -> None:
    """What cannot be a hub name is a problem before anything is submitted."""
    recipe = {**shipped, "model": vars(model(path="/nobody/none/at/all"))}
    assert [key for key, _ in Qlora().problems(recipe)] == ["model.path"]
