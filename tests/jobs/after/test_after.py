"""What becomes of a trained adapter: gone on from, merged into the base model, judged from its files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import PeftModel, get_peft_model_state_dict
from transformers import AutoModelForCausalLM, AutoTokenizer

from hpo.paths import TrialPaths
from hpo.records import Failure, TrialResult, TrialSpec, read_json, write_json
from jobs import run_evaluation, run_merge, run_trial
from jobs.errors import RecipeError
from jobs.kinds.qlora import Qlora
from jobs.models.adapter import WEIGHTS, add_adapter, begin_from
from jobs.recipes.recipe import parse

pytestmark = pytest.mark.usefixtures("keep_handlers")

MakeTrial = Callable[..., TrialPaths]


def adapted(model: Path, recipe: dict[str, Any], **trainer: Any) -> Any:
    """The tiny model with a fresh adapter whose second matrices are not zero."""
    own = parse({**recipe, "trainer": {**recipe["trainer"], **trainer}}).trainer
    made = add_adapter(AutoModelForCausalLM.from_pretrained(model), own, 5, str(model))
    torch.manual_seed(1)
    for name, weight in made.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return made


def run(target: Any, paths: TrialPaths, **changes: Any) -> int:
    """Run an attempt in this process, of the spec with changes."""
    spec = TrialSpec.read(paths.spec)
    write_json(paths.spec, replace(spec, **changes).to_json())
    return int(target.main(str(paths.folder.parent.parent), "000", paths.folder.name))


def test_adapter_is_gone_on_from_only_in_its_own_shape(
    recipe: dict[str, Any], tiny_model: Path, tmp_path: Path
) -> None:
    """Every weight is that of the other adapter; another rank and an empty folder are refused."""
    old, new = adapted(tiny_model, recipe), adapted(tiny_model, recipe, lora_dropout=0.1)
    old.save_pretrained(str(tmp_path / "adapter"), save_embedding_layers=False)
    torch.nn.init.zeros_(next(weight for name, weight in new.named_parameters() if "lora_B" in name))
    begin_from(new, tmp_path / "adapter")
    theirs, ours = get_peft_model_state_dict(old), get_peft_model_state_dict(new)
    assert {name for name in theirs if not torch.equal(theirs[name], ours[name])} == set()
    with pytest.raises(RecipeError, match="expected the rank and the targets of this recipe"):
        begin_from(adapted(tiny_model, recipe, lora_rank=4), tmp_path / "adapter")
    with pytest.raises(RecipeError, match=f"expected a folder that holds {WEIGHTS}"):
        begin_from(new, tmp_path / "nothing")


def test_merged_model_computes_what_base_and_adapter_do(
    recipe: dict[str, Any], tiny_model: Path, tmp_path: Path, make_trial: MakeTrial
) -> None:
    """A folder that transformers alone loads; its logits are those of peft on the plain base."""
    adapted(tiny_model, recipe).save_pretrained(str(tmp_path / "adapter"), save_embedding_layers=False)
    into = tmp_path / "model"
    paths = make_trial({**recipe, "merge": {"into": str(into)}})
    assert run(run_merge, paths, adapter=str(tmp_path / "adapter")) == 0
    assert TrialResult.read(paths.metrics).metrics["logit_difference"].value < 1e-5
    asked = AutoTokenizer.from_pretrained(into)("12: what is ok?", return_tensors="pt").input_ids
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    with torch.no_grad():
        untuned = base(asked).logits
        expected = PeftModel.from_pretrained(base, str(tmp_path / "adapter"))(asked).logits
        merged = AutoModelForCausalLM.from_pretrained(into)(asked).logits
    assert torch.allclose(merged, expected, atol=1e-5)
    assert (merged - untuned).abs().max() > 0.01
    assert [path.name for path in tmp_path.glob(".model*")] == []


def test_merging_without_weights_is_a_failure_with_its_message(
    recipe: dict[str, Any], tmp_path: Path, make_trial: MakeTrial
) -> None:
    """Nothing half-written is left."""
    into = tmp_path / "model"
    paths = make_trial({**recipe, "merge": {"into": str(into)}})
    (tmp_path / "adapter").mkdir()
    assert run(run_merge, paths, adapter=str(tmp_path / "adapter")) == 1
    assert "adapter_config.json" in Failure.read(paths.failure(1)).message
    assert not into.exists()


@pytest.mark.slow
def test_saved_adapter_is_judged_as_the_trial_judged_it(
    recipe: dict[str, Any], make_trial: MakeTrial, tmp_path: Path
) -> None:
    """To the last digit, on both bases, with errors; each document's score makes up the whole."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    rows = [
        {"question": f"{n} {n}", "choices": ["a b", "c", "dd"[: 1 + n % 2]], "gold": n % 3} for n in range(9)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        "task": "pick", "output_type": "multiple_choice", "dataset_path": "json", "test_split": "test",
        "dataset_kwargs": {"data_files": {"test": "rows.jsonl"}}, "doc_to_text": "Q: {{question}}A:",
        "doc_to_choice": "choices", "doc_to_target": "gold",
    }  # fmt: skip
    (folder / "pick.yaml").write_text(yaml.safe_dump(task))
    settings = {"names": None, "folder": str(folder), "metrics": None, "limit": 7, "fewshot": None}
    recipe["evaluation"]["tasks"] = {**settings, "chat_template": False, "shard_documents": 3}
    recipe["evaluation"]["bases"] = ["4bit", "16bit"]
    recipe["trainer"] |= {"max_steps": 2, "learning_rate": 0.01}
    trial = make_trial(recipe)
    assert run(run_trial, trial) == 0
    known = TrialResult.read(trial.metrics).metrics
    for number, (base, suffix) in enumerate([("4bit", ""), ("16bit", "_16bit")], start=1):
        paths = make_trial({**recipe, "judged": {"base": base}}, f"000{number}")
        assert run(run_evaluation, paths, adapter=str(trial.adapter)) == 0
        found = TrialResult.read(paths.metrics)
        for name in ("pick_acc", "pick_acc_norm"):
            assert found.metrics[name] == known[f"{name}{suffix}"]
            values = read_json(paths.documents)["documents"][name]["values"]
            assert (len(values), sum(values) / 7) == (7, pytest.approx(found.metrics[name].value))
        told = {one["name"]: one["higher_is_better"] for one in found.details["scores"]}
        assert told == {"pick_acc": True, "pick_acc_norm": True}


def test_kind_knows_its_adapters(recipe: dict[str, Any]) -> None:
    """What the commands ask before they submit: the tasks' numbers, none without tasks."""
    adapters = Qlora().adapters
    assert adapters.scores(recipe) == []
    settings = {"names": ["hellaswag"], "folder": None, "metrics": ["acc_norm"], "limit": 7, "fewshot": None}
    recipe["evaluation"]["tasks"] = {**settings, "chat_template": False, "shard_documents": 3}
    assert adapters.scores(recipe) == [
        {"name": "hellaswag_acc_norm", "task": "hellaswag", "metric": "acc_norm"}
    ]
    assert "trainer.lora_rank" in adapters.fixed
