"""The directions of imports that docs/design.md states: by reading the sources, and in fresh processes."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

OURS = ("hpo", "jobs", "slurm")
NUMERICAL = ("hpo.models", "hpo.reporting.sensitivity")
# heavy or foreign packages, and the only modules of ours that may import them
CONFINED = {
    "torch": ("jobs", *NUMERICAL),
    "botorch": NUMERICAL,
    "gpytorch": NUMERICAL,
    "transformers": ("jobs",),
    "peft": ("jobs",),
    "bitsandbytes": ("jobs",),
    "lm_eval": ("jobs",),
    "datasets": ("jobs",),
    "submitit": ("slurm",),
    "hydra": ("hpo.controller.compose", "hpo.space.grammar"),
    "omegaconf": ("hpo.controller.compose", "hpo.space.grammar"),
    "matplotlib": ("hpo.reporting.figures.png", "hpo.comparison.figures"),
    "plotly": ("hpo.reporting",),
    "SALib": ("hpo.reporting.sensitivity",),
    "sklearn": ("hpo.reporting.forest",),
    "pymoo": ("hpo.strategies.nsga2",),
    "optuna": ("hpo.commands.export", "hpo.exports.optuna_study"),
    "sqlalchemy": ("hpo.commands.export",),
    "mlflow": ("hpo.exports.mlflow_runs",),
    "tensorboard": ("hpo.exports.tensorboard_runs",),
}
# package -> what it may import of the other packages
ALLOWED = {"hpo": (), "slurm": (), "jobs": ("hpo.records", "hpo.paths")}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _modules(repository: Path) -> Iterator[tuple[str, Path]]:
    for package in OURS:
        for path in (repository / package).rglob("*.py"):
            name = ".".join(path.relative_to(repository).with_suffix("").parts)
            yield name.removesuffix(".__init__"), path


def _within(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def test_packages_import_only_what_they_may(repository: Path) -> None:
    """`hpo` imports neither `jobs` nor `slurm`, `slurm` neither, `jobs` only records and paths of `hpo`."""
    wrong = [
        f"{module} imports {name}"
        for module, path in _modules(repository)
        for name in _imports(path)
        if _within(name, OURS) and not _within(name, (module.split(".")[0],))
        if not _within(name, ALLOWED[module.split(".")[0]]) and name not in ("hpo",)
    ]
    assert wrong == []


def test_foreign_packages_stay_where_they_belong(repository: Path) -> None:
    """Each heavy package is imported in the stated modules alone."""
    wrong = [
        f"{module} imports {name}"
        for module, path in _modules(repository)
        for name in set(_imports(path))
        for foreign, places in CONFINED.items()
        if _within(name, (foreign,)) and not _within(module, places)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("hpo.commands.status", ("torch", "transformers", "botorch", "hydra", "scipy", "pydantic")),
        ("hpo.commands.tune", ("torch", "transformers", "peft", "botorch", "submitit")),
        ("hpo.optimizer", ("torch", "hydra", "pymoo")),
        ("hpo.strategies.nsga2", ("torch", "pymoo", "matplotlib")),
        ("jobs.kinds.qlora", ("torch", "transformers", "botorch", "submitit", "hydra")),
        ("jobs.run_trial", ("torch", "botorch", "hydra")),
        ("jobs.run_synthetic", ("torch", "numpy", "pydantic", "transformers", "yaml")),
        ("jobs.kinds.command", ("torch", "transformers", "botorch", "yaml")),
        ("jobs.run_command", ("torch", "numpy", "transformers", "yaml", "hydra")),
        ("jobs.kinds.decode", ("torch", "transformers", "lm_eval", "botorch")),
        ("jobs.run_decode", ("torch", "transformers", "lm_eval")),
        ("jobs.kinds.synthetic", ("torch", "numpy", "pydantic", "transformers", "botorch")),
        ("slurm.slurm_executor", ("torch", "hpo", "jobs")),
        ("slurm.maskwrap", ("submitit", "torch", "hpo", "jobs")),
        ("hpo.records", ("pydantic", "yaml", "rich", "numpy")),
    ],
)
def test_fresh_process_does_not_load(module: str, absent: tuple[str, ...]) -> None:
    """What a module loads when it is imported first, asked of a fresh process."""
    code = f"import sys, {module}; print([name for name in {absent!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
