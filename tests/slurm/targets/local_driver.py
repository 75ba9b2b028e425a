"""A controller in small: submits one array to a folder once, then polls it to its end."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from slurm.local_executor import LocalExecutor


def main() -> None:
    """Go on where an earlier driver stopped."""
    request = json.loads(Path(sys.argv[1]).read_text())
    executor = LocalExecutor(**request["settings"])
    executor.adopt(request["folder"])
    arrays = {path.stem for path in Path(request["folder"]).glob("local-*.json")}
    if not arrays:
        arrays = {executor.submit(name="array", **request["array"])}
    for job_id in arrays:
        executor.release(job_id)
    while executor.poll():
        time.sleep(0.02)


if __name__ == "__main__":
    main()
