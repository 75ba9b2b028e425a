"""Trials of an external program: its arguments, what it reports, how it fails, and what interrupts it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conditions import PATIENCE_S, wait_until

from hpo.paths import TrialPaths
from hpo.records import (
    AttemptRecord,
    Failure,
    Metric,
    StoppedResult,
    TrialResult,
    read_json,
    read_jsonl,
    read_rungs,
)
from jobs import run_command
from jobs.attempt.signals import Signals
from jobs.errors import Diverged, TrialError
from jobs.kinds.command import Command
from jobs.programs.metrics import read_metrics
from jobs.programs.progress import ProgramProgress
from jobs.recipes.command import parse

pytestmark = pytest.mark.usefixtures("keep_handlers")

MakeTrial = Callable[..., TrialPaths]
REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts in this process do not wait for signals that will not come."""
    monkeypatch.setattr(run_command, "LOOK_S", 0.02)


@pytest.fixture
def recipe() -> dict[str, Any]:
    """As conf/ has it, with no program yet."""
    trainer = yaml.safe_load((REPOSITORY / "conf" / "trainer" / "command.yaml").read_text())
    return {"trainer": trainer | {"metrics": ["loss"], "cwd": str(REPOSITORY)}}


@pytest.fixture
def shell(recipe: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """A recipe whose program is a line for the shell; braces in it are fields."""

    def make(line: str, **settings: Any) -> dict[str, Any]:
        return {"trainer": recipe["trainer"] | {"argv": ["/bin/sh", "-c", line], **settings}}

    return make


@pytest.fixture
def ridge(recipe: dict[str, Any]) -> dict[str, Any]:
    """The program of conf/experiment/command.yaml, for about a second."""
    example = yaml.safe_load((REPOSITORY / "conf" / "experiment" / "command.yaml").read_text())["trainer"]
    parameters = {"learning_rate": 0.01, "ridge": 0.1, "batch_size": 20, "steps": 8000}
    return {"trainer": recipe["trainer"] | example | {"parameters": parameters}}


def run(paths: TrialPaths) -> int:
    """Run an attempt in this process."""
    return run_command.main(str(paths.folder.parent.parent), "000", paths.folder.name)


def begin(paths: TrialPaths, **environment: str) -> subprocess.Popen[bytes]:
    """Start an attempt as a process of its own."""
    command = [sys.executable, "-m", "jobs.run_command", str(paths.folder.parent.parent), "000"]
    silent: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process: subprocess.Popen[bytes] = subprocess.Popen(
        [*command, paths.folder.name], env={**os.environ, **environment}, **silent
    )
    return process


def failure(paths: TrialPaths) -> Failure:
    """That of the first attempt."""
    return Failure.read(paths.failure(1))


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_arguments_and_environment_are_filled_in_as_they_are(
    recipe: dict[str, Any], make_trial: MakeTrial
) -> None:
    """One argument each, whatever it holds; no shell looks at them; braces by doubling; null takes away."""
    code = "import json, os, sys; print(json.dumps(sys.argv[1:] + [os.environ['OWN'], 'HOME' in os.environ]))"
    write = "; open(sys.argv[-1], 'w').write('{{\"loss\": 1}}')"
    own = ["{lr}", "{name} $HOME", "{flag}", "{{lr}}", "{trial}", "{attempt}", "{seed}", 5, "{metrics}"]
    recipe["trainer"] |= {
        "argv": ["{python}", "-c", code + write, *own],
        "parameters": {"lr": 1e-5, "name": "a b;c", "flag": True},
        "env": {"OWN": "{trial}/{lr}", "HOME": None},
    }
    paths = make_trial(recipe, "0007", seed=11)
    assert run(paths) == 0, failure(paths).message
    told = json.loads(paths.program_output.read_text())
    metrics = str(paths.program / "metrics.json")
    expected = ["1e-05", "a b;c $HOME", "true", "{lr}", "0007", "1", "11", "5", metrics, "0007/1e-05", False]
    assert told == expected
    assert read_json(paths.program / "parameters.json") == recipe["trainer"]["parameters"]
    assert TrialResult.read(paths.metrics).metrics["loss"] == Metric(1.0)


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no program": ({"argv": []}, "trainer.argv", "expected a program"),
    "one text for a shell": ({"argv": "python train.py"}, "trainer.argv", "list"),
    "unknown field": ({"argv": ["a", "{lr}"]}, "trainer.argv[1]", "{lr}, expected one of trial, folder"),
    "brace left over": ({"argv": ["a", "{lr"]}, "trainer.argv[1]", "expected {name}"),
    "empty field": ({"argv": ["a", "{}"]}, "trainer.argv[1]", "unknown field {}"),
    "format": ({"argv": ["a", "{seed:03}"]}, "trainer.argv[1]", "expected {seed} alone"),
    "unused parameter": ({"parameters": {"lr": 1}}, "trainer.parameters.lr", "reaches the program nowhere"),
    "reserved name": ({"parameters": {"seed": 1}}, "trainer.parameters.seed", "another name"),
    "no metric": ({"metrics": []}, "trainer.metrics", "expected the metrics"),
    "our metric": ({"metrics": ["train_seconds"]}, "trainer.metrics", "measures itself"),
    "metrics elsewhere": ({"metrics_file": "../m.json"}, "trainer.metrics_file", "below the folder"),
    "no such signal": ({"on_preempt": {"signal": "KILL", "seconds": 1}}, "trainer.on_preempt.signal", "TERM"),
    "no expression": ({"diverged": ["("]}, "trainer.diverged", "regular expression"),
    "no such folder": ({"cwd": "nowhere"}, "trainer.cwd", "expected an existing folder"),
    "no such program": ({"argv": ["./nowhere"]}, "trainer.argv[0]", "expected a program"),
    "misspelt key": ({"argvs": []}, "trainer.argvs", "unknown key"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_trainer_is_told_before_anything_starts(case: str, recipe: dict[str, Any]) -> None:
    """Each by its key, with what was expected."""
    changes, key, expected = WRONG[case]
    found = Command().problems({"trainer": recipe["trainer"] | {"argv": ["a"]} | changes})
    assert [place for place, _ in found if not place.startswith(key)] == []
    assert [text for _, text in found if expected in text] != []


FAILING = {
    "its own error": ("echo one >&2; echo two >&2; exit 4", "error", "exit code 4\none\ntwo"),
    "no such program": ("exec nosuchprogram", "error", "exit code 127"),
    "GPU too small": ("echo 'torch.OutOfMemoryError: CUDA' >&2; exit 1", "gpu_out_of_memory", "torch.Out"),
    "diverged": ("echo 'step 3: loss is NaN' >&2; exit 1", "diverged", "loss is NaN"),
    "infeasible": ("exit 7", "diverged", "exit code 7"),
    "killed": ("kill -9 $$", "host_out_of_memory", "SIGKILL"),
    "no metrics": ("true", "error", "got no file"),
    "metric not finite": ("echo '{{\"loss\": NaN}}' > {metrics}", "diverged", "loss=nan"),
}


@pytest.mark.parametrize("case", FAILING)
def test_program_that_fails_is_told_by_its_cause(
    case: str, shell: Callable[..., dict[str, Any]], make_trial: MakeTrial
) -> None:
    """Exit code, last lines of its errors, and what the optimiser is to learn."""
    line, cause, message = FAILING[case]
    paths = make_trial(shell(line, infeasible_exit_codes=[7]))
    assert run(paths) == 1
    assert (failure(paths).cause, message in failure(paths).message) == (cause, True), failure(paths).message
    assert not paths.metrics.exists()


READ: dict[str, tuple[str, dict[str, Metric] | str]] = {
    "numbers": ('{"loss": 2, "x": [1.5, 0.1]}', {"loss": Metric(2.0), "x": Metric(1.5, 0.1)}),
    "others that are none": ('{"loss": 2, "x": "y", "z": NaN}', {"loss": Metric(2.0)}),
    "error unknown": ('{"loss": [2, NaN]}', {"loss": Metric(2.0)}),
    "missing": ('{"acc": 1}', "got acc in .* expected loss too"),
    "no JSON": ("{", "not JSON"),
    "no object": ("[1]", "got list"),
    "text": ('{"loss": "2"}', "loss='2'"),
    "truth value": ('{"loss": true}', "loss=True"),
}


@pytest.mark.parametrize("case", READ)
def test_metrics_are_read_as_documented(case: str, tmp_path: Path) -> None:
    """A number, or a number and its standard error; anything else is named."""
    text, expected = READ[case]
    path = tmp_path / "metrics.json"
    path.write_text(text)
    if isinstance(expected, dict):
        assert read_metrics(path, ["loss"]) == expected
    else:
        with pytest.raises(TrialError, match=expected):
            read_metrics(path, ["loss"])


def test_infinite_metric_is_a_diverged_trial(tmp_path: Path) -> None:
    """Learned as infeasible, not as an error."""
    path = tmp_path / "metrics.json"
    path.write_text('{"loss": [Infinity, 0.1]}')
    with pytest.raises(Diverged, match="loss=inf"):
        read_metrics(path, ["loss"])


def test_progress_is_followed_line_by_line(tmp_path: Path) -> None:
    """Lines of before are passed over, torn ones wait, nonsense does no harm."""
    path = tmp_path / "progress.jsonl"
    path.write_text('{"step": 1, "loss": 9}\n')
    told = ProgramProgress(path)
    assert not told.news()
    with path.open("a") as stream:
        stream.write('{"step": 5, "steps": 9, "loss": NaN}\nnonsense\n{"loss": 0.5, "sav')
    assert told.news()
    assert (told.step, told.steps, told.loss, told.saved) == (5, 9, None, False)
    with path.open("a") as stream:
        stream.write('ed": true}\n')
    assert told.news()
    assert (told.step, told.loss, told.saved) == (5, 0.5, True)


@pytest.mark.slow
def test_warned_program_saves_and_goes_on_to_the_same_bits(
    ridge: dict[str, Any], make_trial: MakeTrial
) -> None:
    """USR2 where nobody requeues: TERM to the program, which saves; it is started again and goes on."""
    ridge["trainer"]["parameters"]["steps"] = 40_000  # seconds: a busy machine is slow to warn
    undisturbed, warned = make_trial(ridge, "0001"), make_trial(ridge, "0002")
    assert run(undisturbed) == 0
    process = begin(warned)
    wait_until(lambda: any(line["step"] for line in read_jsonl(warned.progress)))
    process.send_signal(signal.SIGUSR2)
    assert process.wait(PATIENCE_S) == 0
    assert "saved at step" in warned.program_output.read_text()
    loss = TrialResult.read(undisturbed.metrics).metrics["loss"]
    assert TrialResult.read(warned.metrics).metrics["loss"] == loss
    record = AttemptRecord.read(warned.attempt(1))
    assert record.signals == ["USR2"]
    assert record.saved_step > 0


@pytest.mark.slow
def test_killed_attempt_takes_its_program_along_and_the_next_one_resumes(
    ridge: dict[str, Any], make_trial: MakeTrial
) -> None:
    """kill -9 of the trial alone: no process is left, and the seconds of both attempts are added up."""
    ridge["trainer"]["parameters"]["steps"] = 40_000  # seconds: a busy machine is slow to kill
    ridge["trainer"]["argv"] = [
        "/bin/sh",
        "-c",
        'echo $$ > "$0"; "$@"',
        "{folder}/pid",
        *ridge["trainer"]["argv"],
    ]
    paths = make_trial(ridge)
    process = begin(paths)
    wait_until(lambda: any(line["step"] for line in read_jsonl(paths.progress)))
    process.kill()
    process.wait()
    wait_until(lambda: gone(int((paths.program / "pid").read_text())))
    first = max(line["train_seconds"] for line in read_jsonl(paths.progress))
    assert run(paths) == 0
    result = TrialResult.read(paths.metrics)
    assert result.details["attempts"] == [1, 2]
    assert result.metrics["train_seconds"].value > first > 0
    told = [line["step"] for line in read_jsonl(paths.program / "progress.jsonl")]
    assert told == list(range(500, 40_001, 500)), "a step was done twice"


@pytest.mark.slow
def test_on_slurm_the_warned_program_ends_before_the_requeue_is_asked_for(
    ridge: dict[str, Any], make_trial: MakeTrial, tmp_path: Path
) -> None:
    """What it saved counts as gained; the attempt then waits to be killed and starts nothing."""
    ridge["trainer"]["parameters"]["steps"] = 10**6
    paths, asked = make_trial(ridge), tmp_path / "bin" / "asked"
    asked.parent.mkdir()
    pretended = asked.with_name("scontrol")
    pretended.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    pretended.chmod(0o755)
    batch = paths.folder.parent.parent / "batches" / "000"
    batch.mkdir(parents=True)
    known = {"schema_version": 1, "batch": "000", "name": "n", "trials": ["0000"], "state": "released"}
    (batch / "batch.json").write_text(json.dumps(known | {"job_id": "7"}))
    path = f"{asked.parent}:{os.environ['PATH']}"
    process = begin(paths, PATH=path, SLURM_ARRAY_JOB_ID="7", SLURM_ARRAY_TASK_ID="3")
    wait_until(lambda: any(line["step"] for line in read_jsonl(paths.progress)))
    process.send_signal(signal.SIGUSR2)
    wait_until(lambda: asked.exists() and asked.read_text())
    assert asked.read_text() == "requeue 7_3\n"
    saved = read_json(paths.program / "checkpoint.json")["step"]
    assert AttemptRecord.read(paths.attempt(1)).saved_step >= saved
    process.kill()
    process.wait()
    assert not paths.metrics.exists()


STOPPED = (
    "date +%s.%N >> {folder}/starts; test -e {folder}/term && echo '{{\"loss\": 1}}' > {metrics} && exit; "
    "trap 'date +%s.%N >> {folder}/term; exit' TERM; kill -TERM $PPID; while :; do sleep 0.05; done"
)


def test_no_program_is_started_in_a_task_that_was_told_that_it_will_be_killed(
    shell: Callable[..., dict[str, Any]], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TERM alone, as a preemption sends it: one start until the kill is overdue, and then another."""
    monkeypatch.setattr(Signals.__init__, "__defaults__", (0.8,))
    paths = make_trial(shell(STOPPED))
    assert run(paths) == 0
    told = [float(line) for line in (paths.program / "term").read_text().split()]
    starts = [float(line) for line in (paths.program / "starts").read_text().split()]
    assert len(told) == 1
    assert len(starts) == 2
    assert starts[1] - told[0] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", [None, "TERM"])
def test_program_that_ignores_the_warning_goes_on(
    name: str | None, shell: Callable[..., dict[str, Any]], make_trial: MakeTrial
) -> None:
    """It is neither killed nor started again, and its result counts; Slurm's own USR2 does it no harm."""
    line = (
        "trap '' TERM; echo x >> {folder}/starts; kill -USR2 $$; sleep 2; echo '{{\"loss\": 1}}' > {metrics}"
    )
    paths = make_trial(shell(line, on_preempt={"signal": name, "seconds": 0.5}))
    process = begin(paths)
    wait_until((paths.program / "starts").exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    assert (paths.program / "starts").read_text() == "x\n"


@pytest.mark.parametrize(
    ("program", "level"), [("sh", "ok"), ("{python}", "ok"), ("nosuchprogram", "warn"), ("/bin/sh", "ok")]
)
def test_doctor_looks_for_the_program(program: str, level: str, recipe: dict[str, Any]) -> None:
    """Nodes may have what this machine lacks; that only the space gives a value is no problem."""
    recipe["trainer"] |= {"argv": [program, "{lr}"]}
    assert [line[0] for line in Command().check(recipe, "")] == [level]


def test_paths_do_not_depend_on_where_a_command_is_given(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """null is the folder of the command that started the study, from then on."""
    monkeypatch.chdir(tmp_path)
    recipe["trainer"] |= {"argv": ["a"], "cwd": None}
    assert Command().resolve(recipe)["trainer"]["cwd"] == str(tmp_path)
    assert recipe["trainer"]["cwd"] is None
    assert parse(recipe).cwd is None


EXAMPLES = re.findall(
    r"^```yaml\n(defaults:.*?)^```",
    (REPOSITORY / "docs" / "trial_kinds.md").read_text(),
    re.MULTILINE | re.DOTALL,
)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split("\n")[6].strip("- "))
def test_documented_argument_lists_are_accepted(example: str, recipe: dict[str, Any]) -> None:
    """With a value for each tuned parameter there is no problem, and every parameter is passed."""
    written = yaml.safe_load(example)
    tuned = {"parameters": dict.fromkeys(written["space"], 1), "cwd": None}
    made = {"trainer": recipe["trainer"] | written["trainer"] | tuned}
    assert Command().problems(made) == []
    assert set(written["objectives"]) <= set(Command().metrics(made))


def test_rungs_are_taken_from_the_program_and_a_marker_ends_it(
    shell: Callable[..., dict[str, Any]], make_trial: MakeTrial, capfd: pytest.CaptureFixture[str]
) -> None:
    """A line counts for the highest rung it has reached; what is none is told of; a stop is a TERM."""
    lines = ['{{"share": 0.1, "loss": 9}}', "no line", '{{"share": 0.4, "loss": [2.5, 0.1], "word": "x"}}']
    tell = "; ".join(f"echo '{line}' >> {{rungs}}" for line in lines)
    paths = make_trial(
        shell(f"trap 'exit 3' TERM; {tell}; while :; do sleep 0.1; done"), rungs=[1 / 9, 1 / 3]
    )
    paths.stop.touch()
    assert run(paths) == 0
    (record,) = read_rungs(paths.rungs, "0000")
    assert (record.rung, record.share, record.metrics["loss"]) == (1 / 3, 0.4, Metric(2.5, 0.1))
    assert record.metrics["train_seconds"].value > 0
    result = StoppedResult.read(paths.stopped(1))
    assert (result.rung, result.metrics) == (1 / 3, record.metrics)
    assert "no line" in capfd.readouterr().err
