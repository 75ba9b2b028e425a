"""The errors that `hpo` raises. A message says what, got, expected and where; the hint says what to do."""

from __future__ import annotations

from collections.abc import Sequence

Problem = tuple[str, str]  # (key path, what is wrong there)


class FrontrunnerError(Exception):
    """Base of the family; `hint` is shown on a line of its own."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class InputError(FrontrunnerError):
    """What the user gave cannot be used; holds every problem that was found.

    Args:
        problems: one message, or (key path, message) pairs.
        hint: what to do about it.
    """

    exit_code = 2

    def __init__(self, problems: str | Sequence[Problem], hint: str = "") -> None:
        self.problems: list[Problem] = [("", problems)] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(f"{key}: {text}" if key else text for key, text in self.problems), hint)

    def under(self, path: str) -> list[Problem]:
        """The problems with their key paths put below `path`."""
        return [(f"{path}.{key}" if key else path, text) for key, text in self.problems]


class StudyError(FrontrunnerError):
    """A study cannot go on: too many errors in a row, or its files contradict each other."""


class FitError(FrontrunnerError):
    """A model could not be fitted or evaluated; the caller records it and goes on without one."""
