"""Running client commands."""

from __future__ import annotations

import pytest

from slurm.client.command import run


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


def test_clients_run_without_what_the_shell_has_set_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which cluster is meant stays."""
    for name in ("SQUEUE_PARTITION", "SLURM_CLUSTERS", "SBATCH_ACCOUNT", "SLURM_CONF"):
        monkeypatch.setenv(name, "here")
    names = {line.partition("=")[0] for line in run(["env"]).stdout.splitlines()}
    assert {name for name in names if name.startswith(("SQUEUE", "SLURM", "SBATCH"))} == {"SLURM_CONF"}
    assert "PATH" in names
