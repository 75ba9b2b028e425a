"""Small studies made out of a study: what `train`, its merging, and `evaluate` have in common.

A derived study has a folder, a journal and a controller of its own. Its trials are given, not searched for;
everything else, from exact-once submission to resuming, is that of any study.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rich.console import Console

from hpo.commands.tune import configured, drive, refuse_foreign_folder, refuse_impossible, refuse_silent
from hpo.controller.assembly import Assembly
from hpo.controller.compose import override_config, whole_cluster
from hpo.controller.config import RECIPE_GROUPS, StudyConfig
from hpo.controller.targets import named_by_user, programs, refuse_unknown_targets
from hpo.errors import InputError, Problem
from hpo.paths import StudyPaths
from hpo.ports import Adapters, TrialKind
from hpo.records import TrialSpec
from hpo.study.journal import load_study
from hpo.study.kept_adapters import use
from hpo.study.lease import HeldLease, refuse_second_controller
from hpo.study.state import Study, Trial, TrialState
from hpo.study.store import (
    create_study,
    differences,
    find_study,
    mend_configuration,
    read_configuration,
    refuse_unwritable,
    set_umask,
)
from hpo.study.trust import refuse_foreign

ADAPTER = "adapter_config.json"  # as peft writes it
ANY_METRIC = {"eval_loss": "min"}  # an objective that every trial with an adapter can be assembled with


@dataclass(frozen=True)
class SourceStudy:
    """The study that something is derived from."""

    paths: StudyPaths
    study: Study
    raw: Mapping[str, Any]  # its configuration, with the settings that it has now

    def trial(self, name: str, option: str = "--trial") -> Trial:
        """A completed trial.

        Args:
            name: its id.
            option: that named it.

        Raises:
            InputError: there is none of this id, or it has not completed.
        """
        trial = self.study.trials.get(name)
        if trial is None or trial.state is not TrialState.COMPLETED:
            got = f"no trial {name!r}" if trial is None else f"trial {name} is {_state(trial)}"
            raise InputError(
                f"{option}: {got} in study {self.study.name}: expected a completed one: {self.completed}"
            )
        return trial

    @property
    def completed(self) -> str:
        """The ids of the completed trials, as text."""
        ids = [trial.id for trial in self.study.in_state(TrialState.COMPLETED)]
        shown = ", ".join(ids[:20]) + (f" ... {ids[-1]}" if len(ids) > 20 else "")
        return shown or "there are none yet"

    @property
    def kept(self) -> str:
        """The ids of the completed trials whose adapters were not deleted, as text."""
        completed = self.study.in_state(TrialState.COMPLETED)
        return ", ".join(trial.id for trial in completed if not trial.adapter_deleted)[:200] or "none"

    def spec(self, trial: Trial) -> TrialSpec:
        """What a trial ran."""
        return TrialSpec.read(self.paths.trial(trial.id).spec)

    def adapter(self, trial: Trial) -> str:
        """The folder of a trial's adapter.

        Raises:
            InputError: it has none, or it was deleted.
        """
        folder = self.paths.trial(trial.id).adapter
        if not use(self.paths, trial):
            raise InputError(
                f"the adapter of trial {trial.id} of study {self.study.name} was deleted, as "
                f"study.keep_adapters said: {self.study.name} keeps those of {self.kept}",
                hint=f"`train {self.study.name} --trial {trial.id}` without --from-adapter trains it again",
            )
        if not (folder / ADAPTER).is_file():
            raise InputError(
                f"trial {trial.id} of study {self.study.name} has no adapter: expected {folder / ADAPTER}",
                hint="trials of trainer=qlora leave one; `train` without --from-adapter needs none",
            )
        return str(folder)

    def of(self, **more: Any) -> dict[str, Any]:
        """Where a derived study comes from, as its identity records it."""
        return {"study": self.study.name, "uid": self.study.uid, **more}


def _state(trial: Trial) -> str:
    return "not finished" if trial.state in (TrialState.OPEN, TrialState.INTERRUPTED) else trial.state.value


def source(name: str, root: Path) -> SourceStudy:
    """Find a study to derive from.

    Raises:
        InputError: there is none of this name, or it is somebody else's.
    """
    paths = find_study(name, root)
    study, whole = load_study(paths.journal), read_configuration(paths)["config"]
    refuse_foreign(paths, programs(whole))
    # Hydra is to compose it anew: keys of Hydra's own, such as `defaults`, would be obeyed
    raw = {own.name: whole[own.name] for own in fields(StudyConfig) if own.name in whole}
    now = {"cluster": whole_cluster(study.settings.get("cluster", raw["cluster"]))}
    recipe = {name: group for name in RECIPE_GROUPS if (group := study.identity.get(name))}  # paths absolute
    return SourceStudy(paths, study, {**raw, **now, **with_targets(raw, recipe)})


def with_targets(raw: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The groups of a recipe as a configuration has them: with the key that says which object reads one."""
    targets = {name: {key: raw[name][key] for key in ("_target_",) if key in raw[name]} for name in recipe}
    return {name: {**targets[name], **group} for name, group in recipe.items()}


