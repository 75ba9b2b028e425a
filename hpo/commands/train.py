"""The command `train`: a chosen configuration trained for longer, and weights merged into the base model.

<root>/<study>-train-<trial>/           a study of one trial: from scratch, or from the trial's adapter
<study>/merged/<trial>/                 a study of one trial: it writes the merged weights
<study>/merged/<trial>/model/           the merged weights, with configuration and tokenizer
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hpo.commands.derived import (
    ANY_METRIC,
    SourceStudy,
    adapters_of,
    constants,
    derive,
    run,
    source,
    with_targets,
)
from hpo.controller.assembly import Assembly, assemble
from hpo.controller.config import RECIPE_GROUPS
from hpo.controller.given_trials import GivenTrial, GivenTrials
from hpo.display.tables import metric_text
from hpo.errors import InputError, StudyError
from hpo.formatting import number
from hpo.objectives import parse_objectives
from hpo.records import ParamValue
from hpo.study.journal import load_study
from hpo.study.recipe import key_path
from hpo.study.state import Trial, TrialState
from hpo.study.store import differences

RUNNING = ("cluster", "controller", "cache")
FIRST = "0000"  # the one trial of a derived study
DIFFERENCE = "logit_difference"


@dataclass(frozen=True)
class TrainRequest:
    """What `train` is asked for."""

    trial: str
    name: str | None = None  # of the new study
    from_adapter: bool = False
    merge: bool = False
    merge_only: bool = False


def train(
    name: str,
    root: Path,
    wanted: TrainRequest,
    overrides: Sequence[str],
    config_dir: str | None,
    console: Console,
) -> int:
    """Train the configuration of a trial again, with overrides; run again, it goes on.

    Args:
        root: the study root.
        wanted: which trial, and what of it.
        overrides: on top of what the trial ran: keys of model, data, trainer, evaluation, and of the cluster.
        config_dir: a folder with the user's own configuration groups.
        console: where to show it.

    Returns:
        0, 1 where the training failed, 3 when interrupted.

    Raises:
        FrontrunnerError: bad input (2), or it cannot go on (1).
    """
    own = source(name, root)
    trial = own.trial(wanted.trial)
    if wanted.merge_only:
        return _merge(own, trial, overrides, config_dir, console)
    parts = _training(own, trial, wanted, overrides, config_dir)
    if wanted.merge:
        adapters_of(parts.kind, parts.raw["trainer"].get("_target_"))

    def prepare() -> None:
        parts.kind.prepare(parts.recipe, parts.cache, lambda line: console.print(line, markup=False))

    def show(parts: Assembly, console: Console, headline: str) -> None:
        _show(own, trial, parts, console, headline)

    code = run(parts, console, prepare, show)
    if code or not wanted.merge:
        return code
    trained = source(str(parts.paths.folder), root)
    return _merge(trained, trained.trial(FIRST), [], config_dir, console)


def _training(
    own: SourceStudy, trial: Trial, wanted: TrainRequest, overrides: Sequence[str], config_dir: str | None
) -> Assembly:
    name = wanted.name or f"{own.study.name}-train-{trial.id}"
    spec = own.spec(trial)
    changes = {
        "study": {"root": str(own.paths.folder.parent), "name": name},
        "budget": {"trials": 1},
        "batch": {"size": 1, "refill": 1},
        "strategy": {"name": "random"},
    }
    allowed = (*RECIPE_GROUPS, *RUNNING)
    raw, problems = derive(_as_it_ran(own, spec.recipe), overrides, allowed, config_dir, changes)
    params = _now(raw, trial)
    raw["space"] = constants(params)
    parts = assemble(raw, problems, own.paths)
    adapter = None
    if wanted.from_adapter:
        adapter = own.adapter(trial)
        adapters = adapters_of(parts.kind, raw["trainer"].get("_target_"))
        _refuse_other_shape(spec.recipe, parts.recipe, adapters.fixed)
    given = GivenTrial(params, parts.recipe, spec.seed, adapter)
    of = own.of(trial=trial.id, adapter=wanted.from_adapter)
    return replace(parts, given=GivenTrials([given], parts.kind.target, of))


def _refuse_other_shape(old: Mapping[str, Any], new: Mapping[str, Any], fixed: Sequence[str]) -> None:
    changes = [
        (key, was, now)
        for key, was, now in differences(old, new)
        if any(f"{key}.".startswith(f"{name}.") for name in fixed)
    ]
    if changes:
        raise InputError(
            [(key, f"the adapter was trained with {was!r}, got {now!r}") for key, was, now in changes],
            hint="without --from-adapter it is trained from scratch",
        )


def _as_it_ran(own: SourceStudy, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The study's configuration with the recipe that a trial ran: its parameters applied, paths absolute."""
    groups = {name: recipe[name] for name in RECIPE_GROUPS}
    return {**own.raw, **with_targets(own.raw, groups)}


