"""Every path of a study folder. Nobody else joins file names. Standard library only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path


@dataclass(frozen=True)
class TrialPaths:
    """The files of one trial; all but `spec`, `cancel` and `stop` are written by the trial itself."""

    folder: Path

    @property
    def spec(self) -> Path:
        """What to run; written by the controller before submission."""
        return self.folder / "spec.json"

    @property
    def cancel(self) -> Path:
        """Marker: the trial is not to run, or to stop."""
        return self.folder / "cancel"

    @cached_property
    def stop(self) -> Path:
        """Marker: the trial is to end at its rung, with what it has; written by the controller."""
        return self.folder / "stop"

    @property
    def lease(self) -> Path:
        """The attempt that owns the trial now."""
        return self.folder / "lease.json"

    @property
    def progress(self) -> Path:
        """One JSON line per logged step."""
        return self.folder / "progress.jsonl"

    @cached_property
    def rungs(self) -> Path:
        """One JSON line per rung that was measured."""
        return self.folder / "rungs.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Per-attempt checkpoint folders."""
        return self.folder / "checkpoints"

    @property
    def checkpoint_pointer(self) -> Path:
        """Names the newest complete checkpoint; replaced last."""
        return self.checkpoints / "latest.json"

    @property
    def evaluation(self) -> Path:
        """Finished parts of the evaluation: a folder per adapter and base model, a file per part."""
        return self.folder / "evaluation"

    @property
    def documents(self) -> Path:
        """Of an evaluation by tasks: what every single document scored; written before the result."""
        return self.folder / "documents.json"

    @property
    def samples(self) -> Path:
        """What the trained model writes to the fixed prompts of its evaluation; written before the result."""
        return self.folder / "samples.json"

    @property
    def metrics(self) -> Path:
        """The result; the first commit wins."""
        return self.folder / "metrics.json"

    @property
    def adapter(self) -> Path:
        """LoRA weights, as peft reads them."""
        return self.folder / "adapter"

    @property
    def adapter_used(self) -> Path:
        """Marker of `evaluate`, `train` and merging: the adapter is not to be deleted."""
        return self.folder / "adapter_used"

    @property
    def program(self) -> Path:
        """Where an external program works, over all attempts; its files are its own."""
        return self.folder / "program"

    @property
    def program_output(self) -> Path:
        """What an external program printed, one attempt after the other."""
        return self.folder / "output.log"

    @property
    def program_errors(self) -> Path:
        """What an external program printed as errors, one attempt after the other."""
        return self.folder / "errors.log"

    @property
    def wandb(self) -> Path:
        """Of `tracking=wandb`: a folder for each attempt, to be sent by `wandb sync` where it was offline."""
        return self.folder / "wandb"

    @property
    def tensorboard(self) -> Path:
        """Of `tracking=tensorboard`: event files."""
        return self.folder / "tensorboard"

    @property
    def tracked(self) -> Path:
        """The last step of each curve that a tracker was told of."""
        return self.folder / "tracked.json"

    @property
    def mlflow_run(self) -> Path:
        """Of `tracking=mlflow`: which run of which server the trial is."""
        return self.folder / "mlflow.json"

    @property
    def attempts(self) -> Path:
        """One file an attempt: where it ran, how long, and what of it was kept."""
        return self.folder / "attempts"

    def attempt(self, attempt: int) -> Path:
        """What one attempt says of itself."""
        return self.attempts / f"{attempt}.json"

    def failure(self, attempt: int) -> Path:
        """Cause, message and traceback of one failed attempt."""
        return self.folder / f"failure-{attempt}.json"

    def failures(self) -> list[Path]:
        """Every failure file there is, in the order of the attempts."""
        return self._numbered("failure")

    def stopped(self, attempt: int) -> Path:
        """What an attempt had measured that was stopped at a rung."""
        return self.folder / f"stopped-{attempt}.json"

    def stops(self) -> list[Path]:
        """Every file of a stopped attempt there is, in the order of the attempts."""
        return self._numbered("stopped")

    def tell_an_end(self) -> bool:
        """Whether a result, a failure or a stop is there; one request to the disk, whatever it finds."""
        try:
            names = os.listdir(self.folder)  # noqa: PTH208  a path for each name would cost ten times that
        except (FileNotFoundError, NotADirectoryError):
            return False
        return any(name == "metrics.json" or name.startswith(("failure-", "stopped-")) for name in names)

    def _numbered(self, name: str) -> list[Path]:
        numbers = {path: path.stem.removeprefix(f"{name}-") for path in self.folder.glob(f"{name}-*.json")}
        found = [path for path, number in numbers.items() if number.isdecimal()]
        return sorted(found, key=lambda path: int(numbers[path]))


