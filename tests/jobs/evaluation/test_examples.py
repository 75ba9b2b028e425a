"""Tokenised data in the cache: the same examples, made once, rebuilt when damaged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from selected_examples import load_examples

from hpo.records import write_json
from jobs.cache import intact
from jobs.data.tokens import TOKENS, Collator
from jobs.evaluation.examples import obtain_examples
from jobs.recipes.recipe import parse

LOADER = """
    import json, os, sys
    from pathlib import Path
    from transformers import AutoTokenizer
    from jobs.evaluation.examples import obtain_examples
    from jobs.recipes.recipe import parse
    recipe, cache = parse(json.loads(Path(sys.argv[1]).read_text())), Path(sys.argv[2])
    def load():
        return AutoTokenizer.from_pretrained(recipe.model.path)
    children = []
    for _ in range(8):  # processes that begin at the same moment, the libraries loaded
        if (child := os.fork()) == 0:
            examples = obtain_examples(recipe, cache, load, print)
            sys.stdout.write(f"{sum(len(one) for one in examples.train)}\\n")  # one piece, whole lines
            sys.stdout.flush()
            os._exit(0)
        children.append(child)
    sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""


def plain(examples: Any) -> list[tuple[list[int], int]]:
    """Both sides as built-in types."""
    return [(list(one.ids), one.response_at) for one in [*examples.train, *examples.validation]]


def refuse() -> Any:
    """In place of a tokenizer that nothing should need."""
    return pytest.fail("tokenised again")


def test_cached_examples_are_those_made_anew(recipe: dict[str, Any], tokenizer: Any, tmp_path: Path) -> None:
    """Ids, borders, batches and account, without a tokenizer the second time."""
    made, said = parse(recipe), list[str]()
    fresh = load_examples(made.data, tokenizer)
    obtain_examples(made, tmp_path, lambda: tokenizer, said.append)
    cached = obtain_examples(made, tmp_path, refuse, said.append)
    assert plain(cached) == plain(fresh)
    assert cached.account == fresh.account
    assert said == ["tokenising the data, once for this cache"]
    one, other = (Collator(1)(examples.train[:4]) for examples in (fresh, cached))
    assert one[TOKENS] == other[TOKENS]
    assert all(one[name].equal(other[name]) for name in one if name != TOKENS)


@pytest.mark.parametrize(
    "change",
    [
        {"max_length": 9},
        {"template": "human_assistant"},
        {"seed": 1},
        {"validation_fraction": 0.3},
        {"train_examples": 3},
        {"columns": {"prompt": "completion"}},
        {"filters": {"min_tokens": 2}},
    ],
)
def test_what_decides_the_tokens_makes_another_entry(
    recipe: dict[str, Any], tokenizer: Any, tmp_path: Path, change: dict[str, Any]
) -> None:
    """Template, length, split, caps, columns and filters are all part of the key."""
    obtain_examples(parse(recipe), tmp_path, lambda: tokenizer, lambda line: None)
    recipe["data"] |= change
    obtain_examples(parse(recipe), tmp_path, lambda: tokenizer, lambda line: None)
    assert len(list((tmp_path / "tokens").iterdir())) == 2


def test_changed_file_or_tokenizer_makes_another_entry(
    recipe: dict[str, Any], tokenizer: Any, tiny_model: Path, tmp_path: Path
) -> None:
    """Content decides, not the path."""
    other = tmp_path / "model"
    shutil.copytree(tiny_model, other)
    config = other / "tokenizer_config.json"
    config.write_text(config.read_text().replace("</s>", "</S>"))
    obtain_examples(parse(recipe), tmp_path, lambda: tokenizer, lambda line: None)
    recipe["model"]["path"] = str(other)
    obtain_examples(parse(recipe), tmp_path, lambda: tokenizer, lambda line: None)
    assert len(list((tmp_path / "tokens").iterdir())) == 2
    path = Path(recipe["data"]["path"])
    path.write_text(path.read_text().replace('"0:"', '"9:"'))
    os.utime(path, ns=(1, 1))
    obtain_examples(parse(recipe), tmp_path, lambda: tokenizer, lambda line: None)
    assert len(list((tmp_path / "tokens").iterdir())) == 3


@pytest.mark.parametrize("file", ["ids", "index", "about.json"])
def test_damaged_tokens_are_made_anew(
    recipe: dict[str, Any], tokenizer: Any, tmp_path: Path, file: str
) -> None:
    """A flipped byte in any file is seen."""
    made = parse(recipe)
    before = plain(obtain_examples(made, tmp_path, lambda: tokenizer, lambda line: None))
    (entry,) = (tmp_path / "tokens").iterdir()
    content = bytearray((entry / file).read_bytes())
    content[len(content) // 2] ^= 1
    (entry / file).write_bytes(content)
    assert not intact(entry)
    assert plain(obtain_examples(made, tmp_path, lambda: tokenizer, print)) == before
    assert intact(entry)


@pytest.mark.slow
def test_many_at_once_tokenise_once(recipe: dict[str, Any], tmp_path: Path) -> None:
    """Eight processes on an empty cache: one tokenises, all read the same."""
    write_json(tmp_path / "recipe.json", recipe)
    command = [sys.executable, "-c", textwrap.dedent(LOADER), "recipe.json", "cache"]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, check=True).stdout
    assert sorted(Counter(said.splitlines()).values()) == [1, 8], said
