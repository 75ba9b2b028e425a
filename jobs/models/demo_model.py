"""Turns a GGUF file into a folder in Hugging Face format."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def convert(gguf: Path, folder: Path) -> None:
    """Write the weights as float16 safetensors, with configuration, tokenizer and chat template."""
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float16)
    # The weights are plain now; marked as GGUF, transformers would refuse to save and to quantise them.
    del model.config.quantization_config
    for mark in ("is_quantized", "hf_quantizer", "quantization_method"):
        delattr(model, mark)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
