"""Slurm's clients as some sites have them: wrappers for the front of PATH, around the real ones."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

CLIENTS = ("sbatch", "squeue", "sacct", "scontrol", "scancel", "sinfo")

# Before and after the answer, on both streams, and a line of the kind that a careless reader takes for one.
NOISY = """\
echo '*** Welcome to our cluster | 2026 | 0 | RUNNING | we wish | you | well ***'
echo 'Mind the quota: 42 nodes are up' >&2
{real} "$@"
code=$?
echo '| thank | you | for | asking |'
exit $code
"""

# As on a site whose Slurm is older than an option.
REFUSING = """\
echo "{name}: unrecognized option '--old-site'" >&2
exit 1
"""


def search_path(folder: Path, scripts: Mapping[str, str]) -> str:
    """What PATH is to be, so that each client is a script of bash; {real} in it is the true one."""
    folder.mkdir(exist_ok=True)
    for name, script in scripts.items():
        program = folder / name
        program.write_text("#!/bin/bash\n" + script.format(real=shutil.which(name), name=name))
        program.chmod(0o755)
    return os.pathsep.join([str(folder), os.environ["PATH"]])
