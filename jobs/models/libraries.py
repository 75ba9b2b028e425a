"""What the libraries are told before they are used: the task's share of the cores, and to keep quiet."""

from __future__ import annotations

import warnings

import torch
from transformers.utils import logging as transformers_logging

from jobs.attempt.environment import cores


def quiet() -> None:
    """Take the share of the cores, and keep bars and notes to developers out of the log."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers|peft")
    use_cores()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def use_cores(ranks: int = 1) -> None:
    """Compute on this process's share of the cores that the task was given.

    Args:
        ranks: processes of the task that compute.
    """
    if (share := cores()) is not None:
        torch.set_num_threads(max(1, share // ranks))
