"""What is known of cards by their names, before a trial has seen one. Loads no torch."""

from __future__ import annotations

import re

from jobs.recipes.recipe import Quantisation, TrainerRecipe

# Names in Slurm's gres and features of NVIDIA cards that cannot multiply 8-bit integers in tensor cores.
WITHOUT_INT8 = re.compile(
    r"(?<![a-z0-9])(k20|k40|k80|m40|m60|p4|p40|p100|v100s?|gp100|gv100)(?![0-9])", re.IGNORECASE
)


def card_problems(trainer: TrainerRecipe, names: str) -> list[tuple[str, str]]:
    """What a trainer asks for that cards of these names cannot do.

    Args:
        names: what a trial asks the scheduler for, such as gpu:v100.
    """
    named = WITHOUT_INT8.search(names)
    if trainer.quantisation is not Quantisation.INT8 or named is None:
        return []
    got = f"got int8 for cards called {named[0]}, expected such of compute capability 7.5 or more"
    return [("trainer.quantisation", f"{got}\n\nhint: use nf4")]
