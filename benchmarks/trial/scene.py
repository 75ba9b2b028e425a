"""A trial to be measured: its recipe from conf/, its folder, the process that runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from benchmarks.records import ROOT, Record
from benchmarks.reliability.inject import commit
from hpo.paths import TrialPaths
from hpo.records import TrialSpec, write_json

CONF = ROOT / "conf"
SEED = 3
LIMIT_S = 900.0


def recipe_of(
    model: str | None, data: Mapping[str, Any], trainer: Mapping[str, Any], *, own_file: bool = False
) -> dict[str, Any]:
    """The shipped recipe with changes.

    Args:
        model: folder of a model; None: the demo's.
        data: keys of the group to be set.
        trainer: keys of the group to be set.
        own_file: start from the group for files, not from that of the demo.
    """
    names = {
        "model": "smollm2_135m",
        "data": "file" if own_file else "demo",
        "trainer": "qlora",
        "evaluation": "loss",
    }
    made: dict[str, Any] = {
        group: yaml.safe_load((CONF / group / f"{name}.yaml").read_text()) for group, name in names.items()
    }
    made["data"] |= data
    made["trainer"] |= trainer
    if model is not None:
        made["model"] |= {"name": Path(model).name, "path": str(Path(model).resolve())}
    return made


def write_trial(study: Path, trial: str, recipe: Mapping[str, Any], cache: Path) -> TrialPaths:
    """Write the spec of a trial; returns its paths."""
    paths = TrialPaths(study / "trials" / trial)
    paths.folder.mkdir(parents=True)
    spec = TrialSpec("measured", trial, 0, {}, dict(recipe), ["eval_loss"], SEED, str(cache), "none")
    write_json(paths.spec, spec.to_json())
    return paths


def environment(threads: int) -> dict[str, str]:
    """That of a task with so many cores, on a machine that fetches nothing."""
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    quiet = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    return {**os.environ, **counts, **quiet, "PYTHONPATH": str(ROOT)}


def measured(module: str, arguments: Sequence[str], threads: int, limit_s: float = LIMIT_S) -> Record:
    """What `python -m module ARGUMENTS ANSWER` writes into the file ANSWER.

    Args:
        module: a worker of this package.
        arguments: for it.
        threads: cores.

    Raises:
        RuntimeError: it failed, with the end of what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, "-W", "ignore", "-m", module, *arguments, str(answer)]
        done = subprocess.run(
            command, env=environment(threads), capture_output=True, text=True, timeout=limit_s, check=False
        )
        if not answer.exists():
            raise RuntimeError(
                f"{module} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}"
            )
        record: Record = json.loads(answer.read_text())
        return record


def circumstances(threads: int) -> Record:
    """With what and beside what something was measured."""
    packages = {name: version(name) for name in ("torch", "transformers", "peft", "bitsandbytes")}
    load = round(os.getloadavg()[0], 1)
    return {"commit": commit(), "load": load, "cores": os.cpu_count(), "threads": threads, **packages}


def named(model: str | None) -> str:
    """What a record calls a model: where it lies on this machine is nobody's business."""
    return "demo" if model is None else Path(model).name


def default_cache() -> Path:
    """Where trials of this machine keep base models."""
    named = os.environ.get("FRONTRUNNER_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "frontrunner"
