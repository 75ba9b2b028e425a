"""Base model, adapter and loss where they are meant to run; the same bodies on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from bitsandbytes.nn.modules import Linear4bit
from torch.nn.attention import SDPBackend, sdpa_kernel

from jobs.data.packing import Packer, attend_within_examples
from jobs.data.tokens import Collator, Tokens, on_device
from jobs.errors import ModelError
from jobs.evaluation.validation_loss import evaluate
from jobs.models.adapter import add_adapter
from jobs.models.base_model import load, obtain_base
from jobs.models.loss import chunked, token_losses
from jobs.models.precision import FORCED, Precision, of_this_machine, precision_for
from jobs.recipes.recipe import parse

# Of lengths that differ, 9 to 24 tokens.
EXAMPLES = [Tokens(tuple(3 + (at + place) % 40 for place in range(9 + 3 * at)), 4 + at) for at in range(6)]
# Of a loss near ln(68) = 4.2, and of gradients by direction: half precision rounds to 2^-9 or 2^-11.
LOSS, COSINE = 0.02, 0.99


def _adapted(recipe: dict[str, Any], cache: Path, precision: Precision) -> Any:
    made = parse(recipe)
    base = obtain_base(made, cache, lambda line: None)
    model = add_adapter(load(base.folder, made.model, precision), made.trainer, 0, "origin")
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:  # else the weights A have no gradients
            weight.data = (0.1 * torch.randn(weight.shape)).to(weight)
    return model.train()


def _learned(
    model: Any, batch: dict[str, Any], precision: Precision
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Losses, and the gradients of their mean, which must all be there and finite."""
    model.zero_grad()
    losses, _ = token_losses(model, on_device(batch, precision.device), precision)
    scale = 2.0**12 if precision.compute is torch.float16 else 1.0
    (scale * losses.mean()).backward()
    found = {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}
    assert all(grad is not None and bool(grad.isfinite().all()) for grad in found.values())
    return losses.detach().float().cpu(), {name: grad.float().cpu() / scale for name, grad in found.items()}


