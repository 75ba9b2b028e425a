"""Block USR2 and TERM, then become Python: run by path as `python -IS maskwrap.py ARGUMENTS`.

Python takes seconds to import torch, and a signal that arrives before a handler is there kills it. A blocked
one stays pending instead, also across exec, until the task unblocks it. `trap ''` in bash would lose it.
Only `os`, `signal` and `sys` are imported, which takes about 10 ms with -S.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Replace this process by the same Python with the arguments that follow."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGTERM})
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])


if __name__ == "__main__":
    main()
