"""HellaSwag by this project's evaluator and by lm-eval's own command: `python -m benchmarks.evaluation`.

Both judge the untuned demo model, not quantised and on the CPU, by the first documents of a local sample
whose rows have `ctx`, `endings` and `label`; lm-eval's own task wants the hub. Ends with 1 where a digit
differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CONF = Path(__file__).resolve().parents[1] / "conf"
NAME = "hellaswag_sample"
METRICS = ("acc", "acc_norm")


@dataclass(frozen=True)
class Wanted:
    """What is compared."""

    folder: Path  # of the task file
    cache: Path
    limit: int
    batch_size: int
    model: str | None  # a folder; None: the demo model


def main(arguments: list[str] | None = None) -> int:
    """Judge twice and compare.

    Args:
        arguments: of the command line.

    Returns:
        0 where every digit is the same, else 1.
    """
    parser = argparse.ArgumentParser(prog="benchmarks.evaluation", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with hellaswag_val.jsonl")
    parser.add_argument("--model", help="folder of another model than the demo model")
    parser.add_argument("--limit", type=int, default=200, help="first documents that are asked")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--cache", type=Path, default=Path("studies/.cache"))
    given = parser.parse_args(arguments)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # cards compute in formats of their own choice, and in any order
    with tempfile.TemporaryDirectory() as made:
        write_task(Path(made), given.data / "hellaswag_val.jsonl")
        wanted = Wanted(Path(made), given.cache.resolve(), given.limit, given.batch_size, given.model)
        judged = {"this project": _timed(ours, wanted), "lm-eval": _timed(theirs, wanted)}
    for name, (seconds, scores) in judged.items():
        said = "  ".join(f"{metric} {value!r} +- {error!r}" for metric, (value, error) in scores.items())
        print(f"{name:<14}{said}  ({seconds:.0f} s)")
    (_, own), (_, other) = judged.values()
    print("the same to the last digit" if own == other else "they differ")
    return 0 if own == other else 1


Scores = dict[str, tuple[float, float]]  # metric -> value and standard error


def _timed(judge: Any, wanted: Wanted) -> tuple[float, Scores]:
    began = time.monotonic()
    scores = judge(wanted)
    return time.monotonic() - began, scores


def write_task(folder: Path, data: Path) -> None:
    """Write a task file for a sample of HellaSwag.

    Args:
        folder: an existing one.
        data: rows with ctx, endings and label.
    """
    task = {
        "task": NAME,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"validation": str(data.resolve())}},
        "validation_split": "validation",
        "output_type": "multiple_choice",
        "doc_to_text": "{{ctx}}",
        "doc_to_choice": "endings",
        "doc_to_target": "label",
        "metric_list": [
            {"metric": name, "aggregation": "mean", "higher_is_better": True} for name in METRICS
        ],
    }
    (folder / f"{NAME}.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")


def ours(wanted: Wanted) -> Scores:
    """The scores that a trial would report of the untuned model.

    Args:
        wanted: what is compared.
    """
    from transformers import AutoTokenizer

    from jobs.evaluation.shards import UnstoredShards
    from jobs.evaluation.task_model import Asking
    from jobs.evaluation.tasks import judge_by_tasks
    from jobs.models.base_model import load
    from jobs.models.libraries import quiet
    from jobs.models.precision import of_this_machine
    from jobs.recipes.recipe import parse

    quiet()
    recipe, precision = parse(_recipe(wanted)), of_this_machine()
    tasks = recipe.evaluation.tasks
    assert tasks is not None
    folder = _plain_model(wanted)
    asking = Asking(wanted.batch_size, tasks.shard_documents, precision, lambda: None)
    model, tokenizer = load(folder, recipe.model, precision), AutoTokenizer.from_pretrained(folder)
    found = judge_by_tasks(model, tokenizer, tasks, wanted.cache, asking, UnstoredShards()).metrics
    metrics = {name: found[f"{NAME}_{name}"] for name in METRICS}
    return {name: (own.value, own.standard_error or 0.0) for name, own in metrics.items()}


def _recipe(wanted: Wanted) -> dict[str, Any]:
    """The shipped recipe, judged by the task alone."""
    groups = {"model": "smollm2_135m", "data": "demo", "trainer": "qlora"}
    recipe = {
        group: yaml.safe_load((CONF / group / f"{name}.yaml").read_text()) for group, name in groups.items()
    }
    recipe["model"]["path"] = wanted.model
    recipe["trainer"]["quantisation"] = "none"
    shipped = yaml.safe_load((CONF / "evaluation" / "tasks.yaml").read_text())["tasks"]
    tasks = {**shipped, "folder": str(wanted.folder), "limit": wanted.limit}
    recipe["evaluation"] = {"batch_size": wanted.batch_size, "bases": ["4bit"], "tasks": tasks}
    return recipe


def _plain_model(wanted: Wanted) -> Path:
    """The folder of the model that both load."""
    from jobs.models.base_model import obtain_base
    from jobs.recipes.recipe import parse

    return obtain_base(parse(_recipe(wanted)), wanted.cache, print).plain


def theirs(wanted: Wanted) -> Scores:
    """The scores of lm-eval's command line.

    Args:
        wanted: what is compared.
    """
    out = wanted.folder / "answer"
    command = [
        *(sys.executable, "-m", "lm_eval", "run", "--model", "hf"),
        *("--model_args", f"pretrained={_plain_model(wanted)},dtype=float32"),
        *("--tasks", NAME, "--include_path", str(wanted.folder), "--limit", str(wanted.limit)),
        *("--batch_size", str(wanted.batch_size), "--output_path", str(out)),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (answer,) = out.rglob("results_*.json")
    found = json.loads(answer.read_text(encoding="utf-8"))["results"][NAME]
    return {name: (found[f"{name},none"], found[f"{name}_stderr,none"]) for name in METRICS}


if __name__ == "__main__":
    sys.exit(main())
