"""How much memory a fine-tune takes at its peak, part by part, before it has run. Loads no torch.

The formula counts tensors; 5% and 0.45 GB on top of it are the allocator's waste and the CUDA context. It was
held against published peaks of Llama-3 fine-tunes with the Hugging Face stack (see the tests), and what
finished trials report corrects it further.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist, median
from typing import Any

WASTE = 1.05  # of the allocator
CONTEXT = 0.45e9  # bytes: CUDA context, cuBLAS workspaces
BITS = {"nf4": 4.5, "fp4": 4.5, "int8": 8.1}  # a weight, with its scales
DOUBLE_QUANTISED = 4.127
SPREAD = 0.1  # standard deviation of the logarithm of measured over foretold: see the tests
ADAM_BYTES = {"adamw_torch": 8, "adamw_torch_fused": 8, "paged_adamw_32bit": 8, "paged_adamw_8bit": 2}
# Bytes per logit: half-precision logits and their gradient, a float32 copy, its log-softmax.
LOGIT_BYTES = 16
# A forward pass has costs that do not depend on its size: below so many tokens it is not faster.
FULL_TOKENS = 512
RECOMPUTED = 4 / 3  # gradient checkpointing runs the forward pass twice


@dataclass(frozen=True)
class Architecture:
    """The sizes of a decoder-only model."""

    hidden: int
    intermediate: int
    layers: int
    queries: int  # heads x head size
    keys: int  # key heads x head size
    vocabulary: int
    tied: bool  # embeddings and head are one matrix
    gated: bool = True  # the MLP has a gate

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Architecture:
        """The sizes that a model's config.json tells.

        Args:
            config: of a Llama-, Mistral-, Qwen-, GPT-NeoX- or GPT-2-style model.

        Raises:
            KeyError: it lacks one of the sizes.
        """
        hidden = int(config.get("hidden_size") or config["n_embd"])
        heads = int(config.get("num_attention_heads") or config["n_head"])
        size = int(config.get("head_dim") or hidden // heads)
        kind = str(config.get("model_type", ""))
        return cls(
            hidden=hidden,
            intermediate=int(config.get("intermediate_size") or config.get("n_inner") or 4 * hidden),
            layers=int(config.get("num_hidden_layers") or config["n_layer"]),
            queries=heads * size,
            keys=int(config.get("num_key_value_heads") or heads) * size,
            vocabulary=int(config["vocab_size"]),
            tied=bool(config.get("tie_word_embeddings", kind == "gpt2")),
            gated=kind not in ("gpt2", "gpt_neox"),
        )

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """The linear layers of one block by their usual names: (inputs, outputs)."""
        wide, narrow = self.intermediate, self.hidden
        gate = {"gate_proj": (narrow, wide)} if self.gated else {}
        return {
            "q_proj": (narrow, self.queries),
            "k_proj": (narrow, self.keys),
            "v_proj": (narrow, self.keys),
            "o_proj": (self.queries, narrow),
            **gate,
            "up_proj": (narrow, wide),
            "down_proj": (wide, narrow),
        }


@dataclass(frozen=True)
class Load:
    """What a fine-tune does with the memory of a card."""

    rank: int
    targets: tuple[str, ...]  # names of `Architecture.linears`
    tokens: int  # of one forward pass: micro-batch x padded length
    quantisation: str = "nf4"
    double_quantisation: bool = True
    checkpointing: bool = True
    weight_bytes: int = 2  # of what is not quantised: 2 in half precision, 4 on a CPU
    adapter_input_bytes: int = 4  # peft computes adapters in float32
    adam_bytes: int = 8  # of both moments
    logit_rows: int | None = None  # tokens whose logits exist at the same time; None: all
    dora: bool = False
    cards: int = 1  # that the layers are split over


@dataclass(frozen=True)
class Peak:
    """Bytes by part."""

    base: float
    embeddings: float
    adapters: float
    gradients: float
    optimiser: float
    dequantised: float
    activations: float
    logits: float
    context: float = CONTEXT

    @property
    def total(self) -> float:
        """Bytes in all, the allocator's waste included."""
        return float(sum(self.__dict__.values()))

    def corrected(self, factor: float) -> Peak:
        """The same with every part but the context times a factor, as of `correction`."""
        parts = {name: value * factor for name, value in self.__dict__.items() if name != "context"}
        return replace(self, **parts)


