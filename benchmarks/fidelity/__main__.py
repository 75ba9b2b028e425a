"""GPU-hours to the front of a full-length search: `python -m benchmarks.fidelity --help`.

For each family of learning curves and seed, a full-length Bayesian optimisation of 50 trials on the simulated
cluster says which hypervolume is to be reached; then each policy runs until it has used half of its
GPU-hours, and tells after how many it was there. Every study is a process of its own and one line of the
results; what is there is not repeated.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import fmean

from benchmarks.fidelity.study import FAMILIES, POLICIES
from benchmarks.records import RESULTS, Record, append, in_process, key, read_records

FILE = "fidelity.jsonl"
NAMES = ("family", "policy", "seed", "gpus", "trials", "hours", "more")
FULL = "full"


def settings_of(options: argparse.Namespace, family: str, policy: str, seed: int) -> Record:
    """What one study is."""
    return {
        "family": family,
        "policy": policy,
        "seed": seed,
        "gpus": options.gpus,
        "trials": options.trials,
        "hours": None if policy == FULL else options.trials * options.share,
        "more": "" if policy == FULL else " ".join(options.more),
    }


def reached(record: Record, volume: float) -> float | None:
    """The GPU-hours after which a hypervolume was there; None where it never was."""
    pairs = zip(record["hours_used"], record["volumes"], strict=True)
    return next((hours for hours, own in pairs if own >= volume), None)


def at(record: Record, hours: float) -> float:
    """The hypervolume after so many GPU-hours."""
    pairs = zip(record["hours_used"], record["volumes"], strict=True)
    return max((own for used, own in pairs if used <= hours), default=0.0)


def row(records: list[Record], family: str, policy: str) -> str:
    """Of the table: shares of the GPU-hours, mean and each seed; those that were never there count as all."""
    full = {own["seed"]: own for own in records if (own["family"], own["policy"]) == (family, FULL)}
    own = [each for each in records if (each["family"], each["policy"]) == (family, policy)]
    shares, volumes = [], []
    for each in (each for each in own if each["seed"] in full):
        whole = full[each["seed"]]
        last = whole["volumes"][-1]
        found = reached(each, last)
        shares.append(1.0 if found is None else found / whole["hours_used"][-1])
        hours = min(each["hours_used"][-1], whole["hours_used"][-1])
        volumes.append(at(each, hours) / at(whole, hours))
    if not shares:
        return f"| {family} | {policy} | none yet | | | | |"
    told = ", ".join("not" if share == 1.0 else f"{share:.2f}" for share in shares)
    begun = fmean(each["trials_begun"] for each in own)
    stopped = fmean(each["stopped"] for each in own)
    return (
        f"| {family} | {policy} | {fmean(shares):.2f} | {told} | {fmean(volumes):.3f} | "
        f"{begun:.0f}, {stopped:.0f} | {fmean(each['cpu_s'] for each in own):.0f} |"
    )


def table(records: list[Record]) -> str:
    """As docs/early_stopping.md has it."""
    head = [
        "| curves | policy | share of hours | each seed | volume at equal hours | trials, stopped | CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *(row(records, family, policy) for family in FAMILIES for policy in POLICIES)])


def main() -> None:
    """Run what is missing, and print the table."""
    own = argparse.ArgumentParser(
        prog="python -m benchmarks.fidelity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own.add_argument("--families", nargs="*", choices=list(FAMILIES), default=list(FAMILIES))
    own.add_argument("--policies", nargs="*", choices=list(POLICIES), default=list(POLICIES))
    own.add_argument("--seeds", type=int, nargs="*", default=list(range(5)))
    own.add_argument("--gpus", type=int, default=8)
    own.add_argument("--trials", type=int, default=50, help="of the full-length search")
    own.add_argument("--share", type=float, default=0.5, help="of its GPU-hours that the others may use")
    own.add_argument("--more", nargs="*", default=[], help="further overrides of those that stop")
    own.add_argument("--limit", type=float, default=7200.0, help="seconds a study may take")
    own.add_argument("--out", type=Path, default=RESULTS)
    own.add_argument("--table", action="store_true", help="only print the table")
    options = own.parse_args()
    path = options.out / FILE
    wanted = [
        settings_of(options, family, policy, seed)
        for seed in options.seeds
        for family in options.families
        for policy in options.policies
    ]
    for settings in () if options.table else wanted:
        if key(settings, NAMES) not in {key(each, NAMES) for each in read_records(path)}:
            record = in_process("benchmarks.fidelity.study", settings, options.limit)
            print({name: record.get(name) for name in (*NAMES, "error", "wall_s")}, flush=True)
            if "error" not in record:
                append(path, record)
    chosen = {key(settings, NAMES) for settings in wanted}
    print(table([each for each in read_records(path) if key(each, NAMES) in chosen]))


if __name__ == "__main__":
    main()
