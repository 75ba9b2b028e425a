"""Run an element as `submitit.core._submit` does, but without NumPy: `python -m slurm.submitit_start FOLDER`.

submitit loads NumPy, where there is one, before it reads the pickle. Ours hold text and nothing else, and
NumPy was half of the CPU time until the target begins: 0.12 of 0.23 s, and more on a cold shared disk.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Hide NumPy from submitit, which takes that for a machine without, and show it to the target again."""
    sys.modules["numpy"] = None  # type: ignore[assignment]  # makes the import fail, as documented
    try:
        from submitit.core.submission import submitit_main
    finally:
        del sys.modules["numpy"]
    submitit_main()


if __name__ == "__main__":
    main()
