"""The versions that are declared are true: bounds, and the pins for V100 nodes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
# Of the pins of environment.yml: distribution -> what is imported of it.
IMPORTED = {
    "bitsandbytes": "bitsandbytes",
    "transformers": "transformers",
    "accelerate": "accelerate",
    "peft": "peft",
    "datasets": "datasets",
    "lm_eval": "lm_eval",
    "botorch": "botorch",
    "gpytorch": "gpytorch",
    "hydra-core": "hydra",
    "submitit": "submitit",
}


def _project() -> dict[str, Any]:
    made: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return made


def test_every_dependency_has_a_lowest_version() -> None:
    """Without one, `make test-lowest` would take whatever there ever was."""
    extras = [line for lines in _project()["optional-dependencies"].values() for line in lines]
    named = [line for line in (*_project()["dependencies"], *extras) if not line.startswith("frontrunner")]
    assert len(named) > 30
    assert [line for line in named if ">=" not in line and "==" not in line] == []


def test_pins_for_v100_are_within_the_bounds() -> None:
    """What environment.yml installs without looking at pyproject.toml, pyproject.toml admits."""
    from packaging.requirements import Requirement

    wanted = {one.name: one.specifier for one in map(Requirement, _project()["dependencies"])}
    pins = dict(line.split("==") for line in _pip_lines() if "==" in line)
    assert {"torch", *IMPORTED} == set(pins)
    assert [name for name, pin in pins.items() if not wanted[name].contains(pin)] == []


def _pip_lines() -> list[str]:
    listed = yaml.safe_load((REPOSITORY / "environment.yml").read_text())["dependencies"]
    return next(list[str](entry["pip"]) for entry in listed if isinstance(entry, dict))


@pytest.mark.slow
@pytest.mark.long(60)
def test_pins_for_v100_resolve_and_are_imported(tmp_path: Path) -> None:
    """All of environment.yml as one solution; imported together, with the CPU build of torch that is here."""
    uv = str(Path(sys.executable).with_name("uv"))
    (tmp_path / "wanted.txt").write_text("\n".join(_pip_lines()))
    compiled = [uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python", sys.executable]
    locked = subprocess.check_output([*compiled, tmp_path / "wanted.txt"], text=True, timeout=300).split()
    assert "torch==2.10.0" in locked
    # PyPI's torch 2.10.0 is a CUDA build of gigabytes: what belongs to it is left out
    theirs = re.compile(r"(torch|triton|nvidia-\S+|cuda-\S+)==")
    (tmp_path / "locked.txt").write_text("\n".join(line for line in locked if not theirs.match(line)))
    put = [uv, "pip", "install", "--quiet", "--no-deps", "--python", sys.executable, "--target"]
    subprocess.run(
        [*put, tmp_path / "site", "-r", tmp_path / "locked.txt"], check=True, timeout=600, cwd=tmp_path
    )
    program = (
        "from importlib import import_module; from importlib.metadata import version\n"
        f"for name, module in {IMPORTED!r}.items():\n"
        f"    assert import_module(module).__file__.startswith({str(tmp_path)!r}), module\n"
        "    print(f'{name}=={version(name)}')\n"
        "import jobs.training.trial, hpo.models.propose, slurm.slurm_executor\n"
    )
    path = os.pathsep.join([str(tmp_path / "site"), str(REPOSITORY)])
    printed = subprocess.check_output(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path}, text=True, timeout=300
    )
    pins = {line for line in _pip_lines() if "==" in line and not line.startswith("torch")}
    assert set(printed.split()) == pins
