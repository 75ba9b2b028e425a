"""A rank of a trial that fails while it trains: `python -m failing_rank` in place of the worker."""

from __future__ import annotations

from typing import Any

from jobs.training import trainer
from jobs.training import worker as follow


def failing(*args: Any) -> Any:
    """In place of the losses."""
    raise ValueError("this rank cannot")


if __name__ == "__main__":
    setattr(trainer, "token_losses", failing)  # noqa: B010
    follow.main()
