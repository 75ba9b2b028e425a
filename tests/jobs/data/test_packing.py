"""Examples in one row: the losses and gradients of the same examples apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import ARCHITECTURES, saved
from selected_examples import load_examples

from hpo.paths import TrialPaths
from hpo.records import TrialResult
from jobs import run_trial
from jobs.data.packing import LENGTHS, Packer, attend_within_examples
from jobs.data.reading_order import reading_order
from jobs.data.tokens import COUNTED, IGNORED, TOKENS, Collator, Tokens
from jobs.errors import ModelError
from jobs.kinds.qlora import Qlora
from jobs.models.adapter import add_adapter
from jobs.models.base_model import load
from jobs.models.loss import token_losses
from jobs.models.precision import precision_for
from jobs.recipes.recipe import parse

CPU = precision_for(None)
MakeTrial = Callable[..., TrialPaths]


def examples() -> list[Tokens]:
    """Of 5 to 20 tokens; one of a single one, and one whose first token is part of the response."""
    ids = [tuple(3 + (start * 7 + place) % 40 for place in range(5 + 3 * start)) for start in range(6)]
    made = [Tokens(own, 2 + start) for start, own in enumerate(ids)]
    return [*made, Tokens((5,), 0), Tokens((4, 9, 8, 30), 0)]


def model_of(folder: Path, recipe: dict[str, Any], *, checkpointing: bool = False) -> Any:
    """The model in float32 with an adapter that is not zero."""
    recipe["trainer"]["quantisation"] = "none"
    made = parse(recipe)
    base = load(folder, made.model, CPU)
    attend_within_examples(base)
    model = add_adapter(base, made.trainer, 0, "origin").train()
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    if checkpointing:
        base.gradient_checkpointing_enable()
    return model


def learned(model: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Losses of a batch in the order of its tokens, and the gradients of their mean."""
    model.zero_grad()
    losses, _ = token_losses(model, batch, CPU)
    losses.mean().backward()
    return losses.detach(), [weight.grad.clone() for weight in model.parameters() if weight.requires_grad]


def test_row_by_hand() -> None:
    """Positions begin anew, the first token of an example never counts, nothing is padded."""
    row = Packer()([Tokens((7, 8, 9), 1), Tokens((4, 5), 0)])
    assert row["input_ids"].tolist() == [[7, 8, 9, 4, 5]]
    assert row["position_ids"].tolist() == [[0, 1, 2, 0, 1]]
    assert row["labels"].tolist() == [[IGNORED, 8, 9, IGNORED, 5]]
    assert row[LENGTHS] == (3, 2)
    assert row[COUNTED].tolist() == [1, 2, 4]
    assert row[TOKENS] == 5


@pytest.mark.parametrize(
    ("kind", "checkpointing"), [*((kind, False) for kind in ARCHITECTURES), ("llama", True), ("gpt2", True)]
)
def test_packed_losses_and_gradients_are_those_of_the_examples_apart(
    kind: str, checkpointing: bool, recipe: dict[str, Any], tmp_path: Path
) -> None:
    """To 1e-5, on every architecture, also where the forward pass is made a second time."""
    model = model_of(saved(kind, tmp_path / "model"), recipe, checkpointing=checkpointing)
    packed, packed_gradients = learned(model, Packer()(examples()))
    unmasked, unmasked_gradients = learned(model, Collator(1)(examples()))
    model.get_base_model().set_attn_implementation("sdpa")  # with masks, as transformers reads padded rows
    padded, padded_gradients = learned(model, Collator(1)(examples()))
    assert len(packed) == len(padded) == sum(len(one) - max(1, one.response_at) for one in examples())
    for losses, gradients in ((packed, packed_gradients), (unmasked, unmasked_gradients)):
        assert torch.allclose(losses, padded, atol=1e-5, rtol=0)
        assert all(
            torch.allclose(one, other, atol=1e-5, rtol=1e-4)
            for one, other in zip(gradients, padded_gradients, strict=True)
        )


