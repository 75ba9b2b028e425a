"""The command `evaluate`: chosen trials and the untuned base model, judged by tasks, at 4 and at 16 bits.

<study>/evaluations/<name>/                  a study whose trials are the parts: one subject on one base
<study>/evaluations/<name>/evaluation.json   what was found, see hpo.evaluation.deltas; written by `evaluate`
<study>/evaluations/<name>/evaluation.csv    the same as long rows
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from hpo.commands.derived import ANY_METRIC, SourceStudy, adapters_of, constants, derive, run, source
from hpo.controller.assembly import Assembly, assemble
from hpo.controller.compose import compose_config
from hpo.controller.given_trials import GivenTrial, GivenTrials
from hpo.errors import InputError
from hpo.evaluation.deltas import (
    FOUR_BIT,
    SIXTEEN_BIT,
    UNTUNED,
    Evaluation,
    describe,
    rows_of,
)
from hpo.evaluation.parts import read_parts, reference
from hpo.evaluation.table import COLUMNS, csv_rows, show
from hpo.objectives import parse_objectives
from hpo.paths import StudyPaths
from hpo.ports import Adapters
from hpo.records import write_json, write_text
from hpo.study.journal import load_study
from hpo.study.recipe import content_hash
from hpo.study.snapshot import pareto_trials
from hpo.study.state import Study, Trial, TrialState

BASES = (FOUR_BIT, SIXTEEN_BIT)
ALLOWED = ("evaluation", "cluster", "controller", "cache")
SLUG = 40  # characters of an evaluation's name that tell its tasks


@dataclass(frozen=True)
class EvaluationRequest:
    """What `evaluate` is asked for; None: the front, the bases of the configuration, a name of its own."""

    trials: str | None = None
    bases: str | None = None
    name: str | None = None


def evaluate(
    name: str,
    root: Path,
    choice: EvaluationRequest,
    overrides: Sequence[str],
    config_dir: str | None,
    console: Console,
) -> int:
    """Evaluate what has not been evaluated yet, and show the table.

    Args:
        root: the study root.
        choice: which trials, on which bases.
        overrides: of the study's evaluation and cluster.
        config_dir: a folder with the user's own configuration groups.
        console: where to show it.

    Returns:
        0, 1 where a part failed, 3 when interrupted.

    Raises:
        FrontrunnerError: bad input (2), or it cannot go on (1).
    """
    own = source(name, root)
    subjects = _subjects(own, choice.trials)
    if choice.trials == "all" and (deleted := len(own.study.in_state(TrialState.COMPLETED)) - len(subjects)):
        console.print(f"{deleted} trials are left out: their adapters were deleted, see study.keep_adapters")
    parts, adapters, bases = _assemble(own, choice, overrides, config_dir)
    given = [one for base in bases for one in _given(own, subjects, parts, base)]
    parts = _sized(parts, GivenTrials(given, adapters.evaluation_target, own.of(evaluation=True)))

    def prepare() -> None:
        for recipe in _distinct(given):
            adapters.prepare(
                recipe, parts.cache, bases, lambda line: console.print(line, markup=False, highlight=False)
            )

    def show_end(parts: Assembly, console: Console, headline: str) -> None:
        found = _write(own, parts, adapters)
        console.print(f"\n{headline}", style="bold", highlight=False)
        show(found, console)

    return run(parts, console, prepare, show_end)


def _subjects(own: SourceStudy, names: str | None) -> list[Trial]:
    study = own.study
    if names is None:
        found = pareto_trials(study, parse_objectives(study.objectives))
        if not found:
            raise InputError(
                f"study {study.name} has no front yet: expected a completed trial, got {len(study.trials)} "
                f"trials of which none has completed",
                hint=f"`frontrunner status {own.paths.folder}` says how far it is",
            )
    elif names == "all":
        found = [trial for trial in study.in_state(TrialState.COMPLETED) if not trial.adapter_deleted]
    else:
        found = [
            own.trial(name, "--trials") for name in dict.fromkeys(re.split(r"[,\s]+", names.strip())) if name
        ]
    for trial in found:
        own.adapter(trial)
    return found


def _assemble(
    own: SourceStudy, choice: EvaluationRequest, overrides: Sequence[str], config_dir: str | None
) -> tuple[Assembly, Adapters, list[str]]:
    """The evaluation's parts, all but what is given; the base of the configuration is left to each part."""
    base = dict(own.raw)
    if not base["evaluation"].get("tasks") and not any(text.startswith("evaluation=") for text in overrides):
        shipped, _ = compose_config(["evaluation=tasks"], config_dir)
        base["evaluation"] = {
            **shipped["evaluation"],
            **base["evaluation"],
            "tasks": shipped["evaluation"]["tasks"],
        }
    changes = {
        "study": {"root": str(own.paths.folder / "evaluations"), "name": choice.name or "unnamed"},
        "strategy": {"name": "random"},
        "space": constants({"subject": UNTUNED}),
        "objectives": ANY_METRIC,
    }
    raw, problems = derive(base, overrides, ALLOWED, config_dir, changes)
    bases = _bases(choice.bases, raw)
    asked = {key: value for key, value in raw["evaluation"].items() if key != "samples"}  # of trials alone
    raw["evaluation"] = {**asked, "bases": [FOUR_BIT]}
    parts = assemble(raw, problems, own.paths)
    adapters = adapters_of(parts.kind, raw["trainer"].get("_target_"))
    scores = adapters.scores(parts.recipe)
    if not scores:
        raise InputError(
            [
                (
                    "evaluation.tasks.names",
                    "got no task, expected tasks, groups or tags of lm-eval, or a folder",
                )
            ],
            hint="evaluation.tasks.names=[hellaswag,arc_challenge,truthfulqa_mc2]",
        )
    raw["study"]["name"] = choice.name or _name([one["task"] for one in scores], parts.recipe["evaluation"])
    return replace(parts, raw=raw, objectives=parse_objectives({scores[0]["name"]: "max"})), adapters, bases


