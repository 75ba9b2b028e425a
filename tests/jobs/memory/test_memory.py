"""The memory model against published peaks, against counting by hand, and what is chosen with it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobs.memory.peak import CONTEXT, WASTE, Architecture, Load, correction, fitting, predict_peak_memory

LLAMA_8B = Architecture(4096, 14336, 32, 4096, 1024, 128256, tied=False)
LLAMA_70B = Architecture(8192, 28672, 80, 8192, 1024, 128256, tied=False)
ALL = tuple(LLAMA_8B.linears)


def _of_512(examples: int) -> int:
    return 512 * examples


def _hugging_face(tokens: int) -> Load:
    """Rank 32, all linear layers, embeddings and head in float32 as peft's preparation leaves them."""
    return Load(rank=32, targets=ALL, tokens=tokens, weight_bytes=4)


@pytest.mark.parametrize(
    ("tokens", "gigabytes"),
    [(932, 12), (2551, 16), (5789, 24), (12264, 40), (15502, 48), (28454, 80)],
)
def test_published_longest_contexts_of_llama_3_8b(tokens: int, gigabytes: float) -> None:
    """Unsloth's table of the longest context that fits a card with Hugging Face and FlashAttention 2."""
    assert predict_peak_memory(LLAMA_8B, _hugging_face(tokens)).total == pytest.approx(
        gigabytes * 1e9, rel=0.10
    )


def test_published_longest_context_of_llama_3_70b() -> None:
    """The same table: 6,916 tokens on 80 GB."""
    assert predict_peak_memory(LLAMA_70B, _hugging_face(6916)).total == pytest.approx(80e9, rel=0.10)


def test_double_quantisation_saves_what_was_published() -> None:
    """LitGPT, Llama-2-7B: 0.29 to 0.32 GB less with double quantisation."""
    model = Architecture(4096, 11008, 32, 4096, 4096, 32000, tied=False)
    single = predict_peak_memory(model, replace(_hugging_face(512), double_quantisation=False))
    double = predict_peak_memory(model, _hugging_face(512))
    assert (single.base - double.base) / WASTE == pytest.approx(0.305e9, rel=0.05)


def test_parts_of_llama_3_8b_by_hand() -> None:
    """Rank 16 on all linear layers: 41.9 M adapter weights, 6.98 G base weights, 4.127 bits each."""
    peak = predict_peak_memory(LLAMA_8B, Load(rank=16, targets=ALL, tokens=1))
    adapters = 32 * 16 * (8192 + 5120 + 5120 + 8192 + 3 * 18432)
    assert adapters == 41_943_040
    assert peak.adapters == peak.gradients == pytest.approx(WASTE * 4 * adapters)
    assert peak.optimiser == pytest.approx(WASTE * 8 * adapters)
    weights = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    assert peak.base == pytest.approx(WASTE * weights * 4.127 / 8)
    assert peak.logits == pytest.approx(WASTE * 16 * 128256)
    assert peak.total == pytest.approx(sum(peak.__dict__.values()))


def test_dora_adds_magnitudes_and_a_moment_of_whole_weights() -> None:
    """One number a row; 468 MB were measured for a layer of 4096 x 8192 (torch 2.13, peft 0.21)."""
    wide = replace(LLAMA_8B, intermediate=8192)
    plain = Load(rank=8, targets=("up_proj",), tokens=1)
    with_dora = predict_peak_memory(wide, replace(plain, dora=True))
    without = predict_peak_memory(wide, plain)
    assert (with_dora.adapters - without.adapters) / WASTE == pytest.approx(4 * 32 * 8192)
    assert (with_dora.dequantised - without.dequantised) / WASTE == pytest.approx(468e6, rel=0.01)


def test_layers_on_two_cards_share_all_but_what_is_made_for_a_moment() -> None:
    """Half of weights, adapters and kept activations each; logits and a block made again are whole."""
    load = Load(rank=16, targets=ALL, tokens=2048, logit_rows=512)
    whole, split = (predict_peak_memory(LLAMA_8B, replace(load, cards=cards)) for cards in (1, 2))
    for part in ("base", "embeddings", "adapters", "gradients", "optimiser"):
        assert getattr(split, part) == pytest.approx(getattr(whole, part) / 2)
    assert (split.logits, split.dequantised, split.context) == (
        whole.logits,
        whole.dequantised,
        whole.context,
    )
    kept = WASTE * 2 * 2048 * 32 * 4096  # half precision, what goes into each of 32 blocks
    assert whole.activations - split.activations == pytest.approx(kept / 2)


def test_sizes_are_read_from_a_configuration() -> None:
    """As transformers writes it, of a Llama with grouped queries and of a GPT-2."""
    llama = {
        "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True,
    }  # fmt: skip
    assert Architecture.of(llama) == Architecture(576, 1536, 30, 576, 192, 49152, tied=True)
    gpt2 = {"model_type": "gpt2", "n_embd": 768, "n_head": 12, "n_layer": 12, "vocab_size": 50257}
    assert Architecture.of(gpt2) == Architecture(768, 3072, 12, 768, 768, 50257, tied=True, gated=False)
    assert "gate_proj" not in Architecture.of(gpt2).linears


def test_finished_trials_correct_the_model() -> None:
    """Peaks that are a fifth above the prediction raise the next one by a fifth, the context apart."""
    load = Load(rank=16, targets=ALL, tokens=2048)
    peak = predict_peak_memory(LLAMA_8B, load)
    measured = CONTEXT + 1.2 * (peak.total - CONTEXT)
    factor = correction([(peak.total, measured)] * 3)
    assert peak.corrected(factor).total == pytest.approx(measured)
    assert correction([]) == 1.0


@pytest.mark.parametrize(
    ("gigabytes", "expected"),
    [(15.3, (1, False)), (31.2, (2, False)), (79.0, (8, False)), (8.7, (1, True)), (6.0, None)],
)
def test_micro_batch_that_fits_and_trains_fastest(gigabytes: float, expected: object) -> None:
    """Llama-3-8B in half precision, 16 examples of 512 tokens a step.

    Weights, adapters and context take 7.3 GB, and a token without checkpointing 12.9 MB: 15.3 GB hold one
    example, 31.2 GB three (two divide 16), 79 GB ten (eight). With checkpointing a token takes 2.4 MB.
    """
    load = Load(rank=16, targets=ALL, tokens=0)
    chosen = fitting(LLAMA_8B, load, _of_512, (1, 2, 4, 8, 16), (False, True), gigabytes * 1e9)
    assert chosen == expected
    if chosen is not None:
        used = replace(load, tokens=chosen[0] * 512, checkpointing=chosen[1])
        assert predict_peak_memory(LLAMA_8B, used).total <= gigabytes * 1e9


def test_logits_of_a_piece_do_not_grow_with_the_batch() -> None:
    """512 rows at a time: 16 bytes x 512 x 128,256 whatever the batch, where the block needs less."""
    whole = Load(rank=16, targets=ALL, tokens=1024)
    pieces = replace(whole, logit_rows=512)
    assert predict_peak_memory(LLAMA_8B, pieces).logits == pytest.approx(WASTE * 16 * 512 * 128256)
    longer = predict_peak_memory(LLAMA_8B, replace(pieces, tokens=8192))
    assert longer.logits == 0.0  # a recomputed block takes more, at another moment
    assert longer.total < predict_peak_memory(LLAMA_8B, replace(whole, tokens=8192)).total
