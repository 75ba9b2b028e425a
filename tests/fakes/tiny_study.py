"""The demo in little: real QLoRA trials of a few seconds on a CPU."""

from __future__ import annotations

import json
from pathlib import Path

from tiny_llama import save_tiny_llama


def tiny_study(folder: Path) -> list[str]:
    """Overrides of the demo for Slurm: the tiny model on a small file of data.

    Args:
        folder: for model, data and cache.
    """
    rows = [{"prompt": f"{n}:", "completion": "ok" * (1 + n % 5)} for n in range(40)]
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = save_tiny_llama(folder / "tiny")
    files = [f"model.path={model}", f"data.path={data}", f"cache={folder / 'cache'}"]
    return [*files, "data.template=completion", "cluster.mem_gb=2", "controller.poll_seconds=0.5"]
