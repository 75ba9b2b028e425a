"""What a trial took of its card, as metrics; on a CPU there are none."""

from __future__ import annotations

from typing import cast

from peft import PeftModel
from transformers import PreTrainedModel

from hpo.records import Metric
from jobs.memory.sizing import Model, foretold
from jobs.recipes.recipe import TrainerRecipe
from jobs.training.trainer import AdapterTrainer

GIB = 2**30


def model_of(adapted: PeftModel) -> Model | None:
    """What the memory of a fine-tune depends on; None for a model whose sizes go by other names."""
    base = cast(PreTrainedModel, adapted.get_base_model())
    return Model.of(base.config.get_text_config().to_dict())


def memory_metrics(trainer: AdapterTrainer, recipe: TrainerRecipe) -> dict[str, Metric]:
    """The peak of the training beside what was foretold of it: later trials are foretold better by both.

    Args:
        trainer: done with training, before anything else takes memory.

    Returns:
        Empty where this attempt has trained no step.
    """
    card, model = trainer.surroundings.card, model_of(cast(PeftModel, trainer.model))
    if card.bytes is None:
        return {}
    found = {"gpu_memory_gib": Metric(card.bytes / GIB)}
    if model is not None and trainer.most_tokens:
        peak = foretold(recipe, model, trainer.args.activation_checkpointing is True, trainer.most_tokens)
        found["foretold_memory_gib"] = Metric(peak.total / GIB)
        found["training_memory_gib"] = Metric(card.peak_bytes() / GIB)
    return found


def energy_metrics(trainer: AdapterTrainer) -> dict[str, Metric]:
    """What the card has drawn in all attempts, as far as it counts that."""
    trainer.account_energy()
    drawn = trainer.totals.gpu_energy_wh
    return {} if drawn is None else {"gpu_energy_wh": Metric(drawn)}
