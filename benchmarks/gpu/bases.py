"""Base models of random weights in true shapes, made and quantised on the card: nothing is fetched."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any, cast

import torch
from bitsandbytes.nn import modules
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel, PreTrainedTokenizerFast

from jobs.models.adapter import linear_layers
from jobs.models.base_model import prepared
from jobs.models.precision import Precision

SHAPES: dict[str, dict[str, Any]] = {
    "Llama-2-7B": {
        "vocab_size": 32_000, "hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 4096,
    },
    "Llama-3-8B": {
        "vocab_size": 128_256, "hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 8192,
    },
    "tiny": {
        "vocab_size": 300, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
    },
}  # fmt: skip


def random_base(shape: str, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """A model that is not quantised, from a fixed seed.

    Args:
        shape: of `SHAPES`.
    """
    torch.manual_seed(0)
    config = LlamaConfig(**SHAPES[shape], bos_token_id=1, eos_token_id=2, tie_word_embeddings=False)
    with device:
        made: PreTrainedModel = cast(Any, AutoModelForCausalLM).from_config(
            config, dtype=dtype, attn_implementation="sdpa"
        )
    return made


def quantised(model: PreTrainedModel, kind: str, double: bool, precision: Precision) -> PreTrainedModel:
    """The same model with its linear layers in 4 bits, as trials load it; layer by layer, in place.

    Args:
        kind: nf4, fp4, or none, which quantises nothing.
        double: whether the scales are quantised too.
    """
    for name in linear_layers(model) if kind != "none" else ():
        layer: Any = model.get_submodule(name)
        made: Any = cast(Any, modules).Linear4bit(
            layer.in_features, layer.out_features, bias=False, compress_statistics=double, quant_type=kind
        )
        weight: Any = cast(Any, modules).Params4bit(
            layer.weight.data, requires_grad=False, compress_statistics=double, quant_type=kind
        )
        made.weight = weight.to(precision.device)  # which quantises it
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, made)
        del layer
    return prepared(model, precision)


def letters() -> PreTrainedTokenizerFast:
    """A tokenizer of single characters, 0 for all that it does not know."""
    signs = ["<unk>", "<pad>", "</s>", *string.printable]
    core = Tokenizer(models.WordLevel({sign: place for place, sign in enumerate(signs)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    made: PreTrainedTokenizerFast = cast(Any, PreTrainedTokenizerFast)(
        tokenizer_object=core, unk_token="<unk>", pad_token="<pad>", eos_token="</s>"
    )
    return made


def save(model: PreTrainedModel, folder: Path) -> None:
    """Model and tokenizer as a folder that trials, and lm-eval, load."""
    model.save_pretrained(folder)
    letters().save_pretrained(folder)
