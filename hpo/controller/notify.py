"""Tell somebody that a study has ended: a command of the user's, with the news as JSON on its standard input.

Each end is told once: the journal records that it was told, and whether the command worked. A controller that
is killed between the two tells it again. Whatever the command does, the study is not hurt.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, Any

from hpo.paths import StudyPaths
from hpo.study.journal import Journal
from hpo.study.snapshot import Snapshot, elapsed_s, pareto_trials, running_trials, volume
from hpo.study.state import Event, TrialState

WORDS = 300  # of what the command complained, the last characters


def tell(
    journal: Journal,
    paths: StudyPaths,
    command: Sequence[str],
    timeout_s: float,
    say: Callable[[str], None],
) -> None:
    """Run the command, if the study has come to an end that nobody was told of.

    Args:
        journal: of the study, by the holder of its lease.
        command: program and arguments; none: nobody wants to know.
        timeout_s: after which the command is killed.
        say: told where it did not work.
    """
    if not command or not journal.study.untold:
        return
    journal.confirm()
    message = run(command, json.dumps(news(journal, paths)), timeout_s)
    if message:
        say(f"warning: notify.command did not work, the study is not affected: {message}")
    journal.record(Event.NOTIFIED, what=journal.study.untold, message=message)


def news(journal: Journal, paths: StudyPaths) -> dict[str, Any]:
    """What the command is told."""
    study = journal.study
    snapshot = Snapshot(paths, study, running_trials(paths, study), None)
    return {
        "event": study.untold,
        "study": study.name,
        "folder": str(paths.folder),
        "reason": study.finished or study.stopped,
        "trials": {state.value: len(study.in_state(state)) for state in TrialState},
        "elapsed_s": round(elapsed_s(study), 1),
        **snapshot.usage.to_json(),
        "hypervolume": volume(study, snapshot.objectives) if len(snapshot.objectives) > 1 else None,
        "pareto_front": [
            {
                "trial": trial.id,
                "params": trial.params,
                "metrics": {name: trial.metrics[name].value for name in snapshot.objectives},
            }
            for trial in pareto_trials(study, snapshot.objectives)
        ],
    }


def run(command: Sequence[str], text: str, timeout_s: float) -> str:
    """Run a command with a text on its standard input.

    Args:
        command: program and arguments; no shell reads them.
        text: for its standard input.
        timeout_s: after which it and all that it started are killed.

    Returns:
        What went wrong; "" for nothing.
    """
    with tempfile.TemporaryFile() as complaints, tempfile.TemporaryFile() as given:
        given.write(text.encode())
        given.seek(0)
        try:
            # a file, not a pipe: neither a command that does not read nor a child that stays can block us
            process = subprocess.Popen(
                command,
                stdin=given,
                stdout=complaints,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return f"{command[0]}: {getattr(error, 'strerror', None) or error}"
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            _kill(process)
            return f"{command[0]} had not ended after {timeout_s:g} s, and was killed"
        except BaseException:
            _kill(process)  # Ctrl-C is for all of us
            raise
        return "" if code == 0 else f"{command[0]} ended with code {code}: {last_words(complaints)}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def last_words(stream: IO[bytes]) -> str:
    """What a program said last, on one line."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - WORDS))
    return " ".join(stream.read().decode(errors="replace").split()) or "it said nothing"
