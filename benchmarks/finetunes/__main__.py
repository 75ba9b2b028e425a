"""Records a table: `python -m benchmarks.finetunes demo --out FOLDER`, an hour of one core.

`python -m benchmarks.finetunes instructions --data alpaca.jsonl --out FOLDER` trains on rows of a file.
Run again, either goes on with FOLDER/NAME.jsonl, which holds a line a trial.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.finetunes.recording import RecordingError, record
from benchmarks.finetunes.sets import FineTunes
from benchmarks.trial.scene import default_cache


def main(arguments: Sequence[str] | None = None) -> int:
    """Record; 2 where that cannot be gone on with."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.finetunes", description=__doc__)
    parser.add_argument("name", choices=("demo", "instructions"), help="the set, as in settings.yaml")
    parser.add_argument("--data", type=Path, help="file of the rows, where the set is not generated")
    parser.add_argument("--out", type=Path, required=True, help="folder of the table")
    parser.add_argument("--trials", type=int, help="how many in all; else as settings.yaml says")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="of base models")
    given = parser.parse_args(arguments)
    chosen = FineTunes.of(given.name, given.data)
    trials = given.trials or chosen.trials
    try:
        record(
            chosen,
            given.out / f"{given.name}.jsonl",
            trials,
            given.cache,
            lambda line: print(line, flush=True),
        )
    except RecordingError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