def _flat(gradients: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([gradients[name].reshape(-1) for name in sorted(gradients)])


@pytest.mark.parametrize("quantisation", ["nf4", "fp4", "none"])
def test_every_adapter_weight_learns(
    quantisation: str, recipe: dict[str, Any], cache: Path, precision: Precision
) -> None:
    """After an evaluation too; the loss is near that of the model in float32 that is not quantised."""
    recipe["trainer"]["quantisation"] = quantisation
    model = _adapted(recipe, cache, precision)
    evaluate(model, EXAMPLES, Collator(1), 2, precision)
    losses, gradients = _learned(model, Collator(1)(EXAMPLES), precision)
    assert len(gradients) == 2 * 7 * 2  # A and B of seven layers of two blocks
    assert all(bool(grad.abs().max() > 0) for grad in gradients.values())
    recipe["trainer"]["quantisation"] = "none"
    cpu = precision_for(None)
    plain, _ = _learned(_adapted(recipe, cache, cpu), Collator(1)(EXAMPLES), cpu)
    assert float(losses.mean()) == pytest.approx(float(plain.mean()), abs=0.1)


@pytest.mark.gpu
def test_int8_learns_where_the_card_can(recipe: dict[str, Any], cache: Path, card: torch.device) -> None:
    """From 7.5 on."""
    if torch.cuda.get_device_capability(card) < (7, 5):
        pytest.skip("int8 needs a card of compute capability 7.5")
    recipe["trainer"]["quantisation"] = "int8"
    precision = of_this_machine()
    _, gradients = _learned(_adapted(recipe, cache, precision), Collator(1)(EXAMPLES), precision)
    assert all(bool(grad.abs().max() > 0) for grad in gradients.values())


@pytest.mark.gpu
def test_int8_is_refused_with_the_policy_of_a_v100(
    recipe: dict[str, Any], cache: Path, card: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is computed."""
    recipe["trainer"]["quantisation"] = "int8"
    monkeypatch.setenv(FORCED, "7.0")
    with pytest.raises(ModelError, match=r"compute capability 7\.0"):
        _adapted(recipe, cache, of_this_machine())


@pytest.mark.gpu
def test_policies_of_a_card(card: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own by its capability; that of a V100 on any."""
    own = of_this_machine()
    assert own.compute is (torch.bfloat16 if own.capability >= (8, 0) else torch.float16)  # type: ignore[operator]
    monkeypatch.setenv(FORCED, "7.0")
    forced = of_this_machine()
    assert (forced.compute, forced.scales_loss, forced.repeats_kv) == (torch.float16, True, True)


def test_formats_of_the_parts(recipe: dict[str, Any], cache: Path, precision: Precision) -> None:
    """Packed bytes in linear layers, norms and adapters in float32, the rest as the card computes."""
    model = _adapted(recipe, cache, precision)
    for name, weight in model.named_parameters():
        if "lora" in name or "norm" in name:
            assert weight.dtype is torch.float32, name
        else:
            assert weight.dtype is (precision.compute if "embed" in name else torch.uint8), name
        assert weight.device.type == precision.device.type, name
    four_bit = [layer for layer in model.modules() if isinstance(layer, Linear4bit)]
    assert four_bit
    assert {layer.compute_dtype for layer in four_bit} == {precision.compute}


@pytest.mark.parametrize("changes", [{"use_dora": True}, {"use_rslora": True, "lora_rank": 16}], ids=str)
def test_variants_learn(
    changes: dict[str, Any], recipe: dict[str, Any], cache: Path, precision: Precision
) -> None:
    """DoRA's magnitudes among them."""
    recipe["trainer"] |= changes
    _, gradients = _learned(_adapted(recipe, cache, precision), Collator(1)(EXAMPLES), precision)
    assert len(gradients) == 2 * 7 * (3 if "use_dora" in changes else 2)


def test_gradients_are_near_those_of_float32(recipe: dict[str, Any], cache: Path, half: Precision) -> None:
    """In float16 with a scaled loss and in bfloat16: losses to 0.02 nats, gradients by their direction."""
    recipe["trainer"]["quantisation"] = "none"
    cpu = precision_for(None)
    true, wanted = _learned(_adapted(recipe, cache, cpu), Collator(1)(EXAMPLES), cpu)
    losses, gradients = _learned(_adapted(recipe, cache, half), Collator(1)(EXAMPLES), half)
    assert float((losses - true).abs().max()) < 5 * LOSS
    assert float(losses.mean()) == pytest.approx(float(true.mean()), abs=LOSS)
    assert float(F.cosine_similarity(_flat(gradients), _flat(wanted), dim=0)) > COSINE


def test_packed_rows_give_what_padded_ones_do(
    recipe: dict[str, Any], cache: Path, precision: Precision
) -> None:
    """Without masks, and padded with the masks of transformers: losses and gradients."""
    model = _adapted(recipe, cache, precision)
    masked, wanted = _learned(model, Collator(1)(EXAMPLES), precision)
    attend_within_examples(model.get_base_model())
    most = 1e-5 if precision.compute is torch.float32 else 5 * LOSS
    for collate in (Packer(), Collator(1)):
        losses, gradients = _learned(model, collate(EXAMPLES), precision)
        assert torch.allclose(losses, masked, atol=most, rtol=0)
        assert float(F.cosine_similarity(_flat(gradients), _flat(wanted), dim=0)) > COSINE


def test_checkpointed_activations_change_no_gradient(
    recipe: dict[str, Any], cache: Path, precision: Precision
) -> None:
    """Made again they are what they were."""
    model = _adapted(recipe, cache, precision)
    losses, gradients = _learned(model, Collator(1)(EXAMPLES), precision)
    model.get_base_model().gradient_checkpointing_enable()
    again, same = _learned(model, Collator(1)(EXAMPLES), precision)
    assert torch.allclose(losses, again, atol=1e-5)
    assert float(F.cosine_similarity(_flat(gradients), _flat(same), dim=0)) > 0.9999


@pytest.mark.parametrize("logit", [0.0, 25.0], ids=["flat", "peaked"])
def test_loss_in_pieces_loses_nothing_in_half_precision(logit: float, half: Precision) -> None:
    """128,256 words, 700 rows, a scaled loss: as near to float64 as the whole logits are, or nearer."""
    torch.manual_seed(0)
    device, words, rows = half.device, 128_256, 700 if half.device.type == "cuda" else 3
    head = torch.nn.Linear(64, words, bias=False).requires_grad_(False)
    torch.nn.init.normal_(head.weight, std=0.02)
    head = head.to(device, half.compute)
    targets = torch.randint(words, (rows,)).to(device)
    toward = head.weight[targets].float()
    start = toward * (logit / toward.square().sum(1, keepdim=True))
    start = (start + 0.01 * torch.randn(rows, 64).to(device)).to(half.compute)

    def gradient(losses: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        hidden = start.clone().requires_grad_()
        (32.0 * losses(hidden)).sum().backward()
        assert hidden.grad is not None
        return hidden.grad.float()

    with torch.no_grad():
        sure = torch.softmax(head(start).double(), dim=-1)
        sure.scatter_add_(1, targets[:, None], sure.new_full((rows, 1), -1.0))
        true = (32.0 * sure @ head.weight.double()).float()
    whole = gradient(lambda hidden: F.cross_entropy(head(hidden).float(), targets, reduction="none"))
    pieces = gradient(lambda hidden: chunked(head, hidden, targets))
    apart, allowed = ((own - true).norm() / true.norm() for own in (pieces, whole))
    assert float(apart) <= float(allowed) + 1e-3


@pytest.mark.gpu
def test_grouped_attention_of_a_v100_takes_the_fused_kernel(
    recipe: dict[str, Any], cache: Path, card: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither masks nor groups send it to the kernel that makes all the weights."""
    monkeypatch.setenv(FORCED, "7.0")
    precision = of_this_machine()
    model = _adapted(recipe, cache, precision)
    attend_within_examples(model.get_base_model())
    with sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION]):  # else: no kernel is there
        _learned(model, Collator(1)(EXAMPLES), precision)
        _learned(model, Packer()(EXAMPLES), precision)


@pytest.mark.gpu
def test_a_forced_capability_that_is_none_is_refused(
    card: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the name of the variable."""
    monkeypatch.setenv(FORCED, "volta")
    with pytest.raises(ModelError, match=f"{FORCED}: got 'volta'"):
        of_this_machine()
