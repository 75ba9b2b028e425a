"""The command line: `python -m hpo COMMAND ...`, installed as `frontrunner COMMAND ...`."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Sequence

from hpo.commands.arguments import COMMANDS, read_command
from hpo.display.plain_console import PlainConsole
from hpo.errors import FrontrunnerError, InputError
from hpo.ports import of_an_executor
from hpo.records import Cause, RecordError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; None takes those of the process.

    Returns:
        The exit code: 0 done, 1 failed, 2 bad input, 3 interrupted but resumable.
    """
    atexit.register(gc.freeze)  # or an end looks at all that torch has made, for most of a second
    options = read_command(arguments)
    out = PlainConsole(width=None if sys.stdout.isatty() else 160)
    try:
        return COMMANDS[options.command](options, out)
    except FrontrunnerError as error:
        _complain(_message(error), error.hint)
        return error.exit_code
    except RecordError as error:
        study = getattr(options, "study", None) or "STUDY"
        _complain(
            str(error), f"`frontrunner doctor {study}` checks a study folder and mends what can be mended"
        )
        return 1
    except RuntimeError as error:
        if not of_an_executor(error):
            raise
        hint = getattr(error, "hint", "")
        _complain(str(error).removesuffix(f"\n\nhint: {hint}"), hint)  # which such messages may hold already
        return 1
    except BrokenPipeError:
        return 0
    except OSError as error:
        _complain(f"{error.filename or 'the disk'}: {error.strerror or error}", "the same command goes on")
        return 1
    except Exception as error:
        if not isinstance(getattr(error, "cause", None), Cause):  # the trial kinds' family has it
            raise
        _complain(str(error), "")
        return 1
    except KeyboardInterrupt:
        _complain("interrupted; the same command goes on", "")
        return 3


def _message(error: FrontrunnerError) -> str:
    if isinstance(error, InputError) and len(error.problems) > 1:
        texts = [(key, text.replace("\n\nhint: ", "; hint: ")) for key, text in error.problems]
        lines = [f"  {key}: {text}" if key else f"  {text}" for key, text in texts]
        return "\n".join([f"{len(lines)} problems", *lines])
    return str(error)


def _complain(message: str, hint: str) -> None:
    console = PlainConsole(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"error: {message}")
    if hint:
        console.print(f"\nhint: {hint}")