def adapters_of(kind: TrialKind, trainer: Any) -> Adapters:
    """What can be done with the adapters of a kind of trial.

    Raises:
        InputError: its trials leave none.
    """
    found: Adapters | None = getattr(kind, "adapters", None)
    if found is None:
        raise InputError(
            [("trainer._target_", f"expected trials that leave an adapter (trainer=qlora), got {trainer}")]
        )
    return found


def derive(
    base: Mapping[str, Any],
    overrides: Sequence[str],
    allowed: Sequence[str],
    config_dir: str | None,
    changes: Mapping[str, Any],
) -> tuple[dict[str, Any], list[Problem]]:
    """The configuration of a derived study.

    Args:
        base: that of the source, changed as need be.
        overrides: by the user.
        allowed: the groups and keys that they may touch.
        config_dir: with configuration groups of the user's own.
        changes: `study`, `budget` and other groups, merged key by key; `space` and `objectives` are replaced.

    Returns:
        The configuration, and a problem for each override that does not apply.

    Raises:
        InputError: the source names an executor or trial kind that neither we nor the user do.
    """
    fits = {text: text.lstrip("+~").partition("=")[0].split(".")[0].split("@")[0] for text in overrides}
    problems = [
        (text.partition("=")[0], f"cannot be changed here: expected a key of {', '.join(allowed)}")
        for text, group in fits.items()
        if group not in allowed
    ]
    raw, refused = override_config(base, [text for text in overrides if fits[text] in allowed], config_dir)
    raw["controller"] = {**raw["controller"], "propose_on": "login", "chain": False}
    raw["study"] = {**raw["study"], "enqueue": [], "known": [], "related": [], "keep_adapters": "all"}
    raw["budget"] = {**raw["budget"], "gpu_hours": None, "wall_hours": None}
    for group, values in changes.items():
        whole = group in ("space", "objectives", "strategy")
        raw[group] = dict(values) if whole else {**raw[group], **values}
    refuse_unknown_targets(raw, named_by_user(overrides, config_dir))
    return raw, [*problems, *refused]


def constants(values: Mapping[str, Any]) -> dict[str, Any]:
    """A search space in which nothing varies and nothing is a key of the recipe, which has it all already."""
    return {name: {"type": "constant", "value": value, "auxiliary": True} for name, value in values.items()}


def run(
    parts: Assembly,
    console: Console,
    prepare: Callable[[], None],
    show_end: Callable[[Assembly, Console, str], None],
) -> int:
    """Drive a derived study to its end, or show it where it is complete.

    Args:
        parts: with the trials that are given.
        console: where to show it.
        prepare: puts into the cache what the trials need.
        show_end: shows the result; called with a headline.

    Returns:
        0, 1 where a trial has failed, 3 when interrupted.

    Raises:
        FrontrunnerError: its folder belongs to something else (2), or it cannot go on (1).
    """
    set_umask(parts.config.study.umask)
    paths, given = parts.paths, parts.given
    assert given is not None
    if paths.journal.exists():
        refuse_foreign(paths)  # what its trials are to run stands in its files
        study = load_study(paths.journal)
        _refuse_other(parts, study)
        mend_configuration(paths, parts.raw, parts.identity)
        if study.finished and not given.missing(study):
            show_end(parts, console, f"{paths.name} is complete; nothing to do")
            return _exit_code(study)
        refuse_second_controller(paths.controller)
    elif paths.folder.exists():
        refuse_foreign_folder(paths)
    else:
        refuse_silent(parts)
        refuse_unwritable(paths.folder.parent)
        refuse_impossible(parts, len(given.trials))
    for line in programs(parts.raw):
        console.print(f"runs, as the study's configuration says: {line}", markup=False, highlight=False)
    prepare()
    if not paths.journal.exists():
        create_study(paths, parts.raw, parts.identity, {**configured(parts), "earlier": {}})
    with HeldLease(paths.controller) as lease:
        code = drive(parts, lease, console, show_end)
    return code or _exit_code(load_study(paths.journal))


def _refuse_other(parts: Assembly, study: Study) -> None:
    changes = list(differences(study.identity, parts.identity))
    if changes:
        where = f"{parts.paths.name} ({parts.paths.folder})"
        raise InputError(
            [(key, f"{where} has {old!r}, got {new!r}") for key, old, new in changes],
            hint="--name ANOTHER starts another one",
        )


def _exit_code(study: Study) -> int:
    return 1 if study.in_state(TrialState.FAILED, TrialState.CANCELLED) else 0
