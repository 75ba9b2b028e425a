"""The quantised base model: formats, the trap of some CPUs, targets, loss and evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from bitsandbytes.nn.modules import Linear4bit, has_avx512bf16  # type: ignore[attr-defined]

from jobs.data.tokens import IGNORED, Collator, Tokens
from jobs.errors import Diverged, ModelError, RecipeError
from jobs.evaluation.validation_loss import evaluate, judge
from jobs.models import base_model
from jobs.models.adapter import add_adapter, linear_layers
from jobs.models.base_model import load, obtain_base
from jobs.models.loss import token_losses
from jobs.models.precision import guard, precision_for
from jobs.recipes.recipe import parse
from jobs.recipes.targets import resolve

CPU = precision_for(None)
EXAMPLES = [Tokens(tuple(3 + (start + place) % 40 for place in range(9)), 4) for start in range(6)]


def adapted(recipe: dict[str, Any], cache: Path) -> Any:
    """The tiny model with an adapter on every linear layer."""
    made = parse(recipe)
    base = obtain_base(made, cache, lambda line: None)
    return add_adapter(load(base.folder, made.model, CPU), made.trainer, 0, "origin")


def stirred(model: Any) -> Any:
    """The model with LoRA weights B that are not zero, so that those of A have gradients too."""
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return model


def gradients(model: Any) -> list[torch.Tensor | None]:
    """Of every LoRA weight after one backward pass in training mode."""
    model.train()
    model.zero_grad()
    losses, _ = token_losses(model, Collator(1)(EXAMPLES), CPU)
    losses.mean().backward()
    return [weight.grad for weight in model.parameters() if weight.requires_grad]


def test_every_lora_weight_has_its_gradient_after_an_evaluation(recipe: dict[str, Any], cache: Path) -> None:
    """Train, evaluate, train: the gradients are there, and those of before to the last bit."""
    model = stirred(adapted(recipe, cache))
    before = gradients(model)
    evaluate(model, EXAMPLES, Collator(1), 2, CPU)
    after = gradients(model)
    assert len(after) == 2 * 7 * 2  # A and B of seven layers of two blocks
    for first, second in zip(before, after, strict=True):
        assert first is not None
        assert second is not None
        assert torch.equal(first, second)


@pytest.mark.skipif(not has_avx512bf16(), reason="only CPUs with AVX512-BF16 have the trap")
@pytest.mark.filterwarnings("ignore:bitsandbytes..gemv_4bit")
def test_without_the_guard_an_evaluation_spoils_the_gradients(recipe: dict[str, Any], cache: Path) -> None:
    """The test above can fail: with bitsandbytes as it comes the gradients are gone or wrong."""
    model = stirred(adapted(recipe, cache))
    before = gradients(model)
    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            layer.support_avx512bf16_for_cpu = True
    evaluate(model, EXAMPLES, Collator(1), 2, CPU)
    after = gradients(model)
    assert not any(same(first, second) for first, second in zip(before, after, strict=True))


def same(first: torch.Tensor | None, second: torch.Tensor | None) -> bool:
    """Whether both are there and alike to a hundredth."""
    return first is not None and second is not None and torch.allclose(first, second, rtol=0.01, atol=1e-9)


@pytest.mark.parametrize("quantisation", ["nf4", "fp4", "int8", "none"])
def test_every_quantisation_loads_and_passes_gradients(
    recipe: dict[str, Any], cache: Path, quantisation: str
) -> None:
    """Each kind is built, loaded, and close to the plain model."""
    recipe["trainer"]["quantisation"] = quantisation
    model = adapted(recipe, cache)
    assert all(gradient is not None for gradient in gradients(model))
    recipe["trainer"]["quantisation"] = "none"
    plain = evaluate(adapted(recipe, cache), EXAMPLES, Collator(1), 2, CPU)
    assert evaluate(model, EXAMPLES, Collator(1), 2, CPU).loss == pytest.approx(plain.loss, abs=0.1)


def test_quantised_layers_are_four_bit_and_the_rest_is_float32(recipe: dict[str, Any], cache: Path) -> None:
    """On the CPU: packed bytes in the linear layers, float32 elsewhere, everything frozen but LoRA."""
    model = adapted(recipe, cache)
    kinds = {type(p).__name__: p.dtype for p in model.parameters() if not p.requires_grad}
    assert kinds == {"Params4bit": torch.uint8, "Parameter": torch.float32}
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert all("lora_" in name for name in trained)


def test_adapter_depends_on_the_seed_alone(recipe: dict[str, Any], cache: Path) -> None:
    """The same seed makes the same weights whatever was drawn before."""
    first = adapted(recipe, cache).state_dict()
    torch.rand(7)
    second = adapted(recipe, cache).state_dict()
    names = [name for name in first if "lora_A" in name]
    assert names
    assert all(torch.equal(first[name], second[name]) for name in names)


def test_base_is_quantised_once(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second trial finds the entry, another quantisation makes another one."""
    calls = []
    real = base_model.quantise
    monkeypatch.setattr(base_model, "quantise", lambda *args: (calls.append(args), real(*args)))  # type: ignore[func-returns-value]
    for quantisation in ("nf4", "nf4", "fp4"):
        recipe["trainer"]["quantisation"] = quantisation
        obtain_base(parse(recipe), tmp_path / "cache", lambda line: None)
    assert len(calls) == 2


def test_loss_is_that_of_transformers(recipe: dict[str, Any], cache: Path) -> None:
    """Without the logits of the prompt: the mean equals the model's own loss."""
    model = adapted(recipe, cache).eval()
    batch = Collator(1)([*EXAMPLES[:2], Tokens(EXAMPLES[2].ids[:6], 3)])
    with torch.no_grad():
        losses, rows = token_losses(model, batch, CPU)
        assert losses.mean().item() == pytest.approx(model(**batch).loss.item(), rel=1e-6)
    assert rows.tolist() == [0] * 5 + [1] * 5 + [2] * 3


