"""What Hydra's users type: `--cfg job`, `--info defaults`, a folder of the site's own, Tab."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hpo.cli import main
from hpo.commands.arguments import command_parser
from hpo.commands.completion import SCRIPTS, candidates

SITE = "# A site's profile\ndefaults:\n  - slurm\n  - _self_\n\npartition: gpu\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a profile of the site's own, which the environment names."""
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "ours.yaml").write_text(SITE)
    monkeypatch.setenv("FRONTRUNNER_CONFIG_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("command", ["tune", "doctor"])
def test_cfg_prints_what_would_be_used(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As YAML, with interpolations as they stand; presets fitted to the choices."""
    assert main([command, "--cfg", "job", "strategy=random", "batch.size=2"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["strategy"] == {"name": "random"}
    assert shown["batch"] == {"size": 2, "refill": 2}
    assert shown["study"]["seed"] == "${seed}"


def test_cfg_resolves_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    """Options may stand behind the overrides, as with Hydra."""
    assert main(["tune", "seed=3", "--cfg", "job", "--resolve"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["study"]["seed"] == 3


def test_cfg_of_what_cannot_be_composed(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 and the reason, nothing else."""
    assert main(["tune", "--cfg", "job", "study.nam=a"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "study.nam: there is no such key" in shown.err


def test_info_lists_the_files(capsys: pytest.CaptureFixture[str]) -> None:
    """Those of conf, in their order, with what asks for each."""
    assert main(["plan", "--info", "defaults", "cluster=v100_16gb"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["config", "from", "<root>"]
    assert ["cluster/slurm", "from", "cluster/v100_16gb"] in lines
    assert lines[-1] == ["scale/full", "from", "config"]


def test_a_site_names_its_folder_in_the_environment(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its profiles are there for every command; `--config-dir` comes first."""
    assert main(["tune", "--cfg", "job", "cluster=ours"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["cluster"]["partition"] == "gpu"
    assert main(["tune", "--cfg", "job", "cluster=ours", "--config-dir", str(site.parent)]) == 2


def test_a_folder_that_is_not_there_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its name, whoever named it."""
    monkeypatch.setenv("FRONTRUNNER_CONFIG_DIR", "/not/there")
    assert main(["plan"]) == 2
    assert "expected a folder with configuration groups, got /not/there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("tu", ["tune"]),
        ("tune clus", ["cluster.", "cluster="]),
        ("tune cluster=v100", ["cluster=v100_16gb", "cluster=v100_32gb"]),
        ("tune cluster=ou", ["cluster=ours"]),
        ("tune strategy=lhs strategy.", ["strategy.name=", "strategy.size="]),
        ("plan evaluation=tasks evaluation.tasks.l", ["evaluation.tasks.limit="]),
        ("plan ++controller.retries.l", ["++controller.retries.lost="]),
        ("tune --config", ["--config-dir"]),
        ("status demo", []),
        ("nothing a", []),
        ("tune seed.x.", []),
    ],
)
def test_words_that_may_stand_last(site: Path, typed: str, expected: list[str]) -> None:
    """Commands, options, groups with their choices, and keys down to the next dot."""
    assert candidates(typed.split(), command_parser()) == expected


def test_bash_completes(site: Path, tmp_path: Path) -> None:
    """Bash itself, with the words as it splits them: a choice is what stands behind the equals sign."""
    typed = 'COMP_LINE="frontrunner tune cluster=our" COMP_POINT=28; _frontrunner; echo "${COMPREPLY[@]}"'
    assert _completed("bash", f"{SCRIPTS['bash']}\n{typed}", tmp_path) == "ours"


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes(site: Path, tmp_path: Path) -> None:
    """Zsh itself, but for its two functions that need a terminal: a choice comes with its group."""
    around = 'compdef() { :; }; compadd() { print -r -- "${@[-1]}"; }'
    typed = "words=(frontrunner tune cluster=our); CURRENT=3; _frontrunner"
    assert _completed("zsh", f"{around}\n{SCRIPTS['zsh']}\n{typed}", tmp_path) == "cluster=ours"


def _completed(shell: str, code: str, folder: Path) -> str:
    """What a shell prints that finds the program on its path."""
    program = folder / "frontrunner"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m hpo "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run([shell, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_completion_loads_no_hydra() -> None:
    """Nobody waits for it on Tab."""
    code = (
        "import sys; from hpo.cli import main; main(['completion', 'words', 'tune', 'cl']);"
        "print([name for name in ('hydra', 'torch', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["cluster.", "cluster=", "[]"]
