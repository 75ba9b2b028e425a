"""Claim an array element for this process, or leave: `python -IS claim.py CLAIM COMMAND ARGUMENT...`.

The claim is a file that only one process can make, and it is the only truth about who runs an element: a
controller that died between starting a process and noting it down may start a second one, which finds the
claim and exits. The process then becomes COMMAND, and keeps its id and start time. Standard library only,
and little of it: this runs before everything else.
"""

from __future__ import annotations

import json
import os
import sys

RUNNING = "running"
CANCELLED = "cancelled"
FAILED_TO_START = "failed_to_start"


def boot_id() -> str:
    """What tells this boot of the machine from every other; process ids start again after each."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:  # noqa: PTH123  # pathlib is slow to load
        return stream.read().strip()


def process_status(pid: int) -> tuple[str, int] | None:
    """(state letter, start time in ticks since boot) of a process; None if there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:  # noqa: PTH123
            fields = stream.read().rpartition(")")[2].split()  # the name before may hold blanks and brackets
    except OSError:
        return None
    return fields[0], int(fields[19])


def claim(path: str, state: str) -> bool:
    """Make the claim file, whole, unless there is one.

    Args:
        path: the claim of one element.
        state: `running` for this very process; otherwise why the element is never to start.

    Returns:
        Whether this call made it.
    """
    own = process_status(os.getpid())
    record = {
        "schema_version": 1,
        "state": state,
        "pid": os.getpid(),
        "start_ticks": own[1] if own else -1,
        "boot": boot_id(),
        "host": os.uname().nodename,
        "gpu": os.environ.get("FRONTRUNNER_GPU", ""),
    }
    temporary = f"{path}.{os.getpid()}.{os.urandom(8).hex()}.tmp"
    try:
        with open(temporary, "x", encoding="utf-8") as stream:  # noqa: PTH123
            json.dump(record, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(temporary, path)  # fails if there is one: the first claim wins
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)  # noqa: PTH108
    return True


def main() -> None:
    """Claim and become the command; exit quietly when another process was first."""
    # A session of its own: no terminal's Ctrl-C or hang-up reaches the element.
    if os.getpid() != os.getsid(0):
        os.setsid()
    if claim(sys.argv[1], RUNNING):
        os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