def test_examples_see_nothing_of_each_other(recipe: dict[str, Any], tiny_model: Path) -> None:
    """Another neighbour changes no bit; without the lengths it would: the test can fail."""
    model = model_of(tiny_model, recipe).eval()
    first, second, other = examples()[3:6]
    with torch.no_grad():
        one, beside = (token_losses(model, Packer()([near, second]), CPU)[0] for near in (first, other))
        row = Packer()([first, second])
        row[LENGTHS] = (sum(row[LENGTHS]),)
        blurred, _ = token_losses(model, row, CPU)
    mine = len(second) - second.response_at
    assert torch.allclose(one[-mine:], beside[-mine:], atol=1e-6)
    assert not torch.allclose(one[-mine:], blurred[-mine:], atol=1e-3)


def test_sliding_window_is_kept_within_long_examples(recipe: dict[str, Any], tmp_path: Path) -> None:
    """A Mistral that sees 6 tokens back: the same losses packed and padded, others than where all is seen."""
    narrow = saved("mistral", tmp_path / "narrow", sliding_window=6)
    model = model_of(narrow, recipe).eval()
    with torch.no_grad():
        packed, _ = token_losses(model, Packer()(examples()), CPU)
        unmasked, _ = token_losses(model, Collator(1)(examples()), CPU)
        model.get_base_model().set_attn_implementation("sdpa")
        padded, _ = token_losses(model, Collator(1)(examples()), CPU)
        wide = model_of(saved("mistral", tmp_path / "wide"), recipe).eval()
        all_seen, _ = token_losses(wide, Packer()(examples()), CPU)
    assert torch.allclose(packed, padded, atol=1e-5, rtol=0)
    assert torch.allclose(unmasked, padded, atol=1e-5, rtol=0)
    assert not torch.allclose(packed, all_seen, atol=1e-3)


def test_packed_rows_are_read_in_random_order() -> None:
    """Every epoch once, whatever the lengths; the batches are not sorted."""
    lengths = [*range(1, 41)]
    order = reading_order(lengths, 4, 20, 5, by_length=False)
    assert sorted(order[:40]) == sorted(order[40:]) == list(range(40))
    spans = [max(order[at : at + 4]) - min(order[at : at + 4]) for at in range(0, 80, 4)]
    assert sum(spans) / len(spans) > 15


def test_unknown_architecture_is_refused(recipe: dict[str, Any], tiny_model: Path, tmp_path: Path) -> None:
    """By `plan`, which looks at the configuration, and by the trial itself."""
    recipe["data"]["packing"] = "packed"
    assert Qlora().problems(recipe) == []
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text(json.dumps({"model_type": "gemma2"}))
    (tmp_path / "other" / "model.safetensors").write_bytes(b"")
    recipe["model"]["path"] = str(tmp_path / "other")
    ((key, problem),) = Qlora().problems(recipe)
    assert key == "data.packing"
    assert "got packed with a model of type gemma2, expected none, or one of gpt2" in problem
    model = load(tiny_model, parse(recipe).model, CPU)
    model.config.model_type = "gemma2"  # type: ignore[misc]
    with pytest.raises(ModelError, match="gemma2"):
        attend_within_examples(model)


@pytest.mark.usefixtures("keep_handlers")
def test_packed_trial_counts_every_token_once(
    recipe: dict[str, Any], make_trial: MakeTrial, tokenizer: Any
) -> None:
    """All 29 training examples in the row of a step: two steps are two epochs."""
    recipe["data"]["packing"] = "packed"
    recipe["trainer"] |= {"batch_size": 29, "max_steps": 2}
    paths = make_trial(recipe)
    assert run_trial.main(str(paths.folder.parent.parent), "000", paths.folder.name) == 0
    made = load_examples(parse(recipe).data, tokenizer)
    assert len(made.train) == 29
    assert TrialResult.read(paths.metrics).metrics["tokens"].value == 2 * sum(map(len, made.train))
