"""Bases that are quantised already, names of layers, and cards: what is refused before anything is sent."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from bitsandbytes.nn.modules import Linear4bit

from hpo.controller.assembly import assemble, card_names
from hpo.controller.compose import compose_config
from hpo.errors import InputError
from jobs.data.tokens import Collator, Tokens
from jobs.errors import ModelError
from jobs.evaluation.validation_loss import evaluate
from jobs.kinds.qlora import Qlora
from jobs.models.adapter import add_adapter
from jobs.models.base_model import load, obtain_base
from jobs.models.precision import precision_for
from jobs.recipes.recipe import parse
from jobs.recipes.stored import linear_layers
from jobs.recipes.targets import resolve

EXAMPLES = [Tokens(tuple(3 + (start + place) % 40 for place in range(9)), 4) for start in range(3)]
GPTQ = {"quant_method": "gptq", "bits": 4}


def told(recipe: dict[str, Any]) -> dict[str, str]:
    """What is wrong with the model and the trainer, as `plan` tells it."""
    return {key: text for key, text in Qlora().problems(recipe) if not key.startswith("data")}


def stored_as(tiny_model: Path, folder: Path, quantised: dict[str, Any]) -> Path:
    """The tiny model with a config.json that says how it is quantised."""
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": quantised}))
    return folder


def test_base_in_four_bits_is_used_as_it_is(recipe: dict[str, Any], tmp_path: Path) -> None:
    """Nothing is quantised again; the loss is that of the model which was, and its layers take an adapter."""
    made, cpu = parse(recipe), precision_for(None)
    first = obtain_base(made, tmp_path / "cache", lambda line: None)
    shutil.copytree(first.folder, tmp_path / "stored")
    recipe["model"]["path"] = str(tmp_path / "stored")
    assert told(recipe) == {}
    again = obtain_base(parse(recipe), tmp_path / "other", pytest.fail)
    assert again.folder == tmp_path / "stored"
    assert not (tmp_path / "other" / "bases").exists()
    losses = []
    for base in (first, again):
        model = load(base.folder, made.model, cpu)
        assert sum(isinstance(layer, Linear4bit) for layer in model.modules()) == 2 * 7
        losses.append(evaluate(add_adapter(model, made.trainer, 0, "x"), EXAMPLES, Collator(1), 3, cpu).loss)
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("quantised", "change", "key", "words"),
    [
        (GPTQ, {}, "model.path", "quantised by gptq"),
        ({"quant_method": "awq", "bits": 4}, {}, "model.path", "quantised by awq"),
        ({"quant_method": "compressed-tensors"}, {}, "model.path", "the model that it was made from"),
        (
            {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"},
            {},
            "trainer.quantisation",
            "got nf4 with a base that is stored as fp4",
        ),
        ({"load_in_8bit": True}, {}, "trainer.quantisation", "stored as int8"),
        (
            {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
            {"bases": ["4bit", "16bit"]},
            "evaluation.bases",
            "got 16bit with a base that is stored as nf4",
        ),
    ],
)
def test_other_storage_is_refused_in_plan(
    recipe: dict[str, Any],
    tiny_model: Path,
    tmp_path: Path,
    quantised: dict[str, Any],
    change: dict[str, Any],
    key: str,
    words: str,
) -> None:
    """By its key, with what to take."""
    recipe["model"]["path"] = str(stored_as(tiny_model, tmp_path / "stored", quantised))
    recipe["evaluation"] |= change
    assert list(told(recipe)) == [key]
    assert words in told(recipe)[key]


def test_other_storage_is_refused_where_it_is_fetched(
    recipe: dict[str, Any], tiny_model: Path, tmp_path: Path
) -> None:
    """A model of the hub is not here yet when `plan` looks."""
    recipe["model"]["path"] = str(stored_as(tiny_model, tmp_path / "stored", GPTQ))
    with pytest.raises(ModelError, match="quantised by gptq"):
        obtain_base(parse(recipe), tmp_path / "cache", lambda line: None)


def test_layers_are_read_from_the_files(tiny_model: Path) -> None:
    """Seven of each of two blocks; no embeddings, no norms, no head."""
    names = {name.rpartition(".")[2] for name in linear_layers(tiny_model)}
    assert names == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert len(linear_layers(tiny_model)) == 2 * 7


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ("all-linear", ""),
        ("all", ""),
        ("q_proj, v_proj", ""),
        (["q_proj", "self_attn.v_proj"], ""),
        (["q_proj", "w1"], "got w1, expected names among down_proj"),
        ("c_attn,q_proj", "got c_attn, expected names among down_proj"),
        (["q_proj", "lm_head"], "got lm_head, expected layers between the embeddings and the head"),
        ("model.embed_tokens,q_proj", "got model.embed_tokens"),
        ("[q_proj,v_proj]", "each of letters, digits"),
        (["q_proj", ""], "each of letters, digits"),
    ],
)
def test_target_modules_are_checked_in_plan(recipe: dict[str, Any], targets: Any, words: str) -> None:
    """Names that the model lacks, and its head, are refused before anything is submitted."""
    recipe["trainer"]["target_modules"] = targets
    assert words in told(recipe).get("trainer.target_modules", "")
    assert ("trainer.target_modules" in told(recipe)) == bool(words)


def test_all_linear_takes_whatever_the_model_has() -> None:
    """Also layers that no preset knows."""
    layers = ["h.0.attention.strange", "h.0.mlp.odd", "h.1.mlp.odd"]
    assert resolve("all-linear", layers) == ["odd", "strange"]


@pytest.mark.parametrize("written", ["choice([q_proj,v_proj],all)", "choice('q_proj,v_proj',all)"])
def test_lists_of_names_are_choices(written: str) -> None:
    """As a list, and as text with commas."""
    parts = assemble(*compose_config(["cluster=local", f"space.target_modules={written}"]))
    assert parts.space.parameters["target_modules"].describe()["values"] == ["q_proj,v_proj", "all"]


def test_names_with_commas_need_no_quotes() -> None:
    """On the command line."""
    raw, problems = compose_config(["trainer.target_modules=q_proj,v_proj"])
    assert (raw["trainer"]["target_modules"], problems) == ("q_proj,v_proj", [])


@pytest.mark.parametrize(
    ("overrides", "refused"),
    [
        (["cluster.gres=gpu:v100", "trainer.quantisation=int8"], True),
        (["cluster.constraint=p100|a100", "space.trainer.quantisation=choice(nf4,int8)"], True),
        (["cluster.gres=gpu:a100", "trainer.quantisation=int8"], False),
        (["cluster.gres=gpu:v100", "trainer.quantisation=nf4"], False),
        (["trainer.quantisation=int8"], False),
    ],
)
def test_int8_needs_a_card_that_has_it(overrides: list[str], refused: bool) -> None:
    """Told by the name of the card that trials ask for."""
    raw, problems = compose_config(["cluster=local", *overrides])
    assert isinstance(card_names(raw), str)
    if not refused:
        assemble(raw, problems)
        return
    with pytest.raises(InputError, match=r"got int8 for cards called [vp]100"):
        assemble(raw, problems)


@pytest.mark.parametrize(
    ("value", "shown"), [(float("inf"), "inf"), (float("nan"), "nan"), ({"a": [-float("inf")]}, "-inf")]
)
def test_arguments_are_finite(recipe: dict[str, Any], value: Any, shown: str) -> None:
    """By key, also where they are deep in it."""
    recipe["trainer"]["args"]["lr_scheduler_kwargs"] = value
    problem = told(recipe)["trainer.args.lr_scheduler_kwargs"]
    assert shown in problem
    assert problem.endswith("expected finite numbers")
