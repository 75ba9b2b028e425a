"""What a trial took of its card, as metrics; on a CPU there are none."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from peft import PeftModel
from transformers import PreTrainedModel

from hpo.records import Metric
from jobs.memory.sizing import Model, foretold
from jobs.recipes.metrics import CardMetrics
from jobs.recipes.recipe import TrainerRecipe
from jobs.training.trainer import AdapterTrainer, makes_again

GIB = 2**30


def model_of(adapted: PeftModel) -> Model | None:
    """What the memory of a fine-tune depends on; None for a model whose sizes go by other names."""
    base = cast(PreTrainedModel, adapted.get_base_model())
    return Model.of(base.config.get_text_config().to_dict())


def memory_metrics(trainer: AdapterTrainer, recipe: TrainerRecipe) -> CardMetrics:
    """The peak of the training beside what was foretold of it: later trials are foretold better by both.

    Args:
        trainer: done with training, before anything else takes memory.

    Returns:
        Empty where this attempt has trained no step.
    """
    card, model = trainer.surroundings.card, model_of(cast(PeftModel, trainer.model))
    if card.bytes is None:
        return CardMetrics()
    memory = CardMetrics(gpu_memory_gib=Metric(card.bytes / GIB))
    if model is None or not trainer.most_tokens:
        return memory
    peak = foretold(recipe, model, makes_again(trainer.args), trainer.most_tokens)
    training_peak = Metric(card.peak_bytes() / GIB)
    return replace(memory, foretold_memory_gib=Metric(peak.total / GIB), training_memory_gib=training_peak)


def drawn_energy(trainer: AdapterTrainer) -> Metric | None:
    """Watt-hours that the card has drawn in all attempts; None where it does not count them."""
    trainer.account_energy()
    drawn = trainer.totals.gpu_energy_wh
    return None if drawn is None else Metric(drawn)
