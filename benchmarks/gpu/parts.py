"""The parts of the benchmark: each yields records as they come."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import PreTrainedModel, TrainerCallback

from benchmarks.gpu.bases import letters, quantised, random_base, save
from benchmarks.gpu.shares import profiled
from benchmarks.gpu.training import COMMON, Case, OverTime, train_case
from benchmarks.records import Record
from benchmarks.trial import plain
from benchmarks.trial.clock import Clock
from benchmarks.trial.scene import SEED, environment, measured, recipe_of, write_trial
from jobs.data.tokens import Tokens
from jobs.evaluation.shards import UnstoredShards
from jobs.models.base_model import set_formats
from jobs.models.precision import FORCED, Precision, of_this_machine
from jobs.recipes.evaluation import DEMO_TASKS, TaskRecipe

TASK = "demo_words"


def _limit_s(precision: Precision) -> float:
    """Of one case; on a CPU, where nothing is measured, it matters little."""
    return 300.0 if precision.capability is None else 30.0


def recipes(length: int) -> list[Case]:
    """What memory is foretold of: everything that it depends on, one thing at a time and some together."""

    def case(name: str, length: int = length, **trainer: Any) -> Case:
        return Case(name, trainer, length)

    adam = {"lr_scheduler_type": "linear", "max_grad_norm": 1.0}
    return [
        case("rank 16, all"),
        *(case(f"rank {rank}", lora_rank=rank) for rank in (8, 64, 256)),
        *(case(f"targets {name}", target_modules=name) for name in ("qv", "attention", "mlp")),
        *(case(f"length {own}", own) for own in (length // 2, 2 * length)),
        *(
            case(f"{size} a pass", micro_batch_size=size, batch_size=max(4, size))
            for size in (1, 8, 16)
        ),
        case("kept activations, 1 a pass", length // 2, gradient_checkpointing=False, micro_batch_size=1),
        case("kept activations, 2 a pass", length // 2, gradient_checkpointing=False, micro_batch_size=2),
        *(
            case(name, args={**adam, "optim": name}, lora_rank=128)
            for name in ("adamw_torch", "paged_adamw_32bit", "paged_adamw_8bit")
        ),
        case("DoRA", use_dora=True),
        case("DoRA, attention, kept", length // 2, use_dora=True, target_modules="attention",
             gradient_checkpointing=False, micro_batch_size=1),
    ]  # fmt: skip


def memory(shapes: tuple[str, ...], length: int, names: Collection[str]) -> Iterator[Record]:
    """(a) Peak memory beside its forecast, of the recipes of these names; every base is made once."""
    precision, cases = of_this_machine(), recipes(length)
    few = [cases[0], cases[1], cases[7], cases[12]]
    plans = [
        (shapes[0], "nf4", True, cases),
        (shapes[-1], "nf4", True, few),
        (shapes[-1], "fp4", False, few[:1]),
        (shapes[-1], "none", False, few[:2]),
    ]
    for shape, kind, double, own in plans:
        base = quantised(random_base(shape, precision.compute, precision.device), kind, double, precision)
        for case in own if not names else [case for case in own if case.name in names]:
            stored = {"quantisation": kind, "double_quantisation": double}
            record, _ = train_case(
                base, replace(case, trainer={**case.trainer, **stored}), precision, _limit_s(precision)
            )
            yield {"part": "memory", "model": shape, **record}
        del base


def speed(shapes: tuple[str, ...], length: int, names: Collection[str]) -> Iterator[Record]:
    """(b, c) Tokens and operations a second, a trial beside the plain script, and where the time goes."""
    own = of_this_machine()
    base = quantised(random_base(shapes[0], own.compute, own.device), "nf4", True, own)
    policies = [own] if own.capability is None else [own, _forced()]
    for precision in policies:
        set_formats(base, precision)
        about = {
            "part": "speed",
            "model": shapes[0],
            "compute": str(precision.compute).removeprefix("torch."),
            "forced": precision is not own,
        }
        sizes = {"batch_size": 16, "micro_batch_size": 4}
        arms = [
            Case("equal lengths", sizes, length, steps=5),
            Case("natural lengths", sizes, length, natural=True, steps=6),
            Case("natural lengths, packed", sizes, length, natural=True, packed=True, steps=6),
        ]
        for case in arms:
            yield {**about, "arm": "trial", **train_case(base, case, precision, _limit_s(precision))[0]}
        for case in arms[:2]:
            yield {**about, "arm": "plain", **_plain(base, case, precision)}
            set_formats(base, precision)  # the plain script makes some of it float32
        short = Case("profile", {"batch_size": 4, "micro_batch_size": 4}, length, steps=2)
        work = partial(train_case, base, short, precision, _limit_s(precision))
        parts = profiled(work, COMMON["lora_rank"], cuda=own.capability is not None)
        yield {**about, "arm": "shares", "case": short.name, "shares": parts}


def _forced() -> Precision:
    os.environ[FORCED] = "7.0"
    try:
        return of_this_machine()
    finally:
        del os.environ[FORCED]


class _Rows(Dataset[dict[str, list[int]]]):
    def __init__(self, rows: list[Tokens]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> dict[str, list[int]]:
        return {"input_ids": list(self._rows[place].ids), "labels": self._rows[place].labels}


class _Limit(TrainerCallback):
    def __init__(self, limit_s: float) -> None:
        self._until = time.monotonic() + limit_s

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if time.monotonic() > self._until:
            raise OverTime


def _plain(base: PreTrainedModel, case: Case, precision: Precision) -> Record:
    """What the plain script makes of the same examples, as many a step as a trial has a pass."""
    recipe, clock = case.recipe, Clock()
    rows = case.examples(base.config.vocab_size, recipe.micro_batches[-1] * case.steps)
    record: Record = {"case": case.name, "length": case.length}
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "folder": folder, "rank": recipe.lora_rank, "alpha": recipe.lora_alpha, "seed": SEED,
            "batch": recipe.micro_batches[-1], "checkpointing": True,
            "targets": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        }  # fmt: skip
        base.set_attn_implementation("sdpa")
        try:
            callbacks = [plain.Timer(clock), _Limit(_limit_s(precision))]
            adapted = plain.train(base, letters(), _Rows(rows), settings, precision.compute, callbacks)
            adapted.unload()
        except (OverTime, torch.OutOfMemoryError) as error:
            return {**record, "error": f"{type(error).__name__}: {error}"[:200]}
        finally:
            base.requires_grad_(False)
    return record | clock.record()


def starts(shapes: tuple[str, ...], length: int, names: Collection[str]) -> Iterator[Record]:
    """(d, e) From process to first step, cold and warm; questions a second beside lm-eval's own command."""
    precision = of_this_machine()
    with tempfile.TemporaryDirectory(prefix="gpu-base-") as name:
        folder = Path(name)
        model = random_base(shapes[-1], precision.compute, precision.device)
        save(model, folder / "random")
        trainer = {"max_steps": 1, "batch_size": 1, "lora_rank": 8}
        recipe = recipe_of(str(folder / "random"), {"validation_examples": 1}, trainer)
        for number, cache in enumerate(("cold", "warm")):
            write_trial(folder / "study", f"{number:04}", recipe, folder / "cache")
            arguments = [str(folder / "study"), f"{number:04}"]
            own = _attempted(
                partial(
                    measured, "benchmarks.trial.ours", arguments, os.cpu_count() or 1, 4 * _limit_s(precision)
                )
            )
            kept: Record = {name: own[name] for name in ("start_seconds", "parts", "error") if name in own}
            yield {"part": "start", "model": shapes[-1], "case": cache, **kept}
        base = quantised(model, "nf4", True, precision)
        documents = 8 if precision.capability is None else 100
        yield {"part": "tasks", "model": shapes[-1], "case": "trial", **_asked(base, precision, documents)}
        yield {
            "part": "tasks",
            "model": shapes[-1],
            "case": "lm-eval",
            **_lm_eval(folder, documents, 2 * _limit_s(precision)),
        }


