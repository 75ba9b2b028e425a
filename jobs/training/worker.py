"""A rank of a trial other than the first: `python -m jobs.training.worker`, started by `worker_processes`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hpo.paths import TrialPaths
from hpo.records import TrialSpec
from jobs.attempt.environment import go_offline
from jobs.training.worker_processes import die_with, report_failure


def train_along(paths: TrialPaths, attempt: int, rank: int, count: int, port: int) -> None:
    """Train along with rank 0 to the last step; writes no file."""
    from jobs.attempt.card import Card  # seconds of imports
    from jobs.attempt.progress import Silence
    from jobs.attempt.signals import Signals
    from jobs.models.libraries import quiet, use_cores
    from jobs.models.precision import of_this_machine
    from jobs.recipes.recipe import parse
    from jobs.training.gpus import Place
    from jobs.training.loop import train
    from jobs.training.process_group import find_store, join, leave
    from jobs.training.rank_group import part
    from jobs.training.shared_checkpoints import SharedCheckpoints
    from jobs.training.trainer import Surroundings
    from jobs.training.trial import collator_of, load_all, plan_of, with_adapter

    quiet()
    use_cores(count)
    spec, precision = TrialSpec.read(paths.spec), of_this_machine()
    recipe = Place(ranks=count).settled(parse(spec.recipe))
    loaded = load_all(recipe, Path(spec.cache), precision)
    collator = collator_of(loaded, recipe.data)
    adapted = with_adapter(loaded, recipe, spec)
    ranks = join(find_store(port), rank, count, precision.device)
    checkpoints = SharedCheckpoints(None, ranks)
    signals = Signals(paths.cancel, paths.cancel)  # never installed: rank 0 says when a checkpoint is due
    card = Card.of(precision.device)
    surroundings = Surroundings(precision, card, Silence(), checkpoints, signals, ranks)
    plan = plan_of(spec, recipe, loaded, attempt, paths)
    part(train(adapted, loaded.examples, collator, recipe.trainer, plan, surroundings, lambda: None))
    leave()


def main() -> None:
    """Be one of the ranks, as the command line says."""
    folder, *numbers = sys.argv[1:]
    attempt, rank, count, port, parent, pipe = (int(number) for number in numbers)
    die_with(parent)
    go_offline()
    try:
        train_along(TrialPaths(Path(folder)), attempt, rank, count, port)
    except Exception as error:  # the boundary of the process: whatever it was becomes rank 0's failure
        report_failure(pipe, error)
        os._exit(1)


if __name__ == "__main__":
    main()
