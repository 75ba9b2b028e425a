"""How a batch goes through a card: examples a forward pass, and whether activations are checkpointed.

The batch of an optimiser step is the recipe's; what is chosen here changes how long it takes and what memory
it needs, and of the result only how sums are rounded. Loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from jobs.memory.peak import ADAM_BYTES, Architecture, Load, Peak, fitting, predict_peak_memory
from jobs.recipes.heads import CHUNK, PLAIN_HEADS
from jobs.recipes.recipe import TAKES_MEMORY, Parallel, TrainerRecipe, marked
from jobs.recipes.targets import PRESETS, names_in

# Of a card's memory; the rest is left to what the model does not count: fragments, and other processes.
USABLE = 0.92
# Of a forward pass on a CPU, at most. Larger ones are not faster there, and activations take host memory:
# about 3 GB for the demo model.
CPU_TOKENS = 2048
# Of a recipe, for the least that a trial may come down to; the batch is not among them.
MEMORY_KEYS = (
    *(f"model.{key}" for key in ("name", "path", "revision", "package", "file")),
    *("data.max_length", "trainer.args.optim"),
    *marked(TAKES_MEMORY),
)

# The model's own names of its layers, in the words of `Architecture.linears`.
ALIASES = {
    "query_key_value": ("q_proj", "k_proj", "v_proj"),
    "qkv_proj": ("q_proj", "k_proj", "v_proj"),
    "c_attn": ("q_proj", "k_proj", "v_proj"),
    "attention.dense": ("o_proj",),
    "attn.c_proj": ("o_proj",),
    "gate_up_proj": ("gate_proj", "up_proj"),
    "dense_h_to_4h": ("up_proj",),
    "dense_4h_to_h": ("down_proj",),
    "mlp.c_fc": ("up_proj",),
    "mlp.c_proj": ("down_proj",),
    "w1": ("gate_proj",),
    "w2": ("down_proj",),
}
# Architectures that are known to have none of these: their layers are those of `Architecture.linears`.
SEPARATE = frozenset({"llama", "mistral", "qwen2", "qwen3"})


@dataclass(frozen=True)
class Model:
    """What the memory of a fine-tune depends on beside the recipe."""

    sizes: Architecture
    kind: str  # model_type of the configuration

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Model | None:
        """What a model's config.json tells; None where its sizes go by other names."""
        with suppress(KeyError, TypeError):
            return cls(Architecture.of(config), str(config.get("model_type", "")))
        return None


@dataclass(frozen=True)
class Sizing:
    """How a batch goes through the card."""

    micro_batch: int  # examples a forward pass
    checkpointing: bool

    def smaller(self, trainer: TrainerRecipe) -> Sizing | None:
        """What to go on with where this does not fit: half the examples, at last without kept activations.

        Returns:
            None where there is nothing smaller.
        """
        if self.micro_batch > 1:
            sizes = range(self.micro_batch // 2, 0, -1)
            return replace(self, micro_batch=next(size for size in sizes if trainer.batch_size % size == 0))
        again = trainer.checkpointings[-1]  # the thriftier way, if there are two
        return replace(self, checkpointing=again) if again != self.checkpointing else None


def choose_sizing(
    trainer: TrainerRecipe,
    model: Model | None,
    tokens: Callable[[int], int],
    card: float | None,
    factor: float = 1.0,
    length: float | None = None,
) -> Sizing:
    """How the batches of a recipe should go through a card.

    Args:
        model: None where its sizes are not known: the whole batch is tried.
        tokens: of the largest forward pass with so many examples.
        card: bytes of its memory; None on a CPU: as many examples as have `CPU_TOKENS`.
        factor: of `jobs.memory.peak.correction`.
        length: tokens of an example on average, which decide how long a pass takes; None: as `tokens` says.

    Returns:
        What trains fastest; where nothing should fit, the smallest, which may do so all the same.
    """
    micros, checkpointings = trainer.micro_batches, trainer.checkpointings
    if card is None:
        few = [micro for micro in micros if tokens(micro) <= CPU_TOKENS]
        return Sizing(few[-1] if few else micros[0], checkpointings[0])
    if model is None:
        return Sizing(micros[-1], checkpointings[0])
    load = load_of(trainer, model.kind)
    capacity = USABLE * card
    best = fitting(model.sizes, load, tokens, micros, checkpointings, capacity, factor=factor, length=length)
    return Sizing(*best) if best else Sizing(micros[0], checkpointings[-1])


def arranged(
    trainer: TrainerRecipe, model: Model | None, longest: int, card: float | None, factor: float = 1.0
) -> TrainerRecipe:
    """How several cards are used, where that is left open: by data if the model fits one, else by layers.

    Args:
        model: None where its sizes are not known: taken to fit.
        card: bytes of its memory; None: taken to suffice.
        factor: of `jobs.memory.peak.correction`.
    """
    if trainer.parallel is not Parallel.AUTO or trainer.gpus == 1:
        return trainer
    by_data = replace(trainer, parallel=Parallel.DATA)
    if card is None or model is None:
        return by_data
    least = foretold(by_data, model, trainer.checkpointings[-1], longest).corrected(factor).total
    return by_data if least <= USABLE * card else replace(trainer, parallel=Parallel.LAYERS)


def foretold(trainer: TrainerRecipe, model: Model, checkpointing: bool, tokens: int) -> Peak:
    """The peak of a training step."""
    load = replace(load_of(trainer, model.kind), tokens=tokens, checkpointing=checkpointing)
    return predict_peak_memory(model.sizes, load)


def load_of(trainer: TrainerRecipe, kind: str) -> Load:
    """What a trainer does with the memory of a card; tokens and checkpointing are chosen later."""
    chosen = trainer.target_modules
    preset = isinstance(chosen, str) and chosen in PRESETS
    names: Sequence[str] = PRESETS[str(chosen)] if preset else names_in(chosen)
    if preset and kind in SEPARATE:  # of the preset's names these models have the plain ones alone
        names = [name for name in names if name not in ALIASES]
    targets = dict.fromkeys(target for name in names for target in ALIASES.get(name, (name,)))
    return Load(
        rank=trainer.lora_rank,
        targets=tuple(targets),
        tokens=0,
        quantisation=trainer.quantisation.value,
        double_quantisation=trainer.double_quantisation,
        adam_bytes=ADAM_BYTES.get(str(trainer.args.get("optim", "")), 8),
        logit_rows=CHUNK if kind in PLAIN_HEADS else None,
        dora=trainer.use_dora,
        cards=trainer.gpus if trainer.parallel is Parallel.LAYERS else 1,
    )
