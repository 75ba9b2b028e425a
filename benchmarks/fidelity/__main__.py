"""GPU-hours to the front of a full-length search: `python -m benchmarks.fidelity --help`.

For each family of learning curves and seed, a full-length Bayesian optimisation of 50 trials on the simulated
cluster says which hypervolume is to be reached; then each policy begins trials until it has used half as many
GPU-hours as that search has trials, which take one on average, and tells after how many it was there, and how
many of the trials that it stopped would have been on its front. Every study is a process of its own and one
line of the results; what is there is not repeated.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from benchmarks.fidelity.study import FAMILIES, POLICIES
from benchmarks.records import RESULTS, Record, append, in_process, key, read_records

FILE = "fidelity.jsonl"
NAMES = ("family", "policy", "seed", "gpus", "trials", "hours", "more")
FULL = "full"


def settings_of(options: argparse.Namespace, family: str, policy: str, gpus: int, seed: int) -> Record:
    """What one study is."""
    return {
        "family": family,
        "policy": policy,
        "seed": seed,
        "gpus": gpus,
        "trials": options.trials,
        "hours": None if policy == FULL else options.trials * options.share,
        "more": "" if policy == FULL else " ".join(options.more),
    }


def studies(options: argparse.Namespace, policies: Sequence[str]) -> list[Record]:
    """What the studies of these policies are."""
    return [
        settings_of(options, family, policy, gpus, seed)
        for seed in options.seeds
        for family in options.families
        for gpus in options.gpus
        for policy in policies
    ]


def reached(record: Record, volume: float) -> float | None:
    """The GPU-hours after which a hypervolume was there; None where it never was."""
    pairs = zip(record["hours_used"], record["volumes"], strict=True)
    return next((hours for hours, own in pairs if own >= volume), None)


def at(record: Record, hours: float) -> float:
    """The hypervolume after so many GPU-hours."""
    pairs = zip(record["hours_used"], record["volumes"], strict=True)
    return max((own for used, own in pairs if used <= hours), default=0.0)


def row(records: list[Record], family: str, gpus: int, policy: str) -> str:
    """Of the table: means over the seeds, and each seed's share of the hours of the full-length search."""
    of_these = [own for own in records if (own["family"], own["gpus"]) == (family, gpus)]
    full = {own["seed"]: own for own in of_these if own["policy"] == FULL}
    own = [each for each in of_these if each["policy"] == policy and each["seed"] in full]
    if not own:
        return f"| {family} | {gpus} | {policy} | none yet |{' |' * (len(_HEAD) - 4)}"
    pairs = [(each, full[each["seed"]]) for each in own]
    volumes = (_volumes(pairs, share) for share in (1 / 3, 1 / 2, 1.0))
    begun, stopped = (fmean(each[name] for each in own) for name in ("trials_begun", "stopped"))
    known = [each["regretted"] for each in own if "regretted" in each]
    cells = [
        *(family, str(gpus), policy),
        *volumes,
        ", ".join(_when(*pair) for pair in pairs),
        f"{begun:.0f}, {stopped:.0f}",
        f"{fmean(known):.1f}" if known else "",
        f"{fmean(each['cpu_s'] for each in own):.0f}",
    ]
    return f"| {' | '.join(cells)} |"


_HEAD = (
    *("curves", "GPUs", "policy", "at a third", "at half", "at the end", "there after"),
    *("trials, stopped", "would have been on the front", "CPU s"),
)


def _volumes(pairs: Sequence[tuple[Record, Record]], share: float) -> str:
    """The mean hypervolume after a share of the hours that full length used; "" where some had fewer."""
    hours = [share * full["hours_used"][-1] for _, full in pairs]
    had = [max(own["hours_used"][-1], own.get("hours") or 0.0) for own, _ in pairs]
    if any(own < 0.99 * most for own, most in zip(had, hours, strict=True)):
        return ""
    return f"{fmean(at(own, most) for (own, _), most in zip(pairs, hours, strict=True)):.3f}"


def _when(record: Record, full: Record) -> str:
    """The share of the full-length search's hours after which its last hypervolume was there."""
    found = reached(record, full["volumes"][-1])
    return "not" if found is None else f"{found / full['hours_used'][-1]:.2f}"


def table(records: list[Record], wanted: Sequence[Record]) -> str:
    """As docs/early_stopping.md has it: a row for every family, number of GPUs and policy wanted."""
    places = dict.fromkeys((own["family"], own["gpus"], own["policy"]) for own in wanted)
    head = [f"| {' | '.join(_HEAD)} |", "|---" * len(_HEAD) + "|"]
    return "\n".join([*head, *(row(records, *place) for place in places)])


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options that were given."""
    own = argparse.ArgumentParser(
        prog="python -m benchmarks.fidelity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own.add_argument("--families", nargs="*", choices=list(FAMILIES), default=list(FAMILIES))
    own.add_argument("--policies", nargs="*", choices=list(POLICIES), default=list(POLICIES))
    own.add_argument("--seeds", type=int, nargs="*", default=list(range(5)))
    own.add_argument("--gpus", type=int, nargs="*", default=[8])
    own.add_argument("--trials", type=int, default=50, help="of the full-length search")
    share = "GPU-hours for each of its trials until which the others begin new ones"
    own.add_argument("--share", type=float, default=0.5, help=share)
    own.add_argument("--more", nargs="*", default=[], help="further overrides of those that stop")
    own.add_argument("--limit", type=float, default=7200.0, help="seconds a study may take")
    own.add_argument("--out", type=Path, default=RESULTS)
    own.add_argument("--table", action="store_true", help="only print the table")
    return own.parse_args(arguments)


def chosen(records: Sequence[Record], options: argparse.Namespace) -> list[Record]:
    """Those that were asked for, and the full-length searches beside them."""
    keys = {key(own, NAMES) for own in studies(options, [*options.policies, FULL])}
    return [own for own in records if key(own, NAMES) in keys]


def main() -> None:
    """Run what is missing, and print the table."""
    options = options_of()
    path = options.out / FILE
    wanted = studies(options, options.policies)
    for settings in () if options.table else wanted:
        if key(settings, NAMES) not in {key(each, NAMES) for each in read_records(path)}:
            record = in_process("benchmarks.fidelity.study", settings, options.limit)
            print({name: record.get(name) for name in (*NAMES, "error", "wall_s")}, flush=True)
            if "error" not in record:
                append(path, record)
    print(table(chosen(read_records(path), options), wanted))


if __name__ == "__main__":
    main()