@dataclass(frozen=True)
class BatchPaths:
    """The files of one batch of trials, submitted as one array."""

    folder: Path

    @property
    def record(self) -> Path:
        """intent -> submitted -> released."""
        return self.folder / "batch.json"

    @property
    def submission(self) -> Path:
        """Submission files and logs; made before anything is submitted."""
        return self.folder / "slurm"


@dataclass(frozen=True)
class StudyPaths:
    """The files of one study."""

    folder: Path

    @property
    def name(self) -> str:
        """The study's name is the name of its folder."""
        return self.folder.name

    @property
    def configuration(self) -> Path:
        """The resolved configuration, written once."""
        return self.folder / "study.yaml"

    @property
    def journal(self) -> Path:
        """Every event of the study."""
        return self.folder / "journal.jsonl"

    @property
    def controller(self) -> Path:
        """The controller's lease."""
        return self.folder / "controller.json"

    @property
    def queue(self) -> Path:
        """The study's tasks as the scheduler told of them last."""
        return self.folder / "queue.json"

    @property
    def batches(self) -> Path:
        """One folder a batch."""
        return self.folder / "batches"

    @property
    def trials(self) -> Path:
        """One folder a trial."""
        return self.folder / "trials"

    @property
    def base_samples(self) -> Path:
        """What the untuned base model writes to the fixed prompts of the evaluation."""
        return self.folder / "base_samples.json"

    @property
    def stop(self) -> Path:
        """Marker of `cancel`: the controller is to propose and submit nothing more."""
        return self.folder / "stop"

    @property
    def pause(self) -> Path:
        """Marker of `pause`: nothing new starts until `resume` takes it away."""
        return self.folder / "pause"

    @property
    def throttle(self) -> Path:
        """How many trials may run at once, by `throttle`; outranks cluster.max_parallel."""
        return self.folder / "throttle"

    @property
    def report(self) -> Path:
        """Pictures and tables made by `report`."""
        return self.folder / "report"

    @property
    def report_page(self) -> Path:
        """The page that `report` makes."""
        return self.report / "report.html"

    @property
    def forecast(self) -> Path:
        """What simulated runs of the study came to, by `plan --simulate`."""
        return self.folder / "forecast.json"

    @property
    def early_forecast(self) -> Path:
        """The same while there is no study yet; `tune` takes it into the folder."""
        return self.folder.with_name(f"{self.name}.forecast.json")

    @property
    def reporting(self) -> Path:
        """The last report that the controller has had made: of what, when, and by which process."""
        return self.folder / "reporting.json"

    @property
    def export(self) -> Path:
        """What `export` makes for other tools."""
        return self.folder / "export"

    @property
    def mlflow(self) -> Path:
        """Runs of `tracking=mlflow` where no server is named."""
        return self.folder / "mlflow"

    @property
    def mlflow_experiment(self) -> Path:
        """Which experiment of these the study is; the first trial decides."""
        return self.folder / "mlflow.json"

    def evaluations(self) -> list[Path]:
        """What stand-alone evaluations found, by name."""
        return sorted(self.folder.glob("evaluations/*/evaluation.json"))

    def helper(self, name: str) -> Path:
        """Submission files and logs of a small job of the controller's own."""
        return self.folder / "helpers" / name

    def answer(self, request: str) -> Path:
        """The proposals that such a job was asked for; the first commit wins."""
        return self.helper(request) / "answer.json"

    def batch(self, batch: str) -> BatchPaths:
        """The files of one batch."""
        return BatchPaths(self.batches / batch)

    def trial(self, trial: str) -> TrialPaths:
        """The files of one trial."""
        return _trial_paths(self.folder, trial)


@lru_cache(maxsize=4096)  # the loop asks for those of all trials in flight, several times a pass
def _trial_paths(study: Path, trial: str) -> TrialPaths:
    return TrialPaths(study / "trials" / trial)


def cache_root() -> Path:
    """Where base models and tokenised data are kept: $FRONTRUNNER_CACHE, else the user's cache."""
    named = os.environ.get("FRONTRUNNER_CACHE")
    if named:
        return Path(named).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "frontrunner"
