"""The controller as a job: the file that sbatch gets."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conditions import PATIENCE_S

import slurm
from slurm.devcluster.cluster import client
from slurm.devcluster.files import Layout

Wait = Callable[..., None]
SCRIPT = Path(slurm.__file__).with_name("controller.sbatch")
NOTES_ARGUMENTS = 'printf "%s\\n" "$PWD" "$@" > asked.tmp; mv asked.tmp asked'

# A controller that goes on until it is told to stop, as tune does, and then takes a moment.
ENDS_ON_TERM = "trap 'sleep 0.3; exit 3' TERM; {}; while true; do sleep 0.1; done"

# scontrol's answer about a job, cut down to what is looked at and its neighbours.
DESCRIBED = """\
JobId=77 JobName=a b
   Priority=4294901754 Nice=0 Account=(null) QOS=normal
   RunTime=00:00:00 TimeLimit=00:02:00 TimeMin=N/A
   Partition=cpu AllocNode:Sid=vm:15891
   NumNodes=1 NumCPUs=2 NumTasks=1 CPUs/Task=2 ReqB:S:C:T=0:0:*:*
   MinCPUsNode=2 MinMemoryNode=50M MinTmpDiskNode=0
   Features=(null) DelayBoot=00:00:00
   StdOut=/users/u77/my logs/controller-77.log
"""


def pretend_python(folder: Path, script: str = NOTES_ARGUMENTS) -> None:
    """A virtual environment whose Python is a shell script."""
    program = folder / ".venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/bash\n{script}\n")
    program.chmod(0o755)


def pretend_slurm(folder: Path, sbatch: str = "echo 78") -> dict[str, str]:
    """The environment of a batch script, with clients that note down what they are asked."""
    programs = folder / "clients"
    programs.mkdir()
    (folder / "described").write_text(DESCRIBED)
    note = f'printf "%s\\n" "$@" > {folder}/options; env > {folder}/environment'
    for name, body in {"scontrol": f"cat {folder}/described", "sbatch": f"{note}; {sbatch}"}.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(0o755)
    return {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "SLURM_SUBMIT_DIR": str(folder),
        "SLURM_JOB_ID": "77",
        "SLURM_JOB_NAME": "a b",
        "SLURM_MEM_PER_NODE": "50",
        "SLURM_CONF": "here",
        "SBATCH_TIMELIMIT": "1",
        "USER_VARIABLE": "stays",
    }


def run_and_send(
    folder: Path, environment: dict[str, str], wait_until: Wait, *numbers: int
) -> tuple[int, str]:
    """Run the script, send it signals once its controller runs; its exit code and output."""
    command = ["bash", str(SCRIPT), "space.x='range(1, 2)'", 'a "b"']
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command, env=environment, **pipes)
    wait_until((folder / "asked").exists)
    for number in numbers:
        process.send_signal(number)
    output, _ = process.communicate(timeout=PATIENCE_S)
    return process.returncode, output


def test_the_script_is_sound_bash() -> None:
    """bash reads it to its end."""
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)


def test_overrides_reach_the_controller_word_for_word(tmp_path: Path) -> None:
    """Blanks and brackets included, with the environment beside the folder of submission."""
    pretend_python(tmp_path)
    overrides = ["cluster=slurm", "space.lora_rank='range(4, 256, step=4)'"]
    environment = {**os.environ, "SLURM_SUBMIT_DIR": str(tmp_path)}
    subprocess.run(["bash", str(SCRIPT), *overrides], check=True, cwd="/", env=environment)
    assert (tmp_path / "asked").read_text().split("\n")[:-1] == [
        str(tmp_path),
        "-m",
        "hpo",
        "tune",
        *overrides,
    ]


@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_the_exit_code_is_the_controllers(code: int, tmp_path: Path) -> None:
    """Also 3 when nobody has asked it to hand over: no successor."""
    pretend_python(tmp_path, f"exit {code}")
    environment = pretend_slurm(tmp_path)
    assert subprocess.run(["bash", str(SCRIPT)], env=environment, check=False).returncode == code
    assert not (tmp_path / "options").exists()


def test_before_its_time_limit_it_hands_over(tmp_path: Path, wait_until: Wait) -> None:
    """The controller is ended first; the successor has this job's options and arguments."""
    pretend_python(tmp_path, ENDS_ON_TERM.format(NOTES_ARGUMENTS))
    environment = pretend_slurm(tmp_path)
    code, output = run_and_send(tmp_path, environment, wait_until, signal.SIGUSR1)
    assert (code, output) == (0, "handed over to job 78\n")
    assert (tmp_path / "options").read_text().splitlines() == [
        "--parsable",
        "--export=ALL",
        "--job-name=a b",
        "--dependency=singleton",
        "--output=/users/u77/my logs/controller-%j.log",
        "--partition=cpu",
        "--qos=normal",
        "--time=00:02:00",
        "--cpus-per-task=2",
        "--mem=50M",
        str(SCRIPT),
        "space.x='range(1, 2)'",
        'a "b"',
    ]


