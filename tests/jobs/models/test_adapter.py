"""The adapter's variants on models of every architecture that has presets."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import ARCHITECTURES, saved
from peft import PeftModel
from tiers import quick
from transformers import AutoModelForCausalLM

from jobs.data.tokens import Collator, Tokens
from jobs.models.adapter import add_adapter, save_adapter
from jobs.models.base_model import load, quantise
from jobs.models.loss import token_losses
from jobs.models.precision import precision_for
from jobs.recipes.recipe import parse

CPU = precision_for(None)
EXAMPLES = [Tokens(tuple(3 + (start + place) % 40 for place in range(9)), 4) for start in range(4)]


def losses(model: torch.nn.Module) -> torch.Tensor:
    """Of every token that counts, in evaluation mode."""
    with torch.no_grad():
        return token_losses(model.eval(), Collator(1)(EXAMPLES), CPU)[0]


def trained(model: PeftModel) -> PeftModel:
    """The model after three steps of plain gradient descent."""
    model.train()
    for _ in range(3):
        model.zero_grad()
        token_losses(model, Collator(1)(EXAMPLES), CPU)[0].mean().backward()
        for weight in model.parameters():
            if weight.requires_grad and weight.grad is not None:
                weight.data -= 0.1 * weight.grad
    return model


@pytest.mark.parametrize("variant", [{}, {"use_dora": True}, {"lora_bias": "all"}])
@pytest.mark.parametrize("kind", quick(ARCHITECTURES, list(ARCHITECTURES)[:1]))
def test_adapter_changes_nothing_at_first_learns_and_is_read_by_plain_peft(
    kind: str, variant: dict[str, Any], recipe: dict[str, Any], tmp_path: Path
) -> None:
    """On every architecture: the right layers, a falling loss, and the same losses from the saved files."""
    recipe["trainer"] |= {"quantisation": "none", **variant}
    made = parse(recipe)
    folder = saved(kind, tmp_path / "model")
    base = load(folder, made.model, CPU)
    untuned = losses(base)
    model = add_adapter(base, made.trainer, 0, str(folder))
    assert torch.allclose(losses(model), untuned, atol=1e-6)
    adapters = [name for name, _ in model.named_modules() if name.endswith("lora_A.default")]
    assert len(adapters) == 2 * ARCHITECTURES[kind][1]
    after = losses(trained(model))
    assert after.mean() < untuned.mean()
    save_adapter(model, tmp_path / "adapter")
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), str(tmp_path / "adapter"))
    assert torch.allclose(losses(plain), after, atol=1e-6)


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox", "qwen2"])
def test_four_bit_base_of_every_layout_trains(kind: str, recipe: dict[str, Any], tmp_path: Path) -> None:
    """GPT-2's turned weights among them: quantised, loaded, DoRA and biases trained."""
    recipe["trainer"] |= {"use_dora": True, "lora_bias": "lora_only"}
    made = parse(recipe)
    folder = saved(kind, tmp_path / "model")
    (tmp_path / "base").mkdir()
    quantise(folder, tmp_path / "base", made.trainer, made.model)
    base = load(tmp_path / "base", made.model, CPU)
    assert sum(type(layer).__name__ == "Linear4bit" for layer in base.modules()) == 2 * ARCHITECTURES[kind][1]
    untuned = losses(base)
    assert torch.allclose(untuned, losses(load(folder, made.model, CPU)), atol=0.5)
    model = add_adapter(base, made.trainer, 0, str(folder))
    assert torch.allclose(losses(model), untuned, atol=1e-5)
    assert losses(trained(model)).mean() < untuned.mean()


def test_rank_stabilised_scale_by_hand(recipe: dict[str, Any], tiny_model: Path) -> None:
    """alpha 8 and rank 4: 8 / 4 as it is, 8 / sqrt(4) with rsLoRA."""
    recipe["trainer"] |= {"quantisation": "none", "lora_alpha": 8, "lora_rank": 4}
    for stabilised, scale in ((False, 2.0), (True, 4.0)):
        recipe["trainer"]["use_rslora"] = stabilised
        made = parse(recipe)
        model: Any = add_adapter(load(tiny_model, made.model, CPU), made.trainer, 0, "origin")
        scales = {layer.scaling["default"] for layer in model.modules() if hasattr(layer, "lora_A")}
        assert [math.isclose(found, scale) for found in scales] == [True]
