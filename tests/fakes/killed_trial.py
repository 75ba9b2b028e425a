"""A fine-tune in this process that ends right after a step, before its checkpoint, as a kill ends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jobs.training.loop import StepWatch


class Killed(BaseException):
    """The end of a process, as far as the trial's own code can tell."""


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, happens: Callable[[], object]) -> None:
    """Let something happen right after a step."""
    real = StepWatch.on_step_end

    def on_step_end(self: StepWatch, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        real(self, args, state, control, **kwargs)
        if state.global_step == step:
            happens()

    monkeypatch.setattr(StepWatch, "on_step_end", on_step_end)


def die_after(monkeypatch: pytest.MonkeyPatch, step: int, run: Callable[[], int]) -> None:
    """Run an attempt that ends right after a step, before anything of the step is saved."""

    def die() -> None:
        raise Killed

    with monkeypatch.context() as patch:
        at_step(patch, step, die)
        with pytest.raises(Killed):
            run()
