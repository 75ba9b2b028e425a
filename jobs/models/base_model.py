"""The frozen base model: quantised once into the cache, loaded by every trial in about a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers.integrations.sdpa_attention as sdpa
from bitsandbytes.nn.modules import Linear4bit
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, PreTrainedModel

from jobs.cache import key_of, obtain
from jobs.errors import ModelError
from jobs.models.precision import INT8_FROM, Precision
from jobs.recipes.recipe import Based, ModelRecipe, Quantisation, Stored
from jobs.recipes.sources import base_settings, find_source
from jobs.recipes.stored import refuse_other_storage, stored_quantisation

Say = Callable[[str], None]


@dataclass(frozen=True)
class BaseFolder:
    """Where a base model is: as trials load it, and as it was before it was quantised."""

    folder: Path
    plain: Path
    key: str  # the content of `folder`


def obtain_base(recipe: Based, cache: Path, say: Say) -> BaseFolder:
    """The base model of a recipe, converted and quantised first if the cache does not hold it.

    Args:
        recipe: model and quantisation decide.

    Raises:
        ModelError: the model is not on this machine, holds no weights, or is quantised otherwise already.
    """
    settings = base_settings(recipe.model, recipe.trainer, cache)
    source = find_source(recipe.model)
    if not source.packed and (stored := stored_quantisation(source.path)) is not Quantisation.NONE:
        refuse_other_storage(stored, recipe.trainer)
        return BaseFolder(source.path, source.path, settings["source"])
    plain = cache / "models" / settings["source"] if source.packed else source.path

    def convert_source(folder: Path) -> None:
        say(f"converting {source.path.name} to safetensors, once for this cache")
        convert_gguf(source.path, folder)

    def quantise_plain(folder: Path) -> None:
        if source.packed:
            obtain(plain, convert_source, {"file": source.path.name})
        say(f"quantising {recipe.model.name} to {recipe.trainer.quantisation.value}, once for this cache")
        quantise(plain, folder, recipe.trainer, recipe.model)

    if recipe.trainer.quantisation is Quantisation.NONE:
        if source.packed:
            obtain(plain, convert_source, {"file": source.path.name})
        return BaseFolder(plain, plain, settings["source"])
    key = key_of(**settings)
    return BaseFolder(obtain(cache / "bases" / key, quantise_plain, settings), plain, key)


def quantise(plain: Path, folder: Path, trainer: Stored, model: ModelRecipe) -> None:
    """Write the model with its linear layers quantised, and its tokenizer."""
    trust = model.trust_remote_code
    quantised = AutoModelForCausalLM.from_pretrained(
        plain, quantization_config=_bitsandbytes(trainer), dtype="auto", trust_remote_code=trust
    )
    quantised.save_pretrained(folder)
    AutoTokenizer.from_pretrained(plain, trust_remote_code=trust).save_pretrained(folder)


def _bitsandbytes(trainer: Stored) -> BitsAndBytesConfig:
    if trainer.quantisation is Quantisation.INT8:
        return BitsAndBytesConfig(load_in_8bit=True)  # type: ignore[no-untyped-call]
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type=trainer.quantisation.value,
        bnb_4bit_use_double_quant=trainer.double_quantisation,
        bnb_4bit_compute_dtype=torch.float32,  # set anew on the node that loads it: see `load`
    )


def load(folder: Path, model: ModelRecipe, precision: Precision) -> PreTrainedModel:
    """Load a base model, frozen and ready to be trained through.

    Args:
        folder: as `quantise` or `save_pretrained` wrote it.

    Raises:
        ModelError: the card cannot compute with this kind of quantisation.
    """
    loaded: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=precision.compute,
        # balanced: whole blocks, one after the other, so that each card holds about as much
        device_map="balanced" if precision.cards > 1 else {"": precision.device},
        attn_implementation="sdpa",
        trust_remote_code=model.trust_remote_code,
    )
    _refuse_int8(loaded, precision)
    return prepared(loaded, precision)


def prepared(loaded: PreTrainedModel, precision: Precision) -> PreTrainedModel:
    """A loaded base model, frozen and in the number formats of its device."""
    if precision.repeats_kv:
        # transformers asks for grouped attention whatever the card; below sm_80 that is the quadratic kernel.
        sdpa.use_gqa_in_sdpa = lambda *args, **kwargs: False
    loaded.requires_grad_(False)
    set_formats(loaded, precision)
    return loaded


def _refuse_int8(model: PreTrainedModel, precision: Precision) -> None:
    eight_bit = getattr(model, "is_loaded_in_8bit", False)
    if eight_bit and precision.capability is not None and precision.capability < INT8_FROM:
        major, minor = precision.capability
        raise ModelError(
            f"trainer.quantisation: got int8 on a card of compute capability {major}.{minor}, "
            "expected 7.5 or more",
            "use nf4",
        )


def set_formats(model: torch.nn.Module, precision: Precision) -> None:
    """Give every part of a loaded model its number format.

    Not peft's `prepare_model_for_kbit_training`: it makes embeddings and head float32, gigabytes of them.
    """
    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            layer.compute_dtype, layer.compute_type_is_set = precision.compute, True
            # On CPUs with AVX512-BF16 the first forward pass in evaluation mode packs the weights for a
            # kernel without gradients: training after an evaluation would silently train nothing.
            layer.support_avx512bf16_for_cpu = False
        for parameter in layer.parameters(recurse=False):
            if parameter.is_floating_point():
                norm = parameter.dim() == 1 and "norm" in type(layer).__name__.lower()
                parameter.data = parameter.data.to(torch.float32 if norm else precision.compute)


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Turn a GGUF file into a folder in Hugging Face format, its weights as float16 safetensors."""
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float16)
    # The weights are plain now; marked as GGUF, transformers would refuse to save and to quantise them.
    del model.config.quantization_config
    for mark in ("is_quantized", "hf_quantizer", "quantization_method"):
        delattr(model, mark)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
