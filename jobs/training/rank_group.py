"""Rank 0 and the other ranks of its trial: they begin when it begins, and go after the last step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from jobs.attempt.attempt import Attempt
from jobs.attempt.console import say
from jobs.training.gpus import Place
from jobs.training.process_group import Ranks, join, leave, open_store
from jobs.training.shared_checkpoints import SharedCheckpoints
from jobs.training.trainer import AdapterTrainer
from jobs.training.worker_processes import WorkerProcesses


@contextmanager
def rank_group(attempt: Attempt, place: Place, device: torch.device) -> Iterator[Callable[[], Ranks]]:
    """The other ranks for as long as a block lasts; they must have nothing left to do at its end.

    What the block is given joins them; not before the model is loaded, as transformers writes only on rank 0
    of a group, and any rank may be the one that quantises the model for all.

    Raises:
        RankFailed: one of them has ended before its time.
    """
    if place.ranks == 1:
        yield Ranks
        return
    store = open_store()
    workers = WorkerProcesses(
        attempt.paths.folder, attempt.number, place.ranks, store.port, place.cards, attempt.abandon
    )
    say(f"training on {place.ranks} {'cards' if place.cards else 'processes'}, a share of each batch on each")
    try:
        yield lambda: join(store, 0, place.ranks, device)
        workers.join()
    except Exception as error:
        explained = workers.explain(error)
        if explained is error:
            raise
        raise explained from error
    finally:
        workers.close()
        leave()


def part(trainer: AdapterTrainer) -> float:
    """The last that all ranks do together, after which only rank 0 is needed.

    Returns:
        The most memory that any rank has held, in GiB; on rank 0.
    """
    around = trainer.surroundings
    if isinstance(around.checkpoints, SharedCheckpoints):
        around.checkpoints.settle()
    if around.ranks.count > 1:
        trainer.account_energy()  # the last word of the others
    peak = max(around.ranks.gathered(around.card.peak_bytes())) / 2**30
    around.ranks.part()
    return peak
