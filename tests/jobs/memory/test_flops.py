"""How much computing a training takes: against counting by hand and published rates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpo.forecasts.cards import UTILISATION
from jobs.memory.flops import flops_per_token, training_effort
from jobs.memory.peak import FULL_TOKENS, Architecture, Load

LLAMA_8B = Architecture(4096, 14336, 32, 4096, 1024, 128256, tied=False)
QWEN_7B = Architecture(4096, 11008, 32, 4096, 4096, 151936, tied=False)
SIZES = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
}  # fmt: skip


@pytest.fixture
def sized(recipe: dict[str, Any]) -> dict[str, Any]:
    """Llama-3-8B, a model that is not here, on 1,000 rows of 256 tokens, a tenth of them for validation."""
    recipe["model"] |= {"path": "owner/not-here", "package": None, "file": None, "sizes": SIZES}
    recipe["data"] |= {
        "max_length": 512, "train_examples": None, "validation_fraction": 0.1,
        "sizes": {"rows": 1000, "tokens": 256},
    }  # fmt: skip
    recipe["trainer"] |= {
        "lora_rank": 16, "target_modules": "qv", "batch_size": 4, "micro_batch_size": 4,
        "max_steps": None, "epochs": 2, "gradient_checkpointing": False,
    }  # fmt: skip
    return recipe


def test_operations_of_llama_3_8b_by_hand() -> None:
    """Rank 16 on q_proj and v_proj, examples of 1,000 tokens, in billions of operations a token.

    Weights 6.979, head 0.525, adapters 32 x 16 x (8192 + 5120), 0.007, attention 32 x 1000 x 4096, 0.131.
    Forward 2 x (6.979 + .007 + .131) = 14.234; backward 2 x (6.979 + .014 + .262) = 14.510; head 4 x 0.525.
    """
    load = Load(rank=16, targets=("q_proj", "v_proj"), tokens=1)
    kept = flops_per_token(LLAMA_8B, load, 1000, checkpointing=False)
    assert kept / 1e9 == pytest.approx(14.234 + 14.510 + 2.101, abs=2e-3)
    again = flops_per_token(LLAMA_8B, load, 1000, checkpointing=True)
    assert (again - kept) / 1e9 == pytest.approx(14.234, abs=2e-3)


@pytest.mark.parametrize(("length", "seconds"), [(1024, 3.5), (2048, 7.0)])
def test_a_third_of_the_peak_is_what_qlora_was_published_to_reach(length: int, seconds: float) -> None:
    """Qwen's README: Q-LoRA of Qwen-7B, rank 64, 8 passes of one example, on an A100 of 312 TFLOP/s.

    It is what `hpo.forecasts.cards` thinks that any card could reach.
    """
    load = Load(rank=64, targets=tuple(QWEN_7B.linears), tokens=1)
    rate = 8 * length / seconds * flops_per_token(QWEN_7B, load, length, checkpointing=True)
    assert rate / 312e12 == pytest.approx(UTILISATION, rel=0.03)


def test_effort_follows_from_the_rows_and_their_length(sized: dict[str, Any]) -> None:
    """900 rows twice in batches of 4: 450 steps of 4 x 256 tokens, and passes that fill the card."""
    effort = training_effort(sized, Path("/no/cache"))
    assert effort is not None
    assert effort["tokens"] == 450 * 4 * 256
    load = Load(rank=16, targets=("q_proj", "v_proj"), tokens=1)
    each = flops_per_token(LLAMA_8B, load, 256, checkpointing=False)
    assert effort["flops"] == pytest.approx(effort["tokens"] * each)
    assert effort["most"] == 0


def test_small_forward_passes_take_as_long_as_full_ones(sized: dict[str, Any]) -> None:
    """One example of 256 tokens a pass: as long as of 512."""
    together = training_effort(sized, Path("/no/cache"))
    sized["trainer"]["micro_batch_size"] = 1
    apart = training_effort(sized, Path("/no/cache"))
    assert together is not None
    assert apart is not None
    assert apart["flops"] / together["flops"] == pytest.approx(FULL_TOKENS / 256)


def test_what_is_not_known_is_a_bound_or_nothing(sized: dict[str, Any]) -> None:
    """Without sizes: steps times the longest examples; epochs of unknown length say nothing."""
    sized["data"]["sizes"] = None
    assert training_effort(sized, Path("/no/cache")) is None
    sized["trainer"] |= {"max_steps": 10, "epochs": None}
    effort = training_effort(sized, Path("/no/cache"))
    assert effort is not None
    assert (effort["tokens"], effort["most"]) == (10 * 4 * 512, 1)
    sized["model"]["sizes"] = None
    assert training_effort(sized, Path("/no/cache")) is None


def test_cards_that_share_a_batch_share_the_computing(sized: dict[str, Any]) -> None:
    """Two cards with two examples each: as many tokens, half the operations; by layers they share none."""
    sized["trainer"] |= {"micro_batch_size": 2}
    one = training_effort(sized, Path("/no/cache"))
    sized["trainer"] |= {"gpus": 2, "parallel": "data"}
    two = training_effort(sized, Path("/no/cache"))
    assert one is not None
    assert two is not None
    assert two["tokens"] == one["tokens"]
    assert two["flops"] == pytest.approx(one["flops"] / 2)
    sized["trainer"] |= {"parallel": "layers"}
    assert training_effort(sized, Path("/no/cache")) == one
