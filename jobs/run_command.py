"""Runs one trial of an external program: fills in its arguments, follows it, reads what it measured."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from hpo.records import (
    AttemptRecord,
    Metric,
    Progress,
    RecordError,
    StoppedResult,
    TrialResult,
    TrialSpec,
    read_jsonl,
    write_json,
)
from jobs.attempt.attempt import Attempt, conduct
from jobs.attempt.console import say
from jobs.attempt.environment import machine
from jobs.attempt.failures import NO_HOST_MEMORY
from jobs.attempt.rungs import RungLog
from jobs.errors import Diverged, OutOfHostMemory, OutOfMemory, TrialError
from jobs.programs.metrics import read_metrics
from jobs.programs.program import Program, last_lines
from jobs.programs.progress import ProgramProgress
from jobs.programs.rungs import ProgramRungs
from jobs.recipes.command import TRAIN_SECONDS, CommandRecipe, Value, parse

LOOK_S = 0.2
PULSE_S = 5.0  # at most between two lines of progress, which carry the seconds
SHOWN = 20  # lines of the error log in a failure


def main(study_folder: str, batch: str, trial: str) -> int:
    """Run one attempt of a trial; see `jobs.attempt.attempt.conduct`."""
    return conduct(study_folder, batch, trial, lambda spec, attempt: CommandTrial(spec, attempt).run())


class CommandTrial:
    """One attempt: starts the program, and again where it was told to stop and nothing stopped us."""

    def __init__(self, spec: TrialSpec, attempt: Attempt) -> None:
        self._spec, self._attempt = spec, attempt
        self._recipe: CommandRecipe = parse(spec.recipe)
        paths = attempt.paths
        paths.program.mkdir(exist_ok=True)
        self._metrics = paths.program / self._recipe.metrics_file
        self._told = ProgramProgress(paths.program / "progress.jsonl")
        self._progress = attempt.progress()
        self._log = RungLog(attempt)
        self._rungs = ProgramRungs(paths.program / "rungs.jsonl", spec.rungs, self._log)
        self._stopping = False
        self._seconds, self._step, self._attempts = _earlier(attempt)
        self._pulse_at = 0.0

    def run(self) -> TrialResult | StoppedResult:
        """Work to the end, or to a rung.

        Raises:
            TrialError: the program failed, or did not report what it should.
        """
        if self._step:
            self._attempt.log.resumed(self._step)
        metrics = None
        while metrics is None:
            if self._stopping or self._log.stop_asked:
                return self._log.result(self._step, self._details())
            metrics = self._execute()
        self._progress.phase(self._line("done"))
        metrics[TRAIN_SECONDS] = Metric(self._seconds)
        return TrialResult(self._spec.trial, self._attempt.number, metrics, self._details())

    def _details(self) -> dict[str, Any]:
        return {
            "machine": machine(),
            "seed": self._spec.seed,
            "attempts": self._attempts,
            "argv": self._recipe.arguments(self._given()),
            "hashes": {"recipe": self._spec.recipe_hash},
        }

    def _given(self) -> dict[str, Value]:
        folder = self._attempt.paths.program
        return {
            "trial": self._spec.trial,
            "folder": str(folder),
            "attempt": self._attempt.number,
            "seed": self._spec.seed,
            "metrics": str(self._metrics),
            "progress": str(self._told.path),
            "rungs": str(self._rungs.path),
            "parameters": str(folder / "parameters.json"),
            "python": sys.executable,
        }

    def _execute(self) -> dict[str, Metric] | None:
        """Run the program once; None if it ended because it was told to."""
        attempt, recipe, given = self._attempt, self._recipe, self._given()
        attempt.signals.outlive()  # Slurm's second TERM, at the end of a grace time, is for no new program
        attempt.owner.confirm()
        self._metrics.unlink(missing_ok=True)  # of an execution that did not end as it should
        self._metrics.parent.mkdir(parents=True, exist_ok=True)
        write_json(Path(str(given["parameters"])), recipe.parameters)
        errors = attempt.paths.program_errors
        begin = errors.stat().st_size if errors.exists() else 0
        arguments = recipe.arguments(given)
        say(f"running {arguments}; what it prints is in {attempt.paths.program_output} and {errors.name}")
        self._progress.phase(self._line("training"))
        program = Program(
            arguments,
            recipe.environment(os.environ, given),
            Path(recipe.cwd or attempt.paths.program),
            attempt.paths.program_output,
            errors,
            warned=recipe.on_preempt.signal == "USR2",
        )
        before = self._seconds
        with program:
            code, stopped = self._follow(program, before)
        self._seconds = before + program.seconds
        self._take_over(ended=True)
        if code == 0 and (self._metrics.exists() or not stopped):
            return read_metrics(self._metrics, recipe.metrics)
        if stopped:
            how = "did not end in time" if code is None else f"ended with {code}"
            say(f"the program was told to stop, and {how}")
            if code is not None and code >= 0:  # by itself, not by the signal
                self._saved()
            if not self._stopping:
                attempt.signals.answer()
            return None
        assert code is not None, "it was waited for"
        raise self._failure(code, last_lines(errors, begin, SHOWN))

    def _follow(self, program: Program, before: float) -> tuple[int | None, bool]:
        """Wait for the program's end: its exit code, and whether it ended because it was told to.

        Where the controller stops the trial, the code is None of a program that does not heed the signal.
        """
        signals = self._attempt.signals
        while True:
            code = program.wait(LOOK_S)
            self._seconds = before + program.seconds
            if code is not None:
                if not signals.due and not (code == 0 and self._metrics.exists()):
                    time.sleep(
                        LOOK_S
                    )  # Slurm signals every process of a task: our note may come after the end
                return code, signals.due
            self._take_over()
            if self._log.stop_asked:
                self._stopping = True
                return self._pass_on(program, before), True
            if signals.due:
                code = self._pass_on(program, before)
                if code is not None:
                    return code, True
                signals.answer()

    def _pass_on(self, program: Program, before: float) -> int | None:
        """Tell the program to stop, and wait while it does; None if it does not."""
        wish = self._recipe.on_preempt
        if wish.signal is not None:
            say(f"sending {wish.signal} to the program, which has {wish.seconds:g} s to save and end")
            program.tell(signal.Signals[f"SIG{wish.signal}"])
        until = time.monotonic() + (wish.seconds if wish.signal is not None else 0.0)
        code = program.wait(0.0)
        while code is None and time.monotonic() < until:
            code = program.wait(LOOK_S)
        self._seconds = before + program.seconds
        self._take_over(ended=True)
        return code

    def _take_over(self, *, ended: bool = False) -> None:
        """Take the program's progress over, and now and then see whose the trial is."""
        news = self._told.news()
        self._rungs.take_over(self._seconds, self._told.step)
        due = time.monotonic() - self._pulse_at >= PULSE_S
        if due:
            self._pulse_at = time.monotonic()
            with suppress(OSError):  # not seen is not overtaken
                self._attempt.owner.confirm()
        line = self._line("training")
        if ended:
            self._progress.phase(line)
        elif news or due:
            self._progress.step(line)
        if self._told.saved:
            self._told.saved = False
            self._saved()

    def _saved(self) -> None:
        """The program has saved: what came before counts as gained, whatever happens to the attempt."""
        self._step = max(self._step + 1, self._told.step, int(self._seconds))
        self._attempt.log.saved(self._step)

    def _line(self, phase: str) -> Progress:
        told = self._told
        return Progress(
            self._attempt.number,
            phase,
            told.step,
            told.steps,
            loss=told.loss,
            learning_rate=told.learning_rate,
            train_seconds=self._seconds,
        )

    def _failure(self, code: int, complaint: str) -> TrialError:
        recipe = self._recipe
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        log = self._attempt.paths.program_errors
        text = f"the program ended with {how}\n{complaint or f'nothing in {log}'}"
        if any(re.search(pattern, complaint) for pattern in recipe.out_of_memory):
            return OutOfMemory(text)
        if code in recipe.infeasible_exit_codes:
            return Diverged(text)
        if any(re.search(pattern, complaint) for pattern in recipe.diverged):
            return Diverged(text)
        if code == -signal.SIGKILL or any(sign in complaint for sign in NO_HOST_MEMORY):
            return OutOfHostMemory(text, "the kernel kills so where memory ran out: cluster.mem_gb")
        return TrialError(text)


def _earlier(attempt: Attempt) -> tuple[float, int, list[int]]:
    """Seconds that earlier attempts worked, the last step that they saved, and all attempts with this one."""
    seconds, step, attempts = 0.0, 0, {attempt.number}
    with suppress(OSError, RecordError):
        for line in read_jsonl(attempt.paths.progress):
            seconds = max(seconds, float(line.get("train_seconds") or 0.0))
            attempts.add(int(line["attempt"]))
    for number in range(1, attempt.number):
        with suppress(OSError, RecordError):
            step = max(step, AttemptRecord.read(attempt.paths.attempt(number)).saved_step)
    return seconds, step, sorted(attempts)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
