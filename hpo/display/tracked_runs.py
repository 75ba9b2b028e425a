"""Where the runs are that trackers made of trials while they ran, as commands for a shell."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from hpo.paths import StudyPaths


def ways_to_see(paths: StudyPaths) -> Iterator[tuple[str, str]]:
    """(tracker, shell command that shows its runs or sends them) of what the trackers left in a study."""
    trials = quote(str(paths.trials))
    if any(paths.trials.glob("*/wandb/offline-run-*")):
        yield "wandb", f"wandb sync {trials}/*/wandb/offline-run-*"
    if paths.mlflow.is_dir():
        store = quote(paths.mlflow.as_uri())
        yield "mlflow", f"MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri {store}"
    if any(paths.trials.glob("*/tensorboard")):
        yield "tensorboard", f"tensorboard --logdir {trials}"
