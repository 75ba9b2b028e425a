"""Finds lm-eval's tasks by their YAML files, its own and the user's. Loads neither torch nor lm-eval."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from jobs.errors import RecipeError

# The names that a file defines stand at the start of a line; parsing all of lm-eval's files takes seconds.
NAMED = re.compile(r"""^["']?(?:task|group)["']?:[ \t]*["']?([^\s"'#\[{]+)""", re.MULTILINE)
IGNORED = frozenset({"__pycache__", ".ipynb_checkpoints"})
SUGGESTED = 3


_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times faster


class _Loader(_Safe):  # type: ignore[misc]
    """Reads `!function utils.process_docs` as the text that it is."""


_Loader.add_constructor("!function", lambda loader, node: str(node.value))


@dataclass(frozen=True)
class TaskFile:
    """One task or group as its file has it, what it includes filled in."""

    path: Path
    content: Mapping[str, Any]


class TaskFiles:
    """Every task file within reach; the user's come before those of lm-eval.

    Raises:
        RecipeError: there is no such folder, or it holds no task.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        if folder is not None and not folder.is_dir():
            raise RecipeError(
                f"evaluation.tasks.folder: got {str(folder)!r}, expected an existing folder of task files",
                "relative paths start at the folder in which the command is given",
            )
        self._own = {} if folder is None else _named_in(folder)
        if folder is not None and not self._own:
            raise RecipeError(
                f"evaluation.tasks.folder: got {folder}, expected *.yaml files with a line `task: NAME`"
            )

    def own(self) -> list[str]:
        """The names of the tasks of the user's folder, sorted; groups are left out."""
        return sorted(name for name in self._own if "group" not in _read(self._own[name]))

    def find(self, name: str) -> TaskFile | None:
        """The file that defines a task or group.

        Raises:
            RecipeError: the file is not what it should be.
        """
        path = self._own.get(name) or _shipped(name)
        return None if path is None else TaskFile(path, _read(path))

    def tagged(self, tag: str) -> list[str]:
        """The names of the tasks with a tag, sorted."""
        own = set() if self.folder is None else _tagged_in(_texts(self.folder), tag)
        return sorted(own | _tagged_in_shipped(tag))

    def like(self, name: str) -> list[str]:
        """Names that somebody may have meant."""
        shipped = [known for folder in _by_likeness("") for known in _named_in_shipped(folder)]
        return get_close_matches(name, [*self._own, *shipped], n=SUGGESTED)


def shipped_tasks() -> Path:
    """The folder of lm-eval's own tasks; lm-eval is not imported for that.

    Raises:
        RecipeError: it is not installed.
    """
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or spec.origin is None:
        raise RecipeError("lm_eval: got nothing, expected it to be installed", "`make setup`")
    return Path(spec.origin).parent / "tasks"


@cache
def _shipped(name: str) -> Path | None:
    for folder in _by_likeness(name):
        if path := _named_in_shipped(folder).get(name):
            return path
    return None


def _by_likeness(name: str) -> list[Path]:
    """lm-eval's folders, those first that are named like the task: arc_easy is in arc. No name is in two."""

    def alike(folder: Path) -> int:
        pairs = zip(folder.name, name, strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    return sorted((path for path in shipped_tasks().iterdir() if path.is_dir()), key=alike, reverse=True)


@cache
def _named_in_shipped(folder: Path) -> Mapping[str, Path]:
    return _named_in(folder)


def _named_in(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path, text in _texts(folder):
        for name in NAMED.findall(text):
            found.setdefault(name, path)
    return found


@cache
def _tagged_in_shipped(tag: str) -> set[str]:
    return _tagged_in(_shipped_texts(), tag)


@cache
def _shipped_texts() -> tuple[tuple[Path, str], ...]:
    """lm-eval's thousands of files, read once: a group such as mmlu asks for several tags."""
    return tuple(_texts(shipped_tasks()))


def _tagged_in(texts: Iterable[tuple[Path, str]], tag: str) -> set[str]:
    found = set()
    folders = {path.parent for path, text in texts if tag in text}  # a tag may come by an include
    for content in (_read(path) for folder in folders for path in folder.glob("*.yaml")):
        tags = content.get("tag")
        if "task" in content and tag in ([tags] if isinstance(tags, str) else tags or []):
            found.add(str(content["task"]))
    return found


def _texts(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*.yaml")):
        if not IGNORED & set(path.parts):
            yield path, path.read_text(encoding="utf-8", errors="replace")


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return _parsed(path, frozenset())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{path}: got what is no task file: {error}") from error


def _parsed(path: Path, includers: frozenset[Path]) -> dict[str, Any]:
    """A file with what it includes; its own keys win."""
    content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # a safe loader
    if not isinstance(content, dict):
        raise yaml.YAMLError(f"got {type(content).__name__}, expected a mapping")
    if path in includers:
        raise yaml.YAMLError("it includes itself")
    included = content.pop("include", [])
    merged: dict[str, Any] = {}
    for name in [included] if isinstance(included, str) else included:
        merged |= _parsed(path.parent / name, includers | {path})
    return merged | content
