"""Looks at this machine with the libraries: `python -m jobs.prepare.checks RECIPE.json CACHE ANSWER.json`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hpo.records import write_json
from jobs.attempt.environment import go_offline
from jobs.cache import intact, key_of
from jobs.data.rows import load_source
from jobs.errors import DataError, TrialError
from jobs.evaluation.baseline import read_baseline
from jobs.prepare.isolated_process import entry
from jobs.recipes.hub import fetched
from jobs.recipes.recipe import Quantisation, Recipe, parse
from jobs.recipes.sources import base_settings, find_source
from jobs.recipes.stored import stored_quantisation

Line = tuple[str, str, str]  # level (ok, warn, fail), what, hint
LAST_DRIVER_WITH_VOLTA = 580
FETCH = "nodes have no network: `frontrunner prefetch`, or the next `tune`, fetches it where there is one"


def _check(raw: Mapping[str, Any], cache: Path, answer: str) -> None:
    """Write the lines of `doctor` about this machine into the file `answer`."""
    recipe = parse(raw)
    go_offline()
    checks: list[Callable[[], Line]] = [
        _torch,
        lambda: _four_bit(recipe),
        _driver,
        lambda: _model(recipe, cache),
        lambda: _data(recipe, cache),
        lambda: _tasks(recipe, cache),
    ]
    write_json(Path(answer), [_safely(check) for check in checks])


def _safely(check: Callable[[], Line]) -> Line:
    try:
        return check()
    except TrialError as error:
        what, _, hint = str(error).partition("\n\nhint: ")
        return ("fail", what, hint)
    except Exception as error:  # doctor reports what it finds, whatever it is
        return ("fail", f"{type(error).__name__}: {error}", "")


def _torch() -> Line:
    import torch

    from jobs.models.precision import of_this_machine

    precision = of_this_machine()
    compute = str(precision.compute).removeprefix("torch.")
    if precision.device.type == "cpu":
        return ("ok", f"torch {torch.__version__}: no GPU here, trials compute on the CPU in {compute}", "")
    name = torch.cuda.get_device_name(0)
    return ("ok", f"torch {torch.__version__} has code for {name}; trials compute in {compute}", "")


def _four_bit(recipe: Recipe) -> Line:
    """Forward and backward through one quantised layer."""
    import torch
    from bitsandbytes.nn.modules import Linear4bit

    from jobs.models.base_model import set_formats
    from jobs.models.precision import of_this_machine

    precision = of_this_machine()
    kind = recipe.trainer.quantisation
    quant_type = kind.value if kind in {Quantisation.NF4, Quantisation.FP4} else "nf4"
    layer = Linear4bit(64, 64, bias=False, quant_type=quant_type)  # type: ignore[no-untyped-call]
    layer = layer.to(precision.device)
    set_formats(layer, precision)
    x = torch.ones(8, 64, dtype=precision.compute, device=precision.device, requires_grad=True)
    layer(x).sum().backward()
    if x.grad is None or not torch.isfinite(x.grad).all():
        return (
            "fail",
            "bitsandbytes: a 4-bit layer passes no finite gradient",
            "install the pinned versions",
        )
    return (
        "ok",
        f"bitsandbytes: forward and backward through a {quant_type} layer on {precision.device.type}",
        "",
    )


def _driver() -> Line:
    if shutil.which("nvidia-smi") is None:
        return ("ok", "NVIDIA driver: none here", "")
    query = ["nvidia-smi", "--query-gpu=driver_version,name", "--format=csv,noheader"]
    said = subprocess.run(query, capture_output=True, text=True, check=False, timeout=30).stdout.strip()
    version = said.partition(".")[0]
    if "V100" in said and version.isdigit() and int(version) > LAST_DRIVER_WITH_VOLTA:
        hint = f"R{LAST_DRIVER_WITH_VOLTA} is the last driver for V100"
        return ("warn", f"NVIDIA driver: {said}", hint)
    return ("ok", f"NVIDIA driver: {said.splitlines()[0] if said else 'no answer'}", "")


def _model(recipe: Recipe, cache: Path) -> Line:
    settings = base_settings(recipe.model, recipe.trainer, cache)
    source = find_source(recipe.model)
    stored = not source.packed and stored_quantisation(source.path) is not Quantisation.NONE
    quantised = recipe.trainer.quantisation is not Quantisation.NONE and not stored
    ready = not quantised or intact(cache / "bases" / key_of(**settings))
    measured = read_baseline(recipe, cache) is not None
    if ready and measured:
        return ("ok", f"{recipe.model.name} is in the cache, and measured untuned", "")
    return (
        "warn",
        f"{recipe.model.name} is not prepared in the cache {cache}",
        "the next `tune` prepares it",
    )


def _data(recipe: Recipe, cache: Path) -> Line:
    sources = recipe.data.parts()
    away = [source.origin for source in sources if source.on_hub and not fetched(source, cache)]
    if away:
        return ("warn", f"data: {', '.join(away)} of the hub is not in the cache {cache}", FETCH)
    rows = sum(len(load_source(source, recipe.data.seed, cache)) for source in sources)
    said = f"data: {rows} rows in {', '.join(dict.fromkeys(source.origin for source in sources))}"
    from jobs.evaluation.examples import examples_key  # loads torch

    if intact(cache / "tokens" / examples_key(recipe, cache)):
        return ("ok", f"{said}; tokenised in the cache", "")
    return ("warn", f"{said}; not tokenised in the cache {cache}", "the next `tune` does it")


def _tasks(recipe: Recipe, cache: Path) -> Line:
    """Whether nodes without a network can ask what the evaluation asks."""
    tasks = recipe.evaluation.tasks
    if tasks is None:
        return ("ok", "evaluation: by the loss alone, which needs no further data", "")
    from jobs.evaluation.task_data import data_from_cache  # lm-eval: seconds of imports
    from jobs.evaluation.tasks import load_tasks

    try:
        with data_from_cache(cache, tasks.place):
            names = sorted(load_tasks(tasks)["tasks"])
    except DataError as error:
        return ("warn", str(error).partition("\n\nhint: ")[0], FETCH)
    return ("ok", f"evaluation: the data of {', '.join(names)} in the cache", "")


main = entry(_check)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
