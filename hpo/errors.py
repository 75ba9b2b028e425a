"""The errors that Frontrunner raises on purpose. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence

Problem = tuple[str, str]  # (key path, what is wrong there); the path is empty where there is none


class FrontrunnerError(Exception):
    """Something that the user can act on.

    Args:
        message: what is wrong, what was found, what was expected, and where.
        hint: what to do about it; shown on a line of its own.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n\nhint: {self.hint}" if self.hint else self.message


class InputError(FrontrunnerError):
    """Bad input; holds every problem that was found, not only the first one.

    Args:
        problems: (key path, what is wrong) each, or one message without a path.
        hint: what to do about it.
    """

    def __init__(self, problems: Sequence[Problem] | str, *, hint: str = "") -> None:
        self.problems: list[Problem] = [("", problems)] if isinstance(problems, str) else list(problems)
        lines = [f"{path}: {text}" if path else text for path, text in self.problems]
        super().__init__("\n".join(lines), hint=hint)

    def under(self, path: str) -> list[Problem]:
        """The problems with their key paths put below `path`."""
        return [(f"{path}.{key}" if key else path, text) for key, text in self.problems]
