"""The table of the published studies at demo scale, and which of their claims were seen: Markdown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.published.outcome import GROUPS, PRESENT, SCORE, TESTED, best, everything
from benchmarks.records import ROOT, Record, read_records
from benchmarks.table import rows_of
from benchmarks.trial.page import replaced
from hpo.formatting import duration

PAGE = ROOT / "docs" / "studies.md"


def write(results: Path, page: Path) -> None:
    """Write the table and the claims from all results so far.

    Args:
        results: the file of the records.
        page: Markdown with the marks of both parts.
    """
    records = [record for record in read_records(results) if record["exit"] == 0]
    text = replaced(page.read_text(), "published", table(records))
    page.write_text(replaced(text, "claims", claims(records)))


def table(records: Sequence[Record]) -> str:
    """One row a study, of the first seed that was run.

    Args:
        records: of studies that ended.
    """
    head = ["study", "wall time", "trials", "preempted, went on at step", "result", "claim seen"]
    first = [own[0] for name in PRESENT if (own := of(records, name))]
    if not first:
        return ""
    loads = [own["load"] for own in first]
    about = f"Load of the machine (two cores) when a study began: {min(loads):g} to {max(loads):g}."
    return f"{rows_of(head, [_row(own, records) for own in first], words=len(head))}\n\n{about}"


def _row(record: Record, records: Sequence[Record]) -> list[str]:
    group = next(group for group, names in GROUPS.items() if record["experiment"] in names)
    failed = f", {record['failed']} failed" if record["failed"] else ""
    return [
        f"`{record['experiment']}`",
        duration(record["seconds"]),
        f"{record['trials']}{failed}",
        f"{record['preempted']}, {record['resumed_at'] or 'not seen'}",
        PRESENT[record["experiment"]](record),
        _SEEN[group](record, records),
    ]


def of(records: Sequence[Record], name: str) -> list[Record]:
    """The records of one experiment, by seed."""
    return sorted((own for own in records if own["experiment"] == name), key=lambda own: int(own["seed"]))


def _openllama(record: Record, records: Sequence[Record]) -> str:
    metric = "demo_words_acc_norm"
    value, error = best(record["pilot"], metric, -1)["metrics"][metric]
    gain = value - record["baseline"][metric]
    noise = math.sqrt(2) * (error or 0.0)
    return (
        f"{'yes' if gain > 2 * noise else 'within noise'}: gain {100 * gain:+.1f} ± {100 * noise:.1f} points"
    )


def _lora_pareto(record: Record, records: Sequence[Record]) -> str:
    proposed, chance = (record["arms"][name] for name in ("proposed", "random"))
    ours, theirs = proposed["extends"], chance["extends"]
    return "yes" if ours > theirs else "alike" if ours == theirs else "no"


def _partition(record: Record, records: Sequence[Record]) -> str:
    if record["experiment"] == "partition_lhs":
        return "the others' lower bound"
    bound = of(records, "partition_lhs")
    if not bound:
        return ""
    floor = best(bound[0]["pilot"], SCORE, -1)["metrics"][SCORE]
    value, error = best(everything(record), SCORE, -1)["metrics"][SCORE]
    noise = math.hypot(error or 0.0, floor[1] or 0.0)
    apart = f"{100 * (value - floor[0]):+.1f} ± {100 * noise:.1f} points to it"
    return f"{'yes' if value - floor[0] > 2 * noise else 'within noise'}: {apart}"


def _challenge(record: Record, records: Sequence[Record]) -> str:
    recipe, found = record["pilot"][0], best(record["pilot"], "eval_loss")
    near = found["metrics"]["eval_loss"][0] > recipe["metrics"]["eval_loss"][0] - 2 * (
        recipe["metrics"]["eval_loss"][1] or 0.0
    )
    return "yes: nothing near it is better beyond noise" if near else "no: something near it is better"


def _guide(record: Record, records: Sequence[Record]) -> str:
    by_kind = {row["params"]["quantisation"]: row["metrics"]["eval_loss"] for row in record["pilot"]}
    if not {"nf4", "none"} <= set(by_kind):
        return ""
    apart = by_kind["nf4"][0] - by_kind["none"][0]
    noise = math.hypot(by_kind["nf4"][1] or 0.0, by_kind["none"][1] or 0.0)
    return f"{'yes' if apart < 2 * noise else 'no'}: NF4 costs {apart:+.3f} ± {noise:.3f} nats"


_SEEN: dict[str, Callable[[Record, Sequence[Record]], str]] = {
    "openllama": _openllama,
    "lora_pareto": _lora_pareto,
    "partition": _partition,
    "challenge": _challenge,
    "guide": _guide,
}


def claims(records: Sequence[Record]) -> str:
    """What needs more than one row: continuations over seeds, and two tasks over trials.

    Args:
        records: of studies that ended.
    """
    return "\n\n".join(
        text for text in (_continuations(of(records, "lora_pareto_4")), _correlation(records)) if text
    )


def _continuations(runs: Sequence[Record]) -> str:
    """How often each arm of study 4 extended the front, seed by seed."""
    if not runs:
        return ""
    rows = []
    for name in ("random", "proposed"):
        own = [run["arms"][name] for run in runs]
        extends, asked = [arm["extends"] for arm in own], sum(len(arm["trials"]) for arm in own)
        volumes = [arm["volume"] for arm in own if arm["volume"] is not None]
        mean = f"{statistics.mean(volumes):.3f}" if volumes else ""
        spread = f" ± {statistics.stdev(volumes) / math.sqrt(len(volumes)):.3f}" if len(volumes) > 1 else ""
        each = ", ".join(map(str, extends))
        rows.append([name, each, f"**{sum(extends)} of {asked}**", mean + spread])
    seeds = ", ".join(str(run["seed"]) for run in runs)
    head = [
        "continuation",
        f"extend the front, seeds {seeds}",
        "together",
        "hypervolume, as a ratio to the pilot's",
    ]
    return f"`lora_pareto_4` (the source: 3 of 5 proposals):\n\n{rows_of(head, rows)}"


def _correlation(records: Sequence[Record]) -> str:
    """The two tasks over the trials of all partition studies."""
    runs = [own[0] for name in GROUPS["partition"] if (own := of(records, name))]
    pairs = [
        (row["metrics"][SCORE][0], row["metrics"][TESTED][0])
        for run in runs
        for row in everything(run)
        if TESTED in row["metrics"]
    ]
    if len(pairs) < 3:
        return ""
    found = statistics.correlation(*zip(*pairs, strict=True))
    return (
        f"Over the {len(pairs)} trials of the partition studies `demo_words` and `demo_numbers` are "
        f"correlated at {100 * found:.0f}% (the source's two benchmarks: 99.5%)."
    )