def _now(raw: Mapping[str, Any], trial: Trial) -> dict[str, ParamValue]:
    """The trial's parameters with the values that they have in a configuration."""
    found: dict[str, ParamValue] = {}
    for name, value in trial.params.items():
        place: Any = raw
        for key in key_path(name, raw):
            place = place.get(key) if isinstance(place, Mapping) else None
        found[name] = place if isinstance(place, str | int | float) else value
    return found


def _show(own: SourceStudy, trial: Trial, parts: Assembly, console: Console, headline: str) -> None:
    study = load_study(parts.paths.journal)
    trained = study.trials[FIRST]
    console.print(f"\n{headline} ({study.finished})", style="bold", highlight=False)
    if trained.state is not TrialState.COMPLETED:
        console.print(
            f"the training has {trained.state.value} ({trained.cause}): {trained.message}\n"
            f"`frontrunner retry {parts.paths.folder}` gives it another attempt",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name, objective in parts.objectives.items():
        table.add_column(f"{name} ({objective.direction})", justify="right")
    rows = {f"trial {trial.id} of {own.study.name}": trial, parts.paths.name: trained}
    for label, one in rows.items():
        table.add_row(label, *(metric_text(one, name) for name in parts.objectives))
    if study.baseline:
        known = [number(study.baseline[name]) if name in study.baseline else "" for name in parts.objectives]
        table.add_row("untuned", *known)
    console.print(table)
    adapter = parts.paths.trial(FIRST).adapter
    if adapter.exists():
        console.print(f"adapter   {adapter}", highlight=False, soft_wrap=True)


def _merge(
    own: SourceStudy, trial: Trial, overrides: Sequence[str], config_dir: str | None, console: Console
) -> int:
    spec, adapter = own.spec(trial), own.adapter(trial)
    folder = own.paths.folder / "merged" / trial.id
    changes = {
        "study": {"root": str(folder.parent), "name": folder.name},
        "budget": {"trials": 1},
        "batch": {"size": 1, "refill": 1},
        "strategy": {"name": "random"},
        "space": constants({"trial": trial.id}),
        "objectives": ANY_METRIC,
    }
    raw, problems = derive(_as_it_ran(own, spec.recipe), overrides, RUNNING, config_dir, changes)
    parts = assemble(raw, problems, own.paths)
    adapters = adapters_of(parts.kind, raw["trainer"].get("_target_"))
    into = str(folder / "model")
    given = GivenTrial({"trial": trial.id}, {**parts.recipe, "merge": {"into": into}}, spec.seed, adapter)
    of = own.of(trial=trial.id, merged=True)
    objectives = parse_objectives({DIFFERENCE: "min"})
    parts = replace(parts, objectives=objectives, given=GivenTrials([given], adapters.merge_target, of))
    say = lambda line: console.print(line, markup=False)  # noqa: E731
    return run(
        parts, console, lambda: adapters.prepare(parts.recipe, parts.cache, ["16bit"], say), _show_merged
    )


def _show_merged(parts: Assembly, console: Console, headline: str) -> None:
    study = load_study(parts.paths.journal)
    merged = study.trials[FIRST]
    if merged.state is not TrialState.COMPLETED:
        raise StudyError(
            f"the weights were not merged: {merged.cause}: {merged.message}",
            hint=f"`frontrunner retry {parts.paths.folder}` gives it another attempt",
        )
    difference = merged.metrics[DIFFERENCE].value
    console.print(
        f"merged weights in {parts.paths.folder / 'model'}; their logits differ from those of base model and "
        f"adapter by {difference:.1e} of the logits' spread",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
