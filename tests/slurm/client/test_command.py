"""Running client commands."""

from __future__ import annotations

from slurm.client.command import outside_job, run


def test_a_command_that_hangs_comes_back_without_an_exit_code() -> None:
    """The time limit ends it."""
    outcome = run(["sleep", "60"], timeout_s=0.2)
    assert outcome.exit_code is None
    assert not outcome.ok
    assert "no answer within 0.2 s" in outcome.describe()


def test_a_missing_program_is_an_outcome_too() -> None:
    """Nothing is raised; the message names the program."""
    outcome = run(["no-such-program-here"])
    assert outcome.exit_code is None
    assert "no-such-program-here" in outcome.stderr


def test_output_and_exit_code_are_told() -> None:
    """What a person needs to see."""
    outcome = run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert outcome.exit_code == 3
    told = ["sh -c 'echo out; echo err >&2; exit 3': exit code 3", "stdout: out", "stderr: err"]
    assert outcome.describe().splitlines() == told


def test_inside_a_job_its_slurm_variables_are_left_out_but_for_the_configuration() -> None:
    """An enclosing job's memory and CPU variables would contradict the array's options."""
    inside = {
        "SLURM_JOB_ID": "1",
        "SLURM_MEM_PER_CPU": "10",
        "SLURM_CONF": "/c",
        "HOME": "/h",
        "PMI_RANK": "0",
    }
    assert outside_job(inside) == {"SLURM_CONF": "/c", "HOME": "/h"}


def test_outside_a_job_everything_is_kept() -> None:
    """The user's own settings for Slurm's clients count."""
    outside = {"SLURM_CLUSTERS": "far", "HOME": "/h"}
    assert outside_job(outside) == outside
