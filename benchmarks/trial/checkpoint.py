"""How long a checkpoint of a 7B model's adapter takes: `python -m benchmarks.trial.checkpoint`.

One layer with the widths of LLaMA-7B and 32 times the rank has as many adapter weights as all its 32 layers.
A real trial trains it for a few steps and saves after each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.records import RESULTS, Record, append, forget
from benchmarks.table import rows_of
from benchmarks.trial.crowd import save_model
from benchmarks.trial.ours import BATCH_ID
from benchmarks.trial.page import write_part
from benchmarks.trial.scene import circumstances, measured, recipe_of, write_trial

FILE = "trial_checkpoint.jsonl"
LAYERS, STEPS = 32, 4
RANKS = (16, 64)
ASKED_S = 5.0


def worker(study: str, answer: str) -> int:
    """Run the trial, and time what its checkpoints take."""
    from hpo.records import TrialResult, TrialSpec
    from jobs.attempt.attempt import Attempt, conduct
    from jobs.attempt.checkpoints import Checkpoints
    from jobs.training.gpus import take_place

    real, saved = Checkpoints.save, []

    def save(self: Checkpoints, step: int, write: Callable[[Path], None]) -> Path | None:
        began = time.monotonic()
        folder = real(self, step, write)
        seconds = time.monotonic() - began
        assert folder is not None
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        saved.append({"seconds": round(seconds, 3), "bytes": size})
        return folder

    def work(spec: TrialSpec, attempt: Attempt) -> TrialResult:
        from jobs.training import trial

        own: Any = Checkpoints
        own.save = save
        result = trial.run(spec, attempt, take_place(spec))
        assert isinstance(result, TrialResult), "it has no rung to stop at"
        weights = result.metrics["trainable_parameters"].value
        Path(answer).write_text(json.dumps({"weights": weights, "saved": saved}))
        return result

    return conduct(study, BATCH_ID, "0000", work)


def measure(rank: int, threads: int) -> Record:
    """A record of the checkpoints at a rank of the whole model.

    Args:
        rank: of LoRA on all linear layers.
        threads: cores.
    """
    with tempfile.TemporaryDirectory(prefix="checkpoint-") as folder:
        save_model(Path(folder) / "model", width=4096, inner=11008, layers=1, heads=32)
        training = {"max_steps": STEPS, "checkpoint_every_s": 0.01, "lora_rank": rank * LAYERS}
        recipe = recipe_of(
            str(Path(folder) / "model"),
            {"max_length": 128, "train_examples": 16, "validation_examples": 2},
            {**training, "batch_size": 1, "target_modules": "all"},
        )
        write_trial(Path(folder) / "study", "0000", recipe, Path(folder) / "cache")
        own = measured("benchmarks.trial.checkpoint", [str(Path(folder) / "study")], threads)
    return {"rank": rank, **own, **circumstances(threads)}


def section(records: Sequence[Record]) -> str:
    """The part of the page."""
    rows = []
    for rank in RANKS:
        own = next(one for one in reversed(records) if one["rank"] == rank)
        seconds = [one["seconds"] for one in own["saved"]]
        size = own["saved"][-1]["bytes"] / 2**20
        times = f"**{statistics.median(seconds):.1f} s**, at most {max(seconds):.1f} s"
        rows.append(
            [f"{rank}", f"{own['weights'] / 1e6:.0f} million", f"{size:.0f} MiB", times, str(len(seconds))]
        )
    head = [
        "rank, all linear layers",
        "adapter weights",
        "checkpoint",
        "training stands still",
        "checkpoints",
    ]
    about = (
        f"One layer of LLaMA-7B's widths with {LAYERS} times the rank, local disk (load {own['load']:g}, "
        f"commit {own['commit']})."
    )
    return f"{about}\n\n{rows_of(head, rows)}"


def main() -> int:
    """Measure and record; 1 where a checkpoint took too long."""
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument("--threads", type=int, default=2)
    own.add_argument("--out", type=Path, default=RESULTS, help="the folder of the results")
    options = own.parse_args()
    records = [measure(rank, options.threads) for rank in RANKS]
    for record in records:
        forget(options.out / FILE, [{"rank": record["rank"]}])
        append(options.out / FILE, record)
    print(section(records))
    write_part("checkpoint", options.out)
    return int(any(one["seconds"] > ASKED_S for record in records for one in record["saved"]))


if __name__ == "__main__":
    sys.exit(worker(*sys.argv[1:]) if len(sys.argv) == 3 and not sys.argv[1].startswith("-") else main())
