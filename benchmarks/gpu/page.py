"""The tables of `docs/training.md` that `benchmarks.gpu` writes."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.gpu.refit import memory_line, rate_line
from benchmarks.gpu.shares import PARTS
from benchmarks.records import Record
from benchmarks.table import rows_of

FILE = "gpu.jsonl"
MEDIAN, MOST = 0.05, 0.12  # errors of the memory's forecast that are allowed


def section(records: Sequence[Record]) -> str:
    """All parts of which there is something."""
    about = records[-1]
    head = (
        f"{about['card']}, torch {about['torch']}, transformers {about['transformers']}, peft "
        f"{about['peft']}, bitsandbytes {about['bitsandbytes']}, commit {about['commit']}; random weights in "
        "true shapes."
    )
    memory = _of(records, "memory")
    parts = [head, _memory(memory), memory_line(memory), _speed(_of(records, "speed"))]
    parts += [rate_line(_of(records, "speed")), _shares(records)]
    parts += [_starts(_of(records, "start")), _tasks(_of(records, "tasks")), _failed(records)]
    return "\n\n".join(part for part in parts if part)


def _of(records: Sequence[Record], part: str) -> list[Record]:
    return [own for own in records if own["part"] == part and "error" not in own]


def errors(records: Sequence[Record]) -> list[float]:
    """Of the memory's forecast, in the order of the records: measured over foretold, less 1."""
    return [own["peak_gib"] / own["foretold_gib"] - 1 for own in records]


def _memory(records: Sequence[Record]) -> str:
    if not records:
        return ""
    off = errors(records)
    rows = [
        [own["model"], own["quantisation"], own["case"], str(own["length"]), str(own["micro_batch"]),
         f"{own['peak_gib']:.2f}", f"{own['foretold_gib']:.2f}", f"{error:+.1%}"]
        for own, error in zip(records, off, strict=True)
    ]  # fmt: skip
    sizes = sorted(map(abs, off))
    said = (
        f"Memory of {len(rows)} recipes: median error {statistics.median(sizes):.1%} ({MEDIAN:.0%} is "
        f"asked), largest {sizes[-1]:.1%} ({MOST:.0%})."
    )
    head = ["base model", "stored", "recipe", "tokens", "a pass", "measured, GiB", "foretold, GiB", "error"]
    return f"{said}\n\n{rows_of(head, rows)}"


def _speed(records: Sequence[Record]) -> str:
    timed = [own for own in records if "tokens_per_second" in own]
    plain = {
        (own["compute"], own["case"]): own["tokens_per_second"] for own in timed if own["arm"] == "plain"
    }
    rows = []
    for own in timed:
        rate, beside = own["tokens_per_second"], plain.get((own["compute"], own["case"].split(",")[0]))
        ratio = "-" if beside is None or own["arm"] == "plain" else f"{rate / beside:.2f}"
        tflops = f"{own['tflops']:.1f}" if "tflops" in own else "-"
        rows.append([own["model"], own["compute"], own["case"], own["arm"], f"{rate:.0f}", ratio, tflops])
    head = ["base model", "computes in", "examples", "", "tokens/s", "to plain", "TFLOP/s of the model"]
    return rows_of(head, rows) if rows else ""


def _shares(records: Sequence[Record]) -> str:
    rows = [
        [own["model"], own["compute"], *(f"{own['shares'][part]:.0%}" for part in PARTS)]
        for own in records
        if "shares" in own
    ]
    return "Where the time goes:\n\n" + rows_of(["base model", "computes in", *PARTS], rows) if rows else ""


def _starts(records: Sequence[Record]) -> str:
    rows = [[own["model"], own["case"], f"{own['start_seconds']:.1f} s"] for own in records]
    return rows_of(["base model", "cache", "from process to first step"], rows) if rows else ""


def _tasks(records: Sequence[Record]) -> str:
    rows = [[own["model"], own["case"], str(own["questions"]), f"{own['per_second']:.1f}"] for own in records]
    return rows_of(["base model", "asked by", "questions", "a second"], rows) if rows else ""


def _failed(records: Sequence[Record]) -> str:
    lines = [f"- {own['part']}, {own.get('case', '')}: {own['error']}" for own in records if "error" in own]
    return "Not measured:\n\n" + "\n".join(lines) if lines else ""
