"""How a trial is spread over its cards, decided before any library looks at them. Loads no torch."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from hpo.records import TrialSpec
from jobs.attempt.environment import NO_CARD
from jobs.errors import ModelError
from jobs.memory.forecast import peak_memory
from jobs.recipes.recipe import Parallel, Recipe, TrainerRecipe, parse

ASK_S = 30.0
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Place:
    """Where a trial computes, and how its cards are used.

    Args:
        ranks: processes, each with the whole model and its share of the batch.
        layers: cards that the layers of each of these models are split over.
        cards: of each rank, in CUDA's own words; none on a machine without.
    """

    ranks: int = 1
    layers: int = 1
    cards: tuple[str, ...] = ()

    def settled(self, recipe: Recipe) -> Recipe:
        """The recipe with that decided."""
        how = Parallel.LAYERS if self.layers > 1 else Parallel.DATA
        return replace(recipe, trainer=replace(recipe.trainer, parallel=how))


def take_place(spec: TrialSpec) -> Place:
    """Decide how a trial is spread, and keep this process to the cards that are its own.

    Raises:
        RecipeError: see `jobs.recipes.recipe.parse`.
        ModelError: the task has fewer cards than the trial wants.
    """
    trainer = parse(spec.recipe).trainer
    if trainer.gpus == 1:
        return Place()
    memory = visible_cards()
    if not memory:
        return Place(ranks=1 if trainer.parallel is Parallel.LAYERS else trainer.gpus)
    if len(memory) < trainer.gpus:
        raise ModelError(
            f"trainer.gpus: got {trainer.gpus}, expected at most {len(memory)}, the GPUs of this task",
            "cluster.gres=gpu asks for as many as trainer.gpus says",
        )
    cards = tuple(memory)[: trainer.gpus]
    if _splits_layers(trainer, spec, [memory[card] for card in cards]):
        os.environ[VISIBLE] = ",".join(cards)
        return Place(layers=len(cards), cards=cards)
    os.environ[VISIBLE] = cards[0]  # the others belong to the other ranks
    return Place(ranks=len(cards), cards=cards)


def _splits_layers(trainer: TrainerRecipe, spec: TrialSpec, memory: list[float | None]) -> bool:
    """Whether the model is too large for one card, as far as that can be foretold."""
    known = [card for card in memory if card is not None]
    if trainer.parallel is not Parallel.AUTO or not known:
        return trainer.splits_layers
    foretold = peak_memory(spec.recipe, Path(spec.cache), min(known), spec.memory_factor)
    return foretold is not None and foretold["cards"] > 1


def visible_cards(environment: Mapping[str, str] = os.environ) -> dict[str, float | None]:
    """The cards that this task may use, in CUDA's own words, with their memory in bytes where it is known."""
    there = _cards_of_driver()
    named = environment.get(VISIBLE)
    if named is None:
        return {index: memory for index, _, memory in there}
    names = [name.strip() for name in named.split(",") if name.strip() not in NO_CARD]
    return {name: _memory_of(name, there) for name in names}


def _memory_of(name: str, there: list[tuple[str, str, float]]) -> float | None:
    """By number or by the beginning of the long name, as CUDA takes either."""
    found = (memory for index, uuid, memory in there if name == index or uuid.startswith(name))
    return next(found, None)


def _cards_of_driver() -> list[tuple[str, str, float]]:
    """(number, long name, bytes) of each card that the driver shows."""
    command = ["nvidia-smi", "--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits"]
    found = []
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=ASK_S)
        for line in done.stdout.splitlines():
            index, uuid, mebibytes = (part.strip() for part in line.split(","))
            with suppress(ValueError):  # "[N/A]"
                found.append((index, uuid, float(mebibytes) * 2**20))
    return found
