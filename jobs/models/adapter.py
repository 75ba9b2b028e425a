"""The LoRA adapter: put into a base model from a seed, saved where plain peft finds it."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save
from transformers import PreTrainedModel

from jobs.attempt.disk import disk_errors
from jobs.errors import RecipeError
from jobs.recipes.recipe import TrainerRecipe
from jobs.recipes.targets import resolve

WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class AdapterSize:
    """What an adapter costs."""

    trainable_parameters: int
    file_bytes: int


def add_adapter(base: PreTrainedModel, trainer: TrainerRecipe, seed: int, origin: str) -> PeftModel:
    """Put a LoRA adapter into a base model; its output is unchanged until the first step.

    Args:
        trainer: rank, alpha, dropout, bias, variant and target modules.
        origin: folder or hub name of the base model, for whoever loads the adapter.

    Raises:
        RecipeError: the model has no such target modules.
    """
    config = LoraConfig(
        r=trainer.lora_rank,
        lora_alpha=trainer.lora_alpha,  # type: ignore[arg-type,unused-ignore] # peft takes any number
        lora_dropout=trainer.lora_dropout,
        bias=trainer.lora_bias.value,
        use_rslora=trainer.use_rslora,
        use_dora=trainer.use_dora,
        fan_in_fan_out=any(map(_is_conv, base.modules())),
        target_modules=resolve(trainer.target_modules, linear_layers(base)),
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(seed)
    adapted = get_peft_model(base, config)
    for weight in adapted.parameters():
        if weight.requires_grad:  # biases have the base model's format, and float16 cannot be trained
            weight.data = weight.data.float()
    adapted.peft_config["default"].base_model_name_or_path = origin  # peft puts the quantised folder here
    return adapted


def linear_layers(model: torch.nn.Module) -> list[str]:
    """Full names of the layers that can take an adapter: all linear ones but the head."""
    get_head = getattr(model, "get_output_embeddings", None)
    head = get_head() if get_head is not None else None
    return [
        name
        for name, layer in model.named_modules()
        if layer is not head and (isinstance(layer, torch.nn.Linear) or _is_conv(layer))
    ]


def _is_conv(layer: torch.nn.Module) -> bool:
    """Whether it is the linear layer of GPT-2, which keeps its weight the other way round until quantised."""
    return type(layer).__name__ == "Conv1D"


def save_adapter(adapted: PeftModel, folder: Path) -> AdapterSize:
    """Write the adapter as peft reads it, whole or not at all.

    Args:
        folder: replaced if it exists.

    Raises:
        OSError: the disk does not take it.
    """
    made = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    try:
        write_adapter(adapted, made)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    trainable = sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)
    return AdapterSize(trainable, (folder / WEIGHTS).stat().st_size)


def begin_from(adapted: PeftModel, folder: Path) -> None:
    """Put the weights of another trial's adapter into a fresh one.

    Args:
        adapted: with an adapter of the same rank and target modules.

    Raises:
        RecipeError: the adapters differ in rank or target modules, or the folder holds none.
    """
    try:
        weights = load_file(folder / WEIGHTS)
    except OSError as error:
        raise RecipeError(
            f"adapter: got {folder}, expected a folder that holds {WEIGHTS}: {error}"
        ) from error
    own = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    if {name: weight.shape for name, weight in own.items()} != {n: w.shape for n, w in weights.items()}:
        count = sum(weight.numel() for weight in weights.values())
        raise RecipeError(
            f"adapter: got {folder} of {len(weights)} matrices with {count} weights, expected the rank and "
            f"the targets of this recipe: {len(own)} matrices with {sum(w.numel() for w in own.values())}",
            "leave trainer.lora_rank and trainer.target_modules as they are, or train from scratch",
        )
    set_peft_model_state_dict(adapted, weights)


def adapter_digest(adapted: PeftModel) -> str:
    """Name of the adapter by its weights: 20 hexadecimal digits."""
    weights = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    content = save({name: weight.detach().cpu().contiguous() for name, weight in weights.items()})
    return hashlib.sha256(content).hexdigest()[:20]


def write_adapter(adapted: PeftModel, folder: Path, card: bool = True) -> None:
    """Write adapter weights and configuration into a folder.

    Args:
        card: with peft's README.md, for whom the adapter is given to.

    Raises:
        OSError: the disk does not take it.
    """
    # Never the embeddings: "auto" would look for the base model's configuration on the hub.
    with disk_errors(), nullcontext() if card else _cardless(adapted):
        adapted.save_pretrained(str(folder), save_embedding_layers=False)


@contextmanager
def _cardless(adapted: PeftModel) -> Iterator[None]:
    """Without the card, whose template takes longer to compile than a small adapter to write."""
    vars(adapted)["create_or_update_model_card"] = lambda folder: None
    try:
        yield
    finally:
        del vars(adapted)["create_or_update_model_card"]
