"""What a trial takes and achieves on a card: `python -m benchmarks.gpu`.

Base models of random weights in the shapes of Llama-3-8B and Llama-2-7B, each loaded once for many cases; no
network. Results are written as they come, and what there was no time for is said. `--dry` goes the whole way
on a CPU with tiny shapes, and records nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from benchmarks.gpu.page import FILE, section
from benchmarks.gpu.parts import memory, recipes, speed, starts
from benchmarks.records import RESULTS, Record, append, read_records
from benchmarks.trial.page import write_part
from benchmarks.trial.scene import circumstances
from jobs.models.libraries import quiet

PARTS = {"memory": memory, "speed": speed, "starts": starts}
LENGTHS = 1024, 64  # tokens, on a card and dry
TRUE, TINY = ("Llama-3-8B", "Llama-2-7B"), ("tiny", "tiny")


def main() -> int:
    """Measure and record; 1 where a case failed, 2 where there is no card."""
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    cases = list(dict.fromkeys(case.name for length in LENGTHS for case in recipes(length)))
    own.add_argument("--cases", nargs="*", choices=cases, default=[], help="recipes of `memory`; none: all")
    own.add_argument("--minutes", type=float, default=8.0, help="after which no case begins")
    own.add_argument("--out", type=Path, default=RESULTS, help="the folder of the results")
    own.add_argument("--dry", action="store_true", help="tiny shapes, wherever this is; record nothing")
    options = own.parse_args()
    if not options.dry and not torch.cuda.is_available():
        print("error: torch sees no CUDA device\n\nhint: --dry tries the whole way on a CPU", file=sys.stderr)
        return 2
    quiet()
    until = time.monotonic() + 60 * options.minutes
    name = "cpu" if options.dry else torch.cuda.get_device_name(0)
    about = {"card": name, **circumstances(torch.get_num_threads())}
    file = options.out / FILE
    if not options.dry:
        file.unlink(missing_ok=True)
    found: list[Record] = []
    for part in options.parts:
        shapes, length = (TINY, LENGTHS[1]) if options.dry else (TRUE, LENGTHS[0])
        for record in PARTS[part](shapes, length, options.cases):
            found.append({**record, **about})
            print({key: value for key, value in record.items() if key != "parts_gib"}, flush=True)
            if not options.dry:
                append(file, found[-1])
            if time.monotonic() > until:
                print(f"no time for the rest of {part}, nor for what follows", flush=True)
                return _told(found, options.out, dry=options.dry, whole=False)
    return _told(found, options.out, dry=options.dry, whole=True)


def _told(found: list[Record], out: Path, *, dry: bool, whole: bool) -> int:
    print(section(found))
    if not dry:
        write_part("gpu", out)
        assert len(read_records(out / FILE)) == len(found)
    return 0 if whole and not any("error" in record for record in found) else 1


if __name__ == "__main__":
    sys.exit(main())