def test_a_successor_inherits_nothing_of_this_job_but_where_slurm_is(
    tmp_path: Path, wait_until: Wait
) -> None:
    """SLURM_MEM_PER_NODE would contradict the successor's own options."""
    pretend_python(tmp_path, ENDS_ON_TERM.format(NOTES_ARGUMENTS))
    run_and_send(tmp_path, pretend_slurm(tmp_path), wait_until, signal.SIGUSR1)
    handed_on = (tmp_path / "environment").read_text().splitlines()
    assert [line for line in handed_on if line.startswith(("SLURM", "SBATCH"))] == ["SLURM_CONF=here"]
    assert "USER_VARIABLE=stays" in handed_on


@pytest.mark.parametrize("numbers", [(signal.SIGTERM,), (signal.SIGUSR1, signal.SIGTERM)])
def test_a_cancelled_controller_has_no_successor(
    numbers: tuple[int, ...], tmp_path: Path, wait_until: Wait
) -> None:
    """scancel ends the chain, also while it hands over."""
    pretend_python(tmp_path, ENDS_ON_TERM.format(NOTES_ARGUMENTS))
    code, _ = run_and_send(tmp_path, pretend_slurm(tmp_path), wait_until, *numbers)
    assert code == 3
    assert not (tmp_path / "options").exists()


@pytest.mark.parametrize("code", [0, 1])
def test_a_study_that_ended_meanwhile_has_no_successor(code: int, tmp_path: Path, wait_until: Wait) -> None:
    """There is nothing to go on with, or something is wrong."""
    pretend_python(tmp_path, ENDS_ON_TERM.format(NOTES_ARGUMENTS).replace("exit 3", f"exit {code}"))
    ended, _ = run_and_send(tmp_path, pretend_slurm(tmp_path), wait_until, signal.SIGUSR1)
    assert ended == code
    assert not (tmp_path / "options").exists()


def test_what_a_wrapper_prints_beside_the_number_is_left_out(tmp_path: Path, wait_until: Wait) -> None:
    """Before and after it."""
    pretend_python(tmp_path, ENDS_ON_TERM.format(NOTES_ARGUMENTS))
    environment = pretend_slurm(tmp_path, "echo Welcome; echo '79;far'; echo bye")
    code, output = run_and_send(tmp_path, environment, wait_until, signal.SIGUSR1)
    assert (code, output) == (0, "handed over to job 79\n")


def test_a_busy_scheduler_is_asked_again(tmp_path: Path, wait_until: Wait) -> None:
    """The first sbatch fails, the second one is taken."""
    pretend_python(tmp_path, ENDS_ON_TERM.format(NOTES_ARGUMENTS))
    flag = shlex.quote(str(tmp_path / "tried"))
    environment = pretend_slurm(tmp_path, f"[[ -e {flag} ]] || {{ touch {flag}; exit 1; }}; echo 79")
    code, output = run_and_send(tmp_path, environment, wait_until, signal.SIGUSR1)
    assert (code, output) == (0, "handed over to job 79\n")


@pytest.mark.slurm
def test_sbatch_takes_it_one_at_a_time(
    cluster: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Wait
) -> None:
    """A second controller waits for the first; then each runs."""
    pretend_python(tmp_path)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert client(cluster, "sbatch", "--hold", str(SCRIPT), "study.name=x").ok
    waiting = client(cluster, "squeue", "-h", "-o", "%j %E").stdout.splitlines()
    assert len(waiting) == 2
    assert all(line.startswith("frontrunner-controller singleton") for line in waiting)
    client(cluster, "scontrol", "release", "JobName=frontrunner-controller")
    wait_until((tmp_path / "asked").exists)
    assert (tmp_path / "asked").read_text().split("\n")[1:-1] == ["-m", "hpo", "tune", "study.name=x"]


@pytest.mark.slurm
def test_slurm_starts_the_successor_with_the_same_options(
    cluster: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Wait
) -> None:
    """A real warning before a real time limit of two minutes; scancel of the successor ends the chain."""
    note = 'echo "$SLURM_JOB_ID" "$@" >> started'
    pretend_python(tmp_path, ENDS_ON_TERM.format(note))
    monkeypatch.chdir(tmp_path)
    options = ["--time=2", "--signal=B:USR1@115", "--mem=50M", "--cpus-per-task=1", "--output=my %j.log"]
    given = ["--job-name=my controller", *options, str(SCRIPT), "space.x='choice(a, b)'"]
    first = client(cluster, "sbatch", "--parsable", *given).stdout.strip()

    def started() -> list[str]:
        notes = tmp_path / "started"
        return notes.read_text().splitlines() if notes.exists() else []

    wait_until(lambda: len(started()) == 2)
    second = started()[1].split()[0]
    assert second != first
    assert [line.split(maxsplit=1)[1] for line in started()] == ["-m hpo tune space.x='choice(a, b)'"] * 2
    assert (tmp_path / f"my {first}.log").read_text() == f"handed over to job {second}\n"
    asked = client(cluster, "squeue", "-h", "-o", "%j|%l|%C|%m|%P").stdout.splitlines()
    assert asked == ["my controller|2:00|1|50M|batch"]
    client(cluster, "scancel", second)
    wait_until(lambda: client(cluster, "squeue", "-h").stdout == "")
    time.sleep(1)
    assert len(started()) == 2
    assert (tmp_path / f"my {second}.log").exists()