def _attempted(work: Callable[[], Record]) -> Record:
    try:
        return work()
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return {"error": str(error)[-300:]}


def _asked(base: PreTrainedModel, precision: Precision, documents: int) -> Record:
    from jobs.evaluation.task_model import Asking  # lm-eval: seconds of imports
    from jobs.evaluation.tasks import judge_by_tasks

    asking = Asking(16, documents, precision, lambda: None)
    tasks = TaskRecipe([TASK], "demo", None, documents, None, False, documents)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as cache:
        judge_by_tasks(base, letters(), tasks, Path(cache), asking, UnstoredShards())
    seconds = time.monotonic() - began
    return {"questions": documents, "seconds": round(seconds, 2), "per_second": round(documents / seconds, 2)}


def _lm_eval(folder: Path, documents: int, limit_s: float) -> Record:
    """Its own command line, the loading of the model among it; 4 bits where there is a card."""
    four_bit = ",load_in_4bit=True" if torch.cuda.is_available() else ""
    command = [
        sys.executable, "-m", "lm_eval", "--model", "hf", "--tasks", TASK, "--include_path", str(DEMO_TASKS),
        "--model_args", f"pretrained={folder / 'random'}{four_bit}", "--batch_size", "16",
        "--limit", str(documents), "--output_path", str(folder / "lm_eval"),
        "--device", "cuda" if torch.cuda.is_available() else "cpu",
    ]  # fmt: skip
    try:
        subprocess.run(
            command,
            cwd=DEMO_TASKS,  # its task names its questions as a file beside it
            env=environment(os.cpu_count() or 1),
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        return {"error": str(error.stderr)[-300:]}
    except subprocess.TimeoutExpired:
        return {"error": f"over {limit_s:g} s"}
    (found,) = (folder / "lm_eval").rglob("results*.json")
    seconds = float(json.loads(found.read_text())["total_evaluation_time_seconds"])
    return {"questions": documents, "seconds": round(seconds, 2), "per_second": round(documents / seconds, 2)}
