"""The directions of imports that docs/design.md states: by reading the sources, and in fresh processes."""

from __future__ import annotations

import ast
import re
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
    "mlflow": ("hpo.exports.mlflow_runs", "jobs.tracking.mlflow_run"),
    "tensorboard": ("hpo.exports.tensorboard_runs", "jobs.tracking.tensorboard_run"),
    "wandb": ("jobs.tracking.wandb_run",),
}
# package -> what it may import of the other packages
ALLOWED = {"hpo": (), "slurm": (), "jobs": ("hpo.records", "hpo.paths")}
# room -> the rooms of its package that it may import; what is on top of a package it may import anyway
ROOMS = {
    "hpo.space": (),
    "hpo.models": ("space",),
    "hpo.strategies": ("models", "space"),
    "hpo.study": ("space",),
    "hpo.forecasts": ("study", "space"),
    "hpo.fidelity": ("study", "strategies", "models", "space"),
    "hpo.controller": ("fidelity", "forecasts", "study", "strategies", "models", "space"),
    "hpo.display": ("forecasts", "study"),
    "hpo.comparison": ("study",),
    "hpo.evaluation": ("study",),
    "hpo.exports": ("study", "space"),
    "hpo.reporting": ("display", "forecasts", "study", "models", "space"),
    "hpo.commands": (
        *("controller", "display", "comparison", "evaluation", "exports", "reporting"),
        *("forecasts", "study", "space"),
    ),
    "jobs.tracking": (),
    "jobs.attempt": ("tracking",),
    "jobs.recipes": (),
    "jobs.programs": ("attempt", "recipes"),
    "jobs.simulation": ("attempt",),
    "jobs.data": ("recipes",),
    "jobs.memory": ("recipes",),
    "jobs.models": ("attempt", "data", "recipes"),
    "jobs.evaluation": ("attempt", "data", "models", "recipes"),
    "jobs.training": ("attempt", "data", "evaluation", "memory", "models", "recipes"),
    "jobs.prepare": ("attempt", "data", "evaluation", "models", "recipes", "training"),
    "jobs.after": ("attempt", "data", "evaluation", "models", "prepare", "recipes"),
    "jobs.kinds": ("data", "evaluation", "memory", "prepare", "recipes"),
    "slurm.client": (),
    "slurm.local": ("client",),
    "slurm.simulation": (),
    "slurm.devcluster": ("client", "local"),
}
# On top of a package: what commands, arrays and users begin with, which may import every room. All other
# modules there are what rooms stand on, and import none.
DOORS = {
    "hpo": ("__main__", "cli", "optimizer", "remote"),
    "jobs": ("command", "decode", "foresight", "synthetic", "demo_program", "run_"),
    "slurm": ("auto", "local_executor", "simulated_executor", "slurm_executor"),
}
MOST_MODULES = 20  # of a folder


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
        ("jobs.run_synthetic", ("torch", "numpy", "pydantic", "transformers", "yaml", "wandb")),
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


def _room(name: str) -> str:
    """The room of a module, or its package where it is on top."""
    parts = name.split(".")
    return ".".join(parts[:2]) if ".".join(parts[:2]) in ROOMS else parts[0]


def _graph(repository: Path) -> dict[str, set[str]]:
    """Module -> our modules that it imports, wherever in its text."""
    known = dict(_modules(repository))
    graph: dict[str, set[str]] = {}
    for module, path in known.items():
        names = set(_imports(path)) & known.keys() - {module}
        graph[module] = {name for name in names if not any(other.startswith(f"{name}.") for other in names)}
    return graph


def _is_door(module: str) -> bool:
    package, _, name = module.partition(".")
    return name.startswith(DOORS[package]) and _room(module) == package


def test_rooms_import_only_what_is_below_them(repository: Path) -> None:
    """Within a package arrows point one way: see docs/design.md."""
    graph = _graph(repository)
    wrong = []
    for module, names in graph.items():
        room = _room(module)
        package = room.split(".")[0]
        allowed = {f"{package}.{name}" for name in ROOMS.get(room, ())} | {room}
        for name in names:
            other = _room(name)
            upward = other in ROOMS and other.startswith(f"{package}.") and other not in allowed
            if upward and not _is_door(module):
                wrong.append(f"{module} imports {name}")
    assert wrong == []


def test_no_module_imports_itself_by_way_of_others(repository: Path) -> None:
    """No circle of imports, lazy ones counted."""
    graph = _graph(repository)
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> list[str]:
        if module in way:
            return [" -> ".join((*way[way.index(module) :], module))]
        if module in done:
            return []
        found = [circle for name in sorted(graph[module]) for circle in visit(name, (*way, module))]
        done.add(module)
        return found

    assert [circle for module in sorted(graph) for circle in visit(module, ())] == []


def _folders(repository: Path) -> list[Path]:
    return sorted({path.parent for package in OURS for path in (repository / package).rglob("*.py")})


def test_no_folder_holds_more_modules_than_one_can_survey(repository: Path) -> None:
    """Twenty at most, `__init__.py` not counted."""
    counts = {
        str(folder.relative_to(repository)): len(list(folder.glob("*.py"))) - 1
        for folder in _folders(repository)
    }
    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES} == {}


def test_every_folder_says_what_it_owns(repository: Path) -> None:
    """In the docstring of its `__init__.py`, and in the map of docs/design.md."""
    page = (repository / "docs" / "design.md").read_text(encoding="utf-8")
    for folder in _folders(repository):
        name = str(folder.relative_to(repository))
        text = (folder / "__init__.py").read_text(encoding="utf-8")
        assert ast.get_docstring(ast.parse(text)), f"{name}/__init__.py has no docstring"
        assert f"`{name}/`" in page, f"docs/design.md does not name {name}/"


def test_where_is_what_names_files_that_are_there(repository: Path) -> None:
    """Each path of that table exists."""
    page = (repository / "docs" / "design.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:hpo|jobs|slurm|conf|tests|docs)/[\w./]*)`", page)
    assert len(paths) > 30
    assert [path for path in paths if not (repository / path).exists()] == []
