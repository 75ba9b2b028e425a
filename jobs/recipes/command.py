"""What a trial of an external program is made of: its arguments, how it is stopped, what it must report."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from jobs.errors import sound
from jobs.recipes.data import Expression
from jobs.recipes.recipe import read_group

STRICT = ConfigDict(extra="forbid", protected_namespaces=())
# What a field may name beside the parameters.
GIVEN = ("trial", "folder", "attempt", "seed", "metrics", "progress", "rungs", "parameters", "python")
TRAIN_SECONDS = "train_seconds"  # measured by the trial
NAME = re.compile(r"[A-Za-z_]\w*")

Problem = tuple[str, str]
Value = str | int | float | bool


def _inside(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or not pure.name or ".." in pure.parts:
        raise ValueError(f"got {path!r}, expected a path below the folder of the trial ({{folder}})")
    return path


Metric = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, config=STRICT)
class OnPreempt:
    """What a program is told before its task is preempted."""

    signal: (
        Literal["HUP", "INT", "QUIT", "TERM", "USR1", "USR2"] | None
    )  # null: it goes on until it is killed
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]  # to save and end in


@dataclass(frozen=True, config=STRICT)
class CommandRecipe:
    """The keys of conf/trainer/command.yaml."""

    argv: list[str | int | float]
    parameters: dict[str, Value]
    metrics: list[Metric]
    metrics_file: Annotated[str, AfterValidator(_inside)]
    env: dict[str, str | int | float | None]
    cwd: str | None
    on_preempt: OnPreempt
    infeasible_exit_codes: list[Annotated[int, Field(ge=1, le=255)]]
    out_of_memory: list[Expression] = field(default_factory=list)
    diverged: list[Expression] = field(default_factory=list)

    def texts(self) -> Iterator[tuple[str, str]]:
        """(key path, text) of everything that may hold fields."""
        yield from ((f"trainer.argv[{place}]", str(text)) for place, text in enumerate(self.argv))
        yield from ((f"trainer.env.{name}", str(text)) for name, text in self.env.items() if text is not None)

    def arguments(self, given: Mapping[str, Value]) -> list[str]:
        """Program and arguments with every field filled in.

        Args:
            given: the value of each of `GIVEN`.
        """
        values = {**self.parameters, **given}
        return [filled(str(text), values) for text in self.argv]

    def environment(self, inherited: Mapping[str, str], given: Mapping[str, Value]) -> dict[str, str]:
        """The environment of the program.

        Args:
            given: the value of each of `GIVEN`.
        """
        values = {**self.parameters, **given}
        own = {name: filled(str(text), values) for name, text in self.env.items() if text is not None}
        kept = {name: text for name, text in inherited.items() if name not in self.env}
        return {**kept, **own}


def filled(text: str, values: Mapping[str, Value]) -> str:
    """A text with a value in place of every `{name}`; `{{` and `}}` are braces.

    Args:
        values: by name; truth values are written as in YAML.
    """
    parts = []
    for literal, name, _, _ in string.Formatter().parse(text):
        parts.append(literal)
        if name is not None:
            value = values[name]
            parts.append(str(value).lower() if isinstance(value, bool) else str(value))
    return "".join(parts)


def parse(recipe: Mapping[str, Any]) -> CommandRecipe:
    """Turn plain values into a recipe.

    Args:
        recipe: with a mapping `trainer`; its other groups are not looked at.

    Raises:
        RecipeError: naming every problem by its key path.
    """
    return sound(*examine(recipe))


def examine(recipe: Mapping[str, Any]) -> tuple[CommandRecipe | None, list[Problem]]:
    """What could be read of a recipe, and (key path, what is wrong) for the rest."""
    found: list[Problem] = []
    trainer = read_group(CommandRecipe, "trainer", recipe, found)
    if trainer is not None:
        found += [*_missing(trainer), *_misnamed(trainer), *_misused(trainer)]
    return trainer, found


def _missing(trainer: CommandRecipe) -> Iterator[Problem]:
    if not trainer.argv:
        yield "trainer.argv", "got no argument, expected a program and its arguments, as a list"
    elif not str(trainer.argv[0]).strip():
        yield "trainer.argv[0]", f"got {trainer.argv[0]!r}, expected a program"
    if not trainer.metrics:
        text = "got no name, expected the metrics that the program writes to {metrics}"
        yield "trainer.metrics", f"{text}, as a list"
    if TRAIN_SECONDS in trainer.metrics:
        text = f"got {TRAIN_SECONDS}, which the trial measures itself, expected other names"
        yield "trainer.metrics", text
    for name in dict.fromkeys(trainer.metrics):
        if trainer.metrics.count(name) > 1:
            yield "trainer.metrics", f"got {name} more than once, expected different names"


def _misnamed(trainer: CommandRecipe) -> Iterator[Problem]:
    for name in trainer.parameters:
        if not NAME.fullmatch(name):
            yield f"trainer.parameters.{name}", "expected a name of letters, digits and _"
        elif name in GIVEN:
            yield f"trainer.parameters.{name}", f"{{{name}}} is given by the trial, expected another name"


def _misused(trainer: CommandRecipe) -> Iterator[Problem]:
    used: set[str] = set()
    for key, text in trainer.texts():
        try:
            fields = list(string.Formatter().parse(text))
        except ValueError as error:
            yield key, f"got {text!r}: {error}, expected {{name}} for a field and {{{{ }}}} for braces"
            used.add("parameters")  # what this text may have named is not known
            continue
        for _, name, form, conversion in fields:
            if name is None:
                continue
            used.add(name)
            if form or conversion:
                yield key, f"got a format in {text!r}, expected {{{name}}} alone"
            elif name not in GIVEN and name not in trainer.parameters:
                known = ", ".join([*trainer.parameters, *GIVEN])
                hint = f"space.{name} tunes it, trainer.parameters.{name} makes it a constant"
                yield key, f"got the unknown field {{{name}}}, expected one of {known}\n\nhint: {hint}"
    if "parameters" in used:
        return
    for name in trainer.parameters:
        if name not in used and NAME.fullmatch(name):
            nowhere = f"reaches the program nowhere, expected {{{name}}}, or {{parameters}}, in trainer.argv"
            yield f"trainer.parameters.{name}", nowhere
