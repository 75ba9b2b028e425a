"""What can go wrong on a node. Each message says what, got, expected and where, then a hint."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from hpo.records import Cause

R = TypeVar("R")


class TrialError(Exception):
    """The family of all errors of this package."""

    cause = Cause.ERROR

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}\n\nhint: {hint}" if hint else message)


class RecipeError(TrialError):
    """The recipe cannot be used as it stands."""

    @classmethod
    def of(cls, problems: Iterable[tuple[str, str]]) -> RecipeError:
        """One error for all problems, a line each."""
        return cls("\n".join(f"{key}: {problem}" for key, problem in problems))


def sound(recipe: R | None, problems: Sequence[tuple[str, str]]) -> R:
    """A recipe that could be read and has no problems.

    Raises:
        RecipeError: naming every problem by its key path.
    """
    if recipe is None or problems:
        raise RecipeError.of(problems)
    return recipe


class ModelError(TrialError):
    """The base model is missing, unusable, or does not fit this machine."""


class DataError(TrialError):
    """The data file is missing or does not hold what its template needs."""


class RowError(DataError):
    """One row is of no use, whatever the others are: `data.bad_rows` says what follows.

    Args:
        reason: in few words, the same for all rows of which it holds.
        setting: of a source, to be looked at first: path, template or columns.
    """

    def __init__(self, reason: str, message: str, hint: str = "", setting: str = "template") -> None:
        super().__init__(message, hint)
        self.reason = reason
        self.setting = setting


class Diverged(TrialError):
    """The loss left the finite range or passed the stated bound: an outcome of the trial, not a mistake."""

    cause = Cause.DIVERGED


class OutOfMemory(TrialError):
    """The card is too small for the trial: an outcome of it, not a mistake."""

    cause = Cause.GPU_OUT_OF_MEMORY


class OutOfHostMemory(TrialError):
    """The machine had too little memory, perhaps by a neighbour: another attempt may fare better."""

    cause = Cause.HOST_OUT_OF_MEMORY
