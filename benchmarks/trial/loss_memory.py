"""Peak memory of the loss, whole logits against pieces of them: `python -m benchmarks.trial.loss_memory`.

Batch 4 of length 512, every token counting, hidden size and vocabulary of the demo model, forward and
backward; a process each.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.records import RESULTS, Record, append
from benchmarks.table import rows_of
from benchmarks.trial.page import write_part
from benchmarks.trial.scene import circumstances, measured

FILE = "trial_loss.jsonl"
WAYS = {"full": "whole logits", "chunked": "512 rows at a time"}
SIZES = {"rows": 4 * 512, "hidden": 576, "vocabulary": 49152}
ASKED = 1e-6


def worker(way: str, tensors: str, answer: str) -> int:
    """Loss and gradient of one way, and the most bytes that its tensors held at once."""
    import torch
    import torch.nn.functional as F
    from torch.profiler import ProfilerActivity, profile

    from jobs.attempt.environment import peak_host_memory_gib
    from jobs.models.loss import chunked

    torch.manual_seed(0)
    head = torch.nn.Linear(SIZES["hidden"], SIZES["vocabulary"], bias=False).requires_grad_(False)
    hidden = torch.randn(SIZES["rows"], SIZES["hidden"], requires_grad=True)
    targets = torch.randint(SIZES["vocabulary"], (SIZES["rows"],))
    before = peak_host_memory_gib()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        if way == "full":
            losses = F.cross_entropy(head(hidden).float(), targets, reduction="none")
        else:
            losses = chunked(head, hidden, targets)
        losses.mean().backward()  # type: ignore[no-untyped-call]
    torch.save({"losses": losses.detach(), "gradient": hidden.grad}, tensors)
    held, most = 0, 0
    for event in profiled.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    resident = (peak_host_memory_gib() - before) * 1024
    Path(answer).write_text(
        json.dumps({"peak_mib": round(most / 2**20, 1), "resident_mib": round(resident, 1)})
    )
    return 0


def measure(threads: int) -> list[Record]:
    """Both ways, and the largest difference between what they gave."""
    import torch

    with tempfile.TemporaryDirectory() as folder:
        files = {way: str(Path(folder) / way) for way in WAYS}
        found = {way: measured("benchmarks.trial.loss_memory", [way, files[way]], threads) for way in WAYS}
        tensors = {way: torch.load(file) for way, file in files.items()}
    full, pieces = tensors["full"], tensors["chunked"]
    apart = {f"{name}_apart": float((full[name] - pieces[name]).abs().max()) for name in full}
    return [{"way": way, **SIZES, **found[way], **apart, **circumstances(threads)} for way in WAYS]


def section(records: Sequence[Record]) -> str:
    """The part of the page."""
    own = records[-1]
    about = (
        f"{own['rows']} rows, hidden size {own['hidden']}, vocabulary {own['vocabulary']}, float32, forward "
        f"and backward. The losses differ by at most {own['losses_apart']:.1e}, the gradients by "
        f"{own['gradient_apart']:.1e}. Peak: what tensors held at once beyond the inputs, by torch's "
        "profiler; resident: how much the process grew."
    )
    rows = [
        [WAYS[one["way"]], f"{one['peak_mib']:.0f} MiB", f"{one['resident_mib']:.0f} MiB"] for one in records
    ]
    return f"{about}\n\n{rows_of(['', 'peak', 'resident'], rows)}"


def main() -> int:
    """Measure and record; 1 where the two ways differ."""
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    own.add_argument("--out", type=Path, default=RESULTS, help="the folder of the results")
    own.add_argument("--dry", action="store_true", help="record nothing")
    options = own.parse_args()
    records = measure(options.threads)
    print(section(records))
    if not options.dry:
        (options.out / FILE).unlink(missing_ok=True)
        for record in records:
            append(options.out / FILE, record)
        write_part("loss", options.out)
    return 0 if max(records[0]["losses_apart"], records[0]["gradient_apart"]) <= ASKED else 1


if __name__ == "__main__":
    sys.exit(worker(*sys.argv[1:]) if len(sys.argv) == 4 and sys.argv[1] in WAYS else main())
