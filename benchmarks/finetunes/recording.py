"""Runs fine-tunes with the code of trials, one after another in this process, and keeps what they measure."""

from __future__ import annotations

import io
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.finetunes.sets import FineTunes
from hpo.paths import StudyPaths, TrialPaths
from hpo.records import (
    Cause,
    Failure,
    RungRecord,
    StoppedResult,
    TrialResult,
    TrialSpec,
    append_jsonl,
    mend_torn_tail,
    read_jsonl,
    read_rungs,
    write_json,
)
from jobs.attempt.attempt import Attempt, conduct
from jobs.attempt.environment import go_offline, versions
from jobs.kinds.qlora import Qlora
from jobs.recipes.metrics import EVAL_LOSS, GROWING
from jobs.training.gpus import Place

BATCH, TRIAL = "000", "0"
ALL_EXAMPLES = 1e9  # the share of a trial's computing that its rungs may take: so much that they read all
OF_THE_CONFIGURATION = (Cause.DIVERGED, Cause.GPU_OUT_OF_MEMORY)
VERSION = 1
# Not what a process tells that has run other trials before, such as its peak of memory.
KEPT = (
    *(EVAL_LOSS, "train_loss", "train_seconds", "train_cpu_seconds", "tokens"),
    *("trainable_parameters", "adapter_bytes", "skipped_steps"),
)
ERROR = f"{EVAL_LOSS}_error"
Say = Callable[[str], None]


class RecordingError(Exception):
    """A table that cannot be gone on with."""


def record(chosen: FineTunes, file: Path, trials: int, cache: Path, say: Say) -> None:
    """Run the trials that the file lacks, each a line once it has ended; the first line says what they are.

    Raises:
        RecordingError: the file is of other fine-tunes, or a trial failed, but not by its configuration.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    mend_torn_tail(file)
    lines = read_jsonl(file)
    if not lines:
        Qlora().prepare(chosen.recipe, str(cache), say)
        untuned = Qlora().baseline(chosen.recipe, str(cache))
        lines = [{"table": VERSION, **chosen.described, "untuned": untuned, "made_with": versions()}]
        append_jsonl(file, lines[0])
    if {key: lines[0].get(key) for key in chosen.described} != chosen.described:
        raise RecordingError(f"{file}: holds other fine-tunes than settings.yaml asks for\n\nhint: --out")
    present = {line["trial"] for line in lines[1:]}
    go_offline()
    began, wanted = time.monotonic(), [number for number in range(trials) if number not in present]
    recipes = dict(enumerate(islice(chosen.configurations(), trials)))
    for done, number in enumerate(wanted, start=1):
        params, recipe = recipes[number]
        cpu, wall = time.process_time(), time.monotonic()
        line = {"trial": number, "params": params, **measured(number, recipe, chosen.rungs, cache)}
        append_jsonl(file, line)
        left = (len(wanted) - done) * (time.monotonic() - began) / done
        ended = "failed" if line["failure"] else f"loss {line['metrics'][EVAL_LOSS]:.3f}"
        took = f"{time.process_time() - cpu:.0f} CPU s, {time.monotonic() - wall:.0f} s"
        say(
            f"{chosen.name}: trial {number} {ended} in {took}; {len(wanted) - done} left, {left / 60:.0f} min"
        )


def measured(number: int, recipe: Mapping[str, Any], rungs: tuple[float, ...], cache: Path) -> dict[str, Any]:
    """A fine-tune from its first step to its result or its failure; its files are gone afterwards.

    Args:
        number: of the trial, and its seed.

    Raises:
        RecordingError: it failed otherwise than by its configuration.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = StudyPaths(Path(folder)).trial(TRIAL)
        paths.folder.mkdir(parents=True)
        spec = TrialSpec(
            "recording", TRIAL, number, {}, dict(recipe), [EVAL_LOSS], number, str(cache), "none",
            rungs=[rung for rung in rungs if rung < 1], rung_cost=ALL_EXAMPLES,
        )  # fmt: skip
        write_json(paths.spec, spec.to_json())
        with redirect_stdout(io.StringIO()):  # what a trial says to the log of its task
            conduct(folder, BATCH, TRIAL, _work)
        return _outcome(paths)


def _work(spec: TrialSpec, attempt: Attempt) -> TrialResult | StoppedResult:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # there is nothing to be saved: what ends here is run anew
    from jobs.training.trial import run  # seconds of imports, once for all trials

    return run(spec, attempt, Place())


def _outcome(paths: TrialPaths) -> dict[str, Any]:
    rungs = [_rung(one) for one in read_rungs(paths.rungs, TRIAL)] if paths.rungs.exists() else []
    if paths.metrics.exists():
        return {"rungs": rungs, "metrics": _values(TrialResult.read(paths.metrics)), "failure": None}
    failure = Failure.read(paths.failure(1))
    if failure.cause not in OF_THE_CONFIGURATION:
        raise RecordingError(f"{failure.cause}: {failure.message}\n{failure.traceback}")
    step = read_jsonl(paths.progress)[-1]["step"] + 1
    told = {"cause": failure.cause, "message": failure.message, "step": step}
    return {"rungs": rungs, "metrics": None, "failure": told}


def _values(measured: TrialResult | RungRecord) -> dict[str, float | None]:
    values = {name: own.value for name in KEPT if (own := measured.metrics.get(name)) is not None}
    return {**values, ERROR: measured.metrics[EVAL_LOSS].standard_error}


def _rung(record: RungRecord) -> dict[str, Any]:
    """What was measured until there: what grows is not extrapolated."""
    values = {
        name: value * record.share if name in GROWING and value is not None else value
        for name, value in _values(record).items()
    }
    return {"rung": record.rung, "step": record.step, **values}
