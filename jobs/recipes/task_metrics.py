"""What the tasks of a recipe report, known from their files alone. Loads neither torch nor lm-eval."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.errors import RecipeError
from jobs.recipes.evaluation import EvaluationRecipe, TaskRecipe
from jobs.recipes.metrics import EVAL_LOSS, PLAIN_SUFFIX
from jobs.recipes.task_files import TaskFiles

# What lm-eval computes where a task names no metrics, by the kind of output.
USUAL = {
    "loglikelihood": ("perplexity", "acc"),
    "loglikelihood_rolling": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
    "multiple_choice": ("acc", "acc_norm"),
    "generate_until": ("exact_match",),
}
NO_FILTER = "none"

Problem = tuple[str, str]


@dataclass(frozen=True)
class Reported:
    """One number of a task or group."""

    name: str  # of the metric: hellaswag_acc_norm
    task: str  # lm-eval's name
    metric: str
    filter: str

    @property
    def key(self) -> str:
        """Of the value in lm-eval's results."""
        return f"{self.metric},{self.filter}"

    @property
    def error_key(self) -> str:
        """Of the standard error in lm-eval's results."""
        return f"{self.metric}_stderr,{self.filter}"


@dataclass(frozen=True)
class Survey:
    """What the tasks of a recipe are."""

    names: tuple[str, ...]  # to be loaded
    folders: tuple[Path, ...]  # that lm-eval has to index for them; a later one has precedence
    reported: tuple[Reported, ...]
    problems: tuple[Problem, ...]


def survey(tasks: TaskRecipe) -> Survey:
    """Find the tasks of a recipe.

    Returns:
        What there is, and every problem with the rest.
    """
    try:
        return _survey(tasks, TaskFiles(tasks.place))
    except RecipeError as error:
        key, _, problem = str(error).partition(": ")
        return Survey((), (), (), ((key, problem),))


def metric_names(evaluation: EvaluationRecipe) -> list[str]:
    """The metrics of an evaluation beyond the loss."""
    names = [] if evaluation.tasks is None else [one.name for one in survey(evaluation.tasks).reported]
    plain = [f"{name}{PLAIN_SUFFIX}" for name in (EVAL_LOSS, *names)]
    return [*names, *plain] if evaluation.plain_too else names


def _survey(tasks: TaskRecipe, files: TaskFiles) -> Survey:
    if tasks.names is None and files.folder is None:
        problem = "got no names and no folder, expected names of tasks, or a folder whose tasks are all meant"
        return Survey((), (), (), (("evaluation.tasks.names", problem),))
    names = tasks.names if tasks.names is not None else files.own()
    problems: list[Problem] = []
    reported: list[Reported] = []
    finder = _Finder(files)
    for name in names:
        try:
            reported += finder.reported(name)
        except RecipeError as error:
            problems.append(("evaluation.tasks.names", str(error)))
    chosen = [one for one in reported if tasks.metrics is None or one.metric in tasks.metrics]
    problems += _unreported(tasks.metrics or [], reported) if not problems else []
    problems += _equal(chosen)
    own = [files.folder] if files.folder is not None else []
    folders = [folder for folder in sorted(finder.folders) if folder not in own]
    return Survey(tuple(names), (*folders, *own), tuple(chosen), tuple(problems))


def _unreported(metrics: Sequence[str], reported: Sequence[Reported]) -> Iterator[Problem]:
    known = sorted({one.metric for one in reported})
    for metric in metrics:
        if metric not in known:
            yield "evaluation.tasks.metrics", f"got {metric!r}, expected some of {', '.join(known)}"


def _equal(reported: Sequence[Reported]) -> Iterator[Problem]:
    names = [one.name for one in reported]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            yield "evaluation.tasks.names", f"got two tasks or metrics that are both called {name}"


class _Finder:
    """Walks from names through groups and tags to tasks, and remembers the folders on the way."""

    def __init__(self, files: TaskFiles) -> None:
        self._files = files
        self.folders: set[Path] = set()

    def reported(self, name: str) -> list[Reported]:
        """What a task reports, a group as a whole, or else everything in it."""
        found = self._files.find(name)
        if found is None:
            tasks = self._files.tagged(name)
            if not tasks:
                raise RecipeError(f"got {name!r}, expected {self._expected(name)}")
            return [one for task in tasks for one in self.reported(task)]
        self.folders.add(found.path.parent)
        if "group" in found.content:
            return self._of_group(name, found.content)
        return _of_task(name, found.content, found.path)

    def _of_group(self, name: str, content: Mapping[str, Any]) -> list[Reported]:
        members = [one for member in content.get("task") or [] for one in self._of_member(name, member)]
        aggregated = content.get("aggregate_metric_list")
        if not aggregated:
            return members
        pairs = []
        for entry in [aggregated] if isinstance(aggregated, Mapping) else aggregated:
            metric, filters = str(entry["metric"]), entry.get("filter_list")
            if filters is None:
                filters = dict.fromkeys(one.filter for one in members if one.metric == metric)
            pairs += [(metric, one) for one in ([filters] if isinstance(filters, str) else filters)]
        return _named(name, pairs)

    def _of_member(self, group: str, member: str | Mapping[str, Any]) -> list[Reported]:
        if isinstance(member, str):
            return self.reported(member)
        if "group" in member:
            name = str(member["group"])
            if self._files.find(name) is not None:
                return self.reported(name)
            return self._of_group(f"{group}::{name}", member)
        name = str(member["task"])
        found = self._files.find(name)
        if found is None:
            return _of_task(f"{group}::{name}", member, None)
        self.folders.add(found.path.parent)
        return _of_task(name, {**found.content, **member}, found.path)

    def _expected(self, name: str) -> str:
        like = ", ".join(self._files.like(name))
        where = "of lm-eval" if self._files.folder is None else f"of lm-eval or of {self._files.folder}"
        return f"a task, group or tag {where}" + (f"\n\nhint: did you mean {like}?" if like else "")


def _of_task(name: str, content: Mapping[str, Any], path: Path | None) -> list[Reported]:
    if "class" in content:
        raise RecipeError(f"got {name!r}, which is written in Python ({path}), expected a task in YAML")
    listed = content.get("metric_list")
    if listed is None:
        metrics = USUAL.get(str(content.get("output_type", "generate_until")), ())
    else:
        metrics = tuple(str(entry["metric"]).rpartition(".")[2] for entry in listed)
    filters = [str(entry["name"]) for entry in content.get("filter_list") or [{"name": NO_FILTER}]]
    return _named(name, [(metric, one) for metric in metrics for one in filters])


def _named(task: str, pairs: Sequence[tuple[str, str]]) -> list[Reported]:
    """The filter is part of the name only where there are several."""
    several = len({one for _, one in pairs}) > 1
    return [
        Reported(
            re.sub(r"\W+", "_", "_".join([task, metric, *([one] if several else [])])), task, metric, one
        )
        for metric, one in pairs
    ]
