"""Studies under random faults: `python -m benchmarks.reliability.chaos --help`.

Each run is a study of 24 synthetic trials on a true one-machine Slurm cluster of its own, with one to four
faults at random moments, all drawn from the run's seed. Its outcome is one line of the results; a run that is
there is not repeated, so a stopped suite goes on where it was. At the end the page is written.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from benchmarks.records import RESULTS, ROOT, Record, append, forget, read_records
from benchmarks.reliability.faults import FAULTS
from benchmarks.reliability.inject import describe, is_clean, run_plan
from benchmarks.reliability.plan import draw_plan

FILE = "chaos.jsonl"


def parser() -> argparse.ArgumentParser:
    """The options."""
    listed = "\n".join(f"  {fault.name:24}{fault.title}" for fault in FAULTS.values())
    own = argparse.ArgumentParser(
        prog="python -m benchmarks.reliability.chaos",
        description=f"{__doc__}\nfaults:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = own.add_argument
    add("--runs", type=int, default=100, help="how many runs; seeds from --seed on")
    add("--seed", type=int, default=0, help="of the first run")
    add("--jobs", type=int, default=1, help="runs at the same time, each with a cluster of its own")
    add("--only", type=_names, default=[], help="run these faults alone, once each, and record nothing")
    add("--limit", type=float, default=900.0, help="seconds a study may take")
    add("--keep", action="store_true", help="leave the files of clean runs too")
    add("--redo", action="store_true", help="repeat the runs that were not clean")
    add("--work", type=Path, default=None, help="where clusters and studies live; bad runs are left there")
    add("--out", type=Path, default=RESULTS, help="the folder of the results")
    add("--table", action="store_true", help="only write the page")
    return own


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in FAULTS]:
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(FAULTS)}, got {', '.join(unknown)}")
    return names


def missing(options: argparse.Namespace) -> list[int]:
    """The seeds of the runs that are still to do."""
    wanted = range(options.seed, options.seed + options.runs)
    path = options.out / FILE
    if options.redo:
        unclean = [own for own in read_records(path) if own["seed"] in wanted and not is_clean(own)]
        forget(path, [{"seed": own["seed"]} for own in unclean])
    done = {own["seed"] for own in read_records(path)}
    return [seed for seed in wanted if seed not in done]


def run_all(seeds: Sequence[int], options: argparse.Namespace, work: Path) -> bool:
    """Run what is to do, and append each record as soon as it is known; returns whether all were clean."""

    def run(seed: int) -> Record:
        return run_plan(draw_plan(seed, options.only), work / f"run{seed}", options.limit, keep=options.keep)

    clean = True
    with ThreadPoolExecutor(options.jobs) as pool:
        waiting = [pool.submit(run, seed) for seed in seeds]
        try:
            for number, future in enumerate(as_completed(waiting), start=1):
                record = future.result()
                clean = clean and is_clean(record)
                if not options.only:
                    append(options.out / FILE, record)
                _show(record, f"{number}/{len(seeds)}", faults=bool(options.only))
        except BaseException:
            print("interrupted: the runs that have begun go on to their end, unrecorded", file=sys.stderr)
            pool.shutdown(cancel_futures=True)
            raise
    return clean


def _show(record: Record, place: str, *, faults: bool) -> None:
    print(f"{place} {'ok' if is_clean(record) else 'BAD'} {describe(record)}", flush=True)
    if faults or not is_clean(record):
        for own in record["faults"]:
            print(f"    {own}", flush=True)


def main() -> int:
    """Run what is missing, then write the page; the exit code is 1 if a run was not clean."""
    options = parser().parse_args()
    # As Ctrl-C, so that clusters and mounts are taken down on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    clean = True
    if not options.table:
        work = options.work or Path(tempfile.mkdtemp(prefix="chaos-"))
        seeds = [options.seed + i for i in range(options.runs)] if options.only else missing(options)
        clean = run_all(seeds, options, work)
        if clean and options.work is None and not options.keep:
            work.rmdir()
        elif not clean:
            print(f"what was not clean is left in {work}", file=sys.stderr)
    if not options.only:
        from benchmarks.reliability.page import write_page

        print(write_page(options.out, ROOT / "docs"))
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