def predict_peak_memory(model: Architecture, load: Load) -> Peak:
    """The peak of a training step, on the fullest card.

    Of layers that are split over cards each holds a part, as of what is kept for the backward pass; what is
    made for a moment, the last one holds whole.

    Returns:
        Bytes by part.
    """
    linears = model.linears
    weights = model.layers * sum(inputs * outputs for inputs, outputs in linears.values())
    bits = 8.0 * load.weight_bytes
    if load.quantisation in BITS:
        doubled = load.double_quantisation and load.quantisation != "int8"
        bits = DOUBLE_QUANTISED if doubled else BITS[load.quantisation]
    tuned = [linears[name] for name in load.targets if name in linears]
    adapters = model.layers * load.rank * sum(inputs + outputs for inputs, outputs in tuned)
    adapters += model.layers * sum(outputs for _, outputs in tuned) * load.dora
    tables = (1 if model.tied else 2) * model.vocabulary * model.hidden + (
        2 * model.layers + 1
    ) * model.hidden
    quantised = load.quantisation != "none"
    rows = load.tokens if load.logit_rows is None else min(load.tokens, load.logit_rows)
    logits = 1.0 * rows * model.vocabulary * LOGIT_BYTES
    layer = load.tokens * _activation_bytes(model, load, tuned)
    if load.checkpointing:  # the logits are there at one moment, a block's recomputed activations at another
        kept = 2.0 * load.tokens * model.layers * model.hidden / load.cards
        activations, logits = (kept + layer, 0.0) if layer >= logits else (kept, logits)
    else:
        activations = model.layers * layer / load.cards
    parts = {
        "base": weights * bits / 8 / load.cards,
        "embeddings": tables * load.weight_bytes / load.cards,
        "adapters": 4.0 * adapters / load.cards,
        "gradients": 4.0 * adapters / load.cards,
        "optimiser": 1.0 * load.adam_bytes * adapters / load.cards,
        "dequantised": (2.0 * model.hidden * model.intermediate if quantised else 0.0)
        + (max(_dora_bytes(*layer) for layer in tuned) if load.dora and tuned else 0.0),
        "activations": activations,
        "logits": logits,
    }
    return Peak(**{name: WASTE * value for name, value in parts.items()})


def _activation_bytes(model: Architecture, load: Load, tuned: Sequence[tuple[int, int]]) -> float:
    """Of one block, per token."""
    wide = (3 if model.gated else 2) * model.intermediate
    block = 2 * (3 * model.hidden + 2 * model.queries + 2 * model.keys + wide) + 8 * model.hidden
    kept = 8 * sum(outputs for _, outputs in tuned) * load.dora  # what base and adapter gave, in float32
    return block + load.adapter_input_bytes * sum(inputs + load.rank for inputs, _ in tuned) + kept


def _dora_bytes(inputs: int, outputs: int) -> float:
    """What peft's DoRA makes of one layer for a moment, to know the lengths of its rows, in float32.

    An identity matrix that it sends through the adapter, the result, the weight, and their sum.
    """
    return 4.0 * (inputs * inputs + 3 * inputs * outputs)


def correction(pairs: Sequence[tuple[float, float]]) -> float:
    """What to multiply predictions with, from (predicted, measured) bytes of finished trials; 1 for none."""
    ratios = [(measured - CONTEXT) / (predicted - CONTEXT) for predicted, measured in pairs]
    usable = [ratio for ratio in ratios if ratio > 0]
    return median(usable) if usable else 1.0


def chance(peak: float, card: float) -> float:
    """The probability that a fine-tune fits a card, from its foretold peak and the card's memory in bytes."""
    return NormalDist(0.0, SPREAD).cdf(math.log(card / peak))


def fitting(
    model: Architecture,
    load: Load,
    tokens: Callable[[int], int],
    micro_batches: Sequence[int],
    checkpointings: Sequence[bool],
    capacity: float,
    *,
    factor: float = 1.0,
    length: float | None = None,
) -> tuple[int, bool] | None:
    """The micro-batch, and whether to checkpoint activations, that train fastest in a card's memory.

    Args:
        load: its tokens and checkpointing are chosen here.
        tokens: of the largest forward pass with so many examples.
        micro_batches: examples a forward pass that may be chosen; all divide the batch.
        checkpointings: whether activations may be kept (False) or made again (True).
        capacity: bytes that may be used.
        factor: of `correction`.
        length: tokens of an example on average, which decide how long a pass takes; None: as `tokens` says.

    Returns:
        (examples a forward pass, checkpointing); None where none of them fits.
    """
    found: list[tuple[float, int, bool]] = []
    for micro in micro_batches:
        for checkpointing in checkpointings:
            wanted = replace(load, tokens=tokens(micro), checkpointing=checkpointing)
            if predict_peak_memory(model, wanted).corrected(factor).total <= capacity:
                usual = tokens(micro) if length is None else length * micro
                time = max(FULL_TOKENS, usual) / micro * (RECOMPUTED if checkpointing else 1.0)
                found.append((time, -micro, checkpointing))  # time: of an example, in tokens
    if not found:
        return None
    _, micro, checkpointing = min(found)
    return -micro, checkpointing
