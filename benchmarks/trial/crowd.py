"""Many trials started at once on an empty cache: `python -m benchmarks.trial.crowd`.

Real processes, a small random Llama. What is counted is in their logs and in the cache.
"""

from __future__ import annotations

import argparse
import json
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.records import RESULTS, Record, append
from benchmarks.table import rows_of
from benchmarks.trial.ours import BATCH_ID
from benchmarks.trial.page import write_part
from benchmarks.trial.scene import LIMIT_S, circumstances, environment, recipe_of, write_trial
from hpo.records import TrialResult
from jobs.cache import intact

FILE = "trial_crowd.jsonl"
WIDTH, LAYERS = 512, 4
ENTRIES = ("bases", "tokens")


def save_model(
    folder: Path, width: int = WIDTH, inner: int = 3 * WIDTH, layers: int = LAYERS, heads: int = 8
) -> None:
    """A random Llama, of 13 million weights unless told otherwise, with a tokenizer of single characters."""
    import torch
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    characters = ["<unk>", "<pad>", "</s>", *string.printable]
    core = Tokenizer(models.WordLevel({token: n for n, token in enumerate(characters)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core, unk_token="<unk>", pad_token="<pad>", eos_token="</s>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers}
    groups = {"num_attention_heads": heads, "num_key_value_heads": heads // 2}
    config = LlamaConfig(vocab_size=len(characters), max_position_embeddings=512, **sizes, **groups)  # type: ignore[arg-type]
    LlamaForCausalLM(config).save_pretrained(folder)


def crowd(trials: int, folder: Path) -> Record:
    """Start them all, wait for them all, and count.

    Args:
        trials: how many.
        folder: for all that they make; new.
    """
    save_model(folder / "model")
    cache, study = folder / "cache", folder / "study"
    recipe = recipe_of(str(folder / "model"), {"max_length": 256}, {"max_steps": 2})
    recipe["data"] |= {"train_examples": 40, "validation_examples": 8}
    for number in range(trials):
        write_trial(study, f"{number:04}", recipe, cache)
    began = time.monotonic()
    command = [sys.executable, "-W", "ignore", "-m", "jobs.run_trial", str(study), BATCH_ID]
    running = [
        subprocess.Popen(
            [*command, f"{number:04}"],
            env=environment(1),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(trials)
    ]
    logs = [process.communicate(timeout=LIMIT_S)[0] for process in running]
    seconds = time.monotonic() - began
    return {**counted(study, cache, logs), "trials": trials, "seconds": round(seconds, 1)}


def counted(study: Path, cache: Path, logs: Sequence[str]) -> Record:
    """What the logs tell and what the cache holds.

    Args:
        study: folder of the trials.
        cache: that they shared.
        logs: of every trial.
    """
    said = {"quantised": "quantising ", "tokenised": "tokenising "}
    found = {name: sum(words in log for log in logs) for name, words in said.items()}
    folders = [path for kind in ENTRIES for path in (cache / kind).iterdir()]
    entries = [path for path in folders if not path.name.startswith(".")]
    results = [
        TrialResult.read(path).metrics["eval_loss"].value for path in study.glob("trials/*/metrics.json")
    ]
    return {
        **found,
        "completed": len(results),
        "different_results": len(set(results)),
        "entries": len(entries),
        "damaged": sum(not intact(entry) for entry in entries),
        "left_behind": len(folders) - len(entries),
    }


def is_clean(record: Record) -> bool:
    """Whether one trial did the work for all, and nothing was damaged or left."""
    once = record["quantised"] == record["tokenised"] == record["different_results"] == 1
    whole = record["entries"] == len(ENTRIES) and not record["damaged"] and not record["left_behind"]
    return once and whole and record["completed"] == record["trials"]


def section(records: Sequence[Record]) -> str:
    """The part of the page."""
    own = records[-1]
    about = (
        f"{own['trials']} processes of `jobs.run_trial` with one recipe, started together on an empty cache, "
        f"on a machine with {own['cores']} cores (load {own['load']:g}, commit {own['commit']}); "
        f"all ended after {own['seconds']:.0f} s."
    )
    names = {
        "completed": "trials completed",
        "quantised": "quantised the base",
        "tokenised": "tokenised the data",
        "entries": "entries in the cache",
        "damaged": "of them damaged",
        "left_behind": "half-made left behind",
        "different_results": "different results",
    }
    return f"{about}\n\n{rows_of(list(names.values()), [[str(own[name]) for name in names]])}"


def main() -> int:
    """Measure and record; 1 where more than one trial did the work, or anything was damaged."""
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument("--trials", type=int, default=20)
    own.add_argument("--out", type=Path, default=RESULTS, help="the folder of the results")
    own.add_argument("--dry", action="store_true", help="record nothing")
    options = own.parse_args()
    with tempfile.TemporaryDirectory(prefix="crowd-") as folder:
        record = crowd(options.trials, Path(folder)) | circumstances(1)
    print(json.dumps(record), section([record]), sep="\n")
    if not options.dry:
        (options.out / FILE).unlink(missing_ok=True)
        append(options.out / FILE, record)
        write_part("crowd", options.out)
    return 0 if is_clean(record) else 1


if __name__ == "__main__":
    sys.exit(main())