def _bases(asked: str | None, raw: Mapping[str, Any]) -> list[str]:
    found = [name for name in re.split(r"[,\s]+", asked) if name] if asked else raw["evaluation"]["bases"]
    if not found or any(name not in BASES for name in found):
        raise InputError([("--bases", f"expected some of {', '.join(BASES)}, got {asked}")])
    return [base for base in BASES if base in found]


def _name(tasks: Sequence[str], settings: Mapping[str, Any]) -> str:
    """A name that is the same for the same settings, and another for others."""
    others = len(set(tasks)) - 1
    limit = settings["tasks"].get("limit") or "all"
    slug = re.sub(r"[^A-Za-z0-9_]+", "-", f"{tasks[0]}{f'-and-{others}' if others else ''}-{limit}")
    return f"{slug[:SLUG].strip('-_')}-{content_hash(settings)[:6]}"


def _given(own: SourceStudy, subjects: Sequence[Trial], parts: Assembly, base: str) -> list[GivenTrial]:
    """The parts on one base: each subject, and the untuned base models that they are compared with."""
    default = parts.recipe
    references = {UNTUNED: default}
    trials = []
    for trial in subjects:
        spec = own.spec(trial)
        recipe = {**spec.recipe, "evaluation": parts.recipe["evaluation"]}
        references.setdefault(reference(recipe, base, default), recipe)
        trials.append(_part(trial.id, base, recipe, own.adapter(trial)))
    return [*(_part(name, base, recipe, None) for name, recipe in references.items()), *trials]


def _part(subject: str, base: str, recipe: Mapping[str, Any], adapter: str | None) -> GivenTrial:
    return GivenTrial(
        {"subject": subject, "base": base}, {**recipe, "judged": {"base": base}}, seed=0, adapter=adapter
    )


def _sized(parts: Assembly, given: GivenTrials) -> Assembly:
    """With room for all parts at once: those that are there, and those that are missing."""
    own = parts.raw["study"]
    journal = StudyPaths(Path(own["root"]) / own["name"]).journal
    study = load_study(journal) if journal.exists() else Study()
    count = len(study.trials) + len(given.missing(study))
    raw = {**parts.raw, "budget": {**parts.raw["budget"], "trials": count}}
    raw["batch"] = {**parts.raw["batch"], "size": count, "refill": 1}
    sized = assemble(raw, [])
    return replace(sized, objectives=parts.objectives, given=given, executor=parts.executor)


def _distinct(given: Sequence[GivenTrial]) -> list[Mapping[str, Any]]:
    """One recipe for each base model and quantisation."""
    return list({reference(one.recipe, FOUR_BIT, {}): one.recipe for one in given}.values())


def _write(own: SourceStudy, parts: Assembly, adapters: Adapters) -> Evaluation:
    """Put everything that is there together, and write it."""
    study = load_study(parts.paths.journal)
    told, found = read_parts(parts.paths, study, own.study, parts.recipe)
    seen = _seen(own, adapters)
    metrics = describe(told, seen)
    settings = {key: value for key, value in parts.recipe["evaluation"].items() if key != "bases"}
    complete = not study.in_flight
    evaluation = Evaluation(
        parts.paths.name, own.study.name, str(parts.paths.folder), complete, settings, metrics,
        rows_of(found, metrics),
    )  # fmt: skip
    write_json(result_path(parts.paths), evaluation.to_json())
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([COLUMNS, *csv_rows(evaluation)])
    write_text(result_path(parts.paths).with_suffix(".csv"), text.getvalue())
    return evaluation


def result_path(paths: StudyPaths) -> Path:
    """Where an evaluation's result is."""
    return paths.folder / "evaluation.json"


def _seen(own: SourceStudy, adapters: Adapters) -> set[str]:
    """The tasks of which a number, on whichever base, was an objective of the tuning."""
    recipe = {group: dict(own.raw[group]) for group in ("model", "data", "trainer", "evaluation")}
    objectives = {name.removesuffix("_16bit") for name in own.study.objectives}
    return {one["task"] for one in adapters.scores(recipe) if one["name"] in objectives}