def test_loss_of_unknown_architecture_uses_its_own_forward_pass(
    recipe: dict[str, Any], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways give the same losses where both are right."""
    model = adapted(recipe, cache).eval()
    batch = Collator(1)(EXAMPLES)
    with torch.no_grad():
        short, _ = token_losses(model, batch, CPU)
        monkeypatch.setattr("jobs.models.loss.PLAIN_HEADS", frozenset())
        full, _ = token_losses(model, batch, CPU)
    torch.testing.assert_close(short, full)


def test_evaluation_is_weighted_by_tokens(recipe: dict[str, Any], cache: Path) -> None:
    """Against cross-entropy over all tokens at once, with batches that do not divide the examples."""
    model = adapted(recipe, cache).eval()
    examples = [Tokens(tokens.ids[: 5 + n % 4], 2 + n % 2) for n, tokens in enumerate(EXAMPLES)]
    batch = Collator(1)(examples)
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    whole = F.cross_entropy(
        logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=IGNORED
    )
    judged = evaluate(model, examples, Collator(1), 4, CPU)
    assert judged.loss == pytest.approx(whole.item(), rel=1e-5)
    assert judged.tokens == int((batch["labels"][:, 1:] != IGNORED).sum())


def test_standard_error_by_hand() -> None:
    """2 and 6 nats over 1 and 3 tokens: no spread; 1 and 3 over 1 and 1: L = 2, SE = sqrt(2 * 2) / 2."""
    assert judge([2.0, 6.0], [1, 3]).standard_error == 0.0
    judged = judge([1.0, 3.0], [1, 1])
    assert (judged.loss, judged.standard_error) == (2.0, 1.0)
    assert judge([1.0], [2]).standard_error is None
    assert judge([1.0, 0.0, 3.0], [1, 0, 1]).examples == 2


def test_loss_that_is_not_finite_is_no_value() -> None:
    """NaN is an outcome of its own, never a number."""
    with pytest.raises(Diverged, match="expected a finite number"):
        judge([float("nan"), 1.0], [1, 1])


@pytest.mark.parametrize(
    ("capability", "compute", "scales", "repeats"),
    [
        ((7, 0), torch.float16, True, True),
        ((7, 5), torch.float16, True, True),
        ((8, 0), torch.bfloat16, False, False),
        ((9, 0), torch.bfloat16, False, False),
        (None, torch.float32, False, False),
    ],
)
def test_precision_follows_the_card(
    capability: tuple[int, int] | None, compute: torch.dtype, scales: bool, repeats: bool
) -> None:
    """Float16 with a scaled loss before Ampere, bfloat16 from there, float32 on the CPU."""
    chosen = precision_for(capability)
    assert (chosen.compute, chosen.scales_loss, chosen.repeats_kv) == (compute, scales, repeats)


@pytest.mark.parametrize(
    ("capability", "architectures", "fits"),
    [
        ((7, 0), ["sm_70", "sm_80"], True),
        ((7, 0), ["sm_75", "sm_80"], False),
        ((8, 6), ["sm_80", "sm_90"], True),
        ((8, 0), ["sm_86"], False),
        ((9, 0), ["sm_80", "compute_80"], True),
        ((7, 0), ["sm_75", "compute_75"], False),
        ((12, 0), ["sm_100", "sm_120"], True),
    ],
)
def test_guard_knows_what_a_build_runs_on(
    capability: tuple[int, int], architectures: list[str], fits: bool
) -> None:
    """Same major version and no higher minor one, or code that the driver can compile further."""
    if fits:
        guard(capability, architectures, "card")
        return
    with pytest.raises(ModelError, match=r"expected sm_\d+ for card"):
        guard(capability, architectures, "card")


def test_presets_take_the_layers_that_the_model_has(recipe: dict[str, Any], cache: Path) -> None:
    """On a Llama: two, four, three and seven names; never the head."""
    made = parse(recipe)
    layers = linear_layers(load(obtain_base(made, cache, lambda line: None).folder, made.model, CPU))
    assert not any("lm_head" in layer for layer in layers)
    assert resolve("qv", layers) == ["q_proj", "v_proj"]
    assert resolve("attention", layers) == ["k_proj", "o_proj", "q_proj", "v_proj"]
    assert resolve("mlp", layers) == ["down_proj", "gate_proj", "up_proj"]
    assert len(resolve("all", layers)) == 7
    assert resolve("q_proj, up_proj", layers) == ["q_proj", "up_proj"]


def test_presets_fit_older_architectures() -> None:
    """GPT-NeoX and GPT-2 names, with attention and feed-forward projections told apart."""
    neox = ["h.0.attention.query_key_value", "h.0.attention.dense", "h.0.mlp.dense_h_to_4h"]
    assert resolve("attention", neox) == ["attention.dense", "query_key_value"]
    gpt2 = ["h.0.attn.c_attn", "h.0.attn.c_proj", "h.0.mlp.c_fc", "h.0.mlp.c_proj"]
    assert resolve("mlp", gpt2) == ["mlp.c_fc", "mlp.c_proj"]
    assert resolve("qv", gpt2) == ["c_attn"]


def test_unknown_target_names_what_there_is() -> None:
    """The message lists the layers of the model."""
    with pytest.raises(RecipeError, match="got nope, expected names among q_proj, v_proj"):
        resolve(["nope", "q_proj"], ["a.q_proj", "a.v_proj"])
