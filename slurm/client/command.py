"""Run a client command with a time limit, and tell all that is known of how it ended."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slurm.client.environment import client_environment

# Every Slurm client gives up by itself after MessageTimeout (10 s by default), some only after a retry.
CLIENT_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Outcome:
    """How a command ended; `exit_code` is None when it was not there or did not end in time.

    `garbled` says why the output of one that ended well is no answer all the same.
    """

    command: tuple[str, ...]
    exit_code: int | None
    stdout: str
    stderr: str
    timed_out: bool = False
    garbled: str = ""

    @property
    def ok(self) -> bool:
        """Whether it ended by itself with exit code 0, and what it printed is an answer."""
        return self.exit_code == 0 and not self.garbled

    def describe(self) -> str:
        """Command, exit code, stdout and stderr: the body of an error message."""
        ended = "did not run to its end" if self.exit_code is None else f"exit code {self.exit_code}"
        lines = [f"{shlex.join(self.command)}: {', '.join(filter(None, (ended, self.garbled)))}"]
        for label, text in (("stdout", self.stdout), ("stderr", self.stderr)):
            if text.strip():
                lines.append(f"{label}: {text.strip()}")
        return "\n".join(lines)


def run(
    command: Sequence[str],
    *,
    timeout_s: float = CLIENT_TIMEOUT_S,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Run a command to its end.

    Args:
        command: the program and its arguments.
        timeout_s: after so many seconds it is killed, and the outcome has no exit code.
        environment: its whole environment; None hands ours on, without what steers Slurm's clients.

    Returns:
        The outcome, also when the program does not exist; nothing is raised.
    """
    argv = tuple(command)
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env=client_environment() if environment is None else environment,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        said = (error.stderr or b"").decode(errors="replace")  # bytes, whatever `text` says
        return Outcome(argv, None, "", f"{said}no answer within {timeout_s:g} s", timed_out=True)
    except OSError as error:
        return Outcome(argv, None, "", str(error))
    return Outcome(argv, done.returncode, done.stdout, done.stderr)
