"""Two-layer random models of every architecture that has target presets."""

from __future__ import annotations

from pathlib import Path

from tiny_llama import make_tokenizer

SIZES = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip
GPT_2 = {
    "vocab_size": 96, "n_embd": 32, "n_inner": 64, "n_layer": 2, "n_head": 4, "n_positions": 64,
    "embd_pdrop": 0, "resid_pdrop": 0, "attn_pdrop": 0,
}  # fmt: skip
# model type: (sizes, layers with an adapter in each block with the preset "all")
ARCHITECTURES: dict[str, tuple[dict[str, int], int]] = {
    "llama": (SIZES, 7),
    "mistral": (SIZES, 7),
    "qwen2": (SIZES, 7),
    "qwen3": ({**SIZES, "head_dim": 8}, 7),
    "gpt_neox": ({**SIZES, "num_key_value_heads": 4}, 4),
    "gpt2": (GPT_2, 4),
}


def saved(kind: str, folder: Path, **sizes: int) -> Path:
    """A model of the architecture from a fixed seed, with a tokenizer, as `save_pretrained` writes them."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    wanted = {"bos_token_id": 1, "eos_token_id": 2, **ARCHITECTURES[kind][0], **sizes}
    AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **wanted)).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder
