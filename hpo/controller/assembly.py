"""A study's parts built from its configuration, with every problem of all of them reported together."""

from __future__ import annotations

import importlib
import inspect
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ValidationError

from hpo.controller.batch_sizes import BatchSizes, batch_sizes
from hpo.controller.config import RECIPE_GROUPS, StudyConfig, StudySettings, read_config, without_target
from hpo.controller.given_trials import GivenTrials
from hpo.controller.groups import CONF
from hpo.controller.limits import Limits, scancels_allowed
from hpo.controller.proposer import Proposer, SearchProposer, enqueued_params
from hpo.errors import InputError, Problem
from hpo.fidelity.settings import GAIN, fidelity_problems
from hpo.forecasts.cards import card_rates
from hpo.forecasts.memory import Forecaster
from hpo.objectives import Objective, describe_objectives, parse_objectives
from hpo.optimizer import Optimizer
from hpo.paths import StudyPaths, cache_root
from hpo.ports import Executor, TrialKind
from hpo.records import Cause, ParamValue
from hpo.space.extremes import extreme_values
from hpo.space.space import SearchSpace, parse_space
from hpo.study.journal import load_study
from hpo.study.recipe import apply_params, completed, key_path, unknown_names, without_later
from hpo.study.state import Study
from hpo.study.store import identity
from hpo.study.warm_start import gather
from hpo.validation import problems_of, strategy_settings

GPUS = ["trainer", "gpus"]
GROUPS = (*RECIPE_GROUPS, "study", "space", "objectives", "strategy", "cluster")


@dataclass(frozen=True)
class Assembly:
    """A study ready to be driven, planned or examined; nothing has been written or submitted."""

    config: StudyConfig
    raw: Mapping[str, Any]
    space: SearchSpace
    objectives: Mapping[str, Objective]
    kind: TrialKind
    executor: Executor
    recipe: Mapping[str, Any]  # resolved: paths absolute
    cache: str
    given: GivenTrials | None = None  # trials that were decided on beforehand, in place of a search

    @property
    def paths(self) -> StudyPaths:
        """The study's files."""
        return paths_of(self.config)

    @property
    def identity(self) -> dict[str, Any]:
        """What may not change while the study goes on."""
        described = describe_objectives(self.objectives)
        own = self.config.study
        same = {name: names for name in ("known", "related") if (names := getattr(own, name))}
        if self.given:
            same["of"] = self.given.of
        return identity(
            self.space.describe(beliefs=False), described, self.recipe, {"seed": own.seed, **same}
        )

    @property
    def target(self) -> str:
        """`module:function` that runs a trial."""
        return self.given.target if self.given else self.kind.target

    def earlier(self) -> dict[str, Any]:
        """What earlier studies found; see `hpo.study.warm_start.gather`.

        Raises:
            InputError: a study that is not there or does not fit.
        """
        own = self.config.study
        named = {"known": own.known, "related": own.related}
        return dict(gather(named, Path(own.root), self.space, self.objectives))

    @property
    def settings(self) -> dict[str, Any]:
        """What may change while the study goes on, as the journal records it."""
        names = ("budget", "batch", "strategy", "cluster", "cost")
        found = {name: self.raw[name] for name in names} | {"executor": self.executor.name}
        batch = self.batch
        numbers: dict[str, Any] = {"batch": {"size": batch.size, "refill": batch.refill}}
        numbers["fidelity"] = asdict(self.config.fidelity)
        return found | numbers | ({"batch_auto": batch.why} if batch.why else {})

    @cached_property
    def batch(self) -> BatchSizes:
        """How many trials are in flight; a site that decides it is asked by each controller anew."""
        return batch_sizes(self.config.batch, self.executor.room)

    @property
    def poll_s(self) -> float:
        """Seconds between two looks at the scheduler."""
        return self.config.controller.poll_seconds or self.executor.traits["poll_s"]

    @property
    def limits(self) -> Limits:
        """Budget, batch sizes and retry budgets."""
        config, gone_s = self.config, self.config.controller.gone_seconds
        traits = self.executor.traits
        identical = config.controller.identical_errors
        scancels, again = scancels_allowed(config.cluster.get("on_scancel"), self.batch.size, identical)
        return Limits(
            trials=config.budget.trials,
            wall_hours=config.budget.wall_hours,
            gpu_hours=config.budget.gpu_hours,
            settle=config.budget.settle,
            least_gain=config.budget.least_gain,
            batch_size=self.batch.size,
            refill=self.batch.refill,
            identical_errors=identical,
            node_failures=config.controller.node_failures,
            submit_tries=config.controller.submit_tries,
            gone_s=traits["gone_s"] if gone_s is None else gone_s,
            retries={**asdict(config.controller.retries), Cause.CANCELLED.value: again},
            scancels=scancels,
            max_parallel=config.cluster.get("max_parallel") if traits["keeps_max_parallel"] else None,
            auto_time_limit=config.cluster.get("time_limit") == "auto",
            keep_adapters=config.study.keep_adapters,
            measures=bool(config.fidelity.shares),
            reduction=None if config.fidelity.stopping == "none" else config.fidelity.reduction,
            risk=config.fidelity.risk if config.fidelity.stopping == GAIN else None,
            propose_on_job=config.controller.propose_on == "job",
        )

    def proposer(self) -> Proposer:
        """What makes the specs of the next trials."""
        if self.given:
            return self.given.proposer(list(self.objectives), self.cache, self.config.tracking)
        return SearchProposer(
            space=self.space,
            objectives=self.objectives,
            strategy=self.config.strategy,
            recipe=self.recipe,
            seed=self.config.study.seed,
            enqueue=list(self.config.study.enqueue),
            cache=self.cache,
            forecaster=self.forecaster(),
            tracking=self.config.tracking,
            early=self.config.fidelity.in_spec,
            weighs=self.config.budget.settle is not None,
        )

    def forecaster(self) -> Forecaster:
        """What foretells the memory and the time of trials."""
        cluster = self.config.cluster
        rates = card_rates(cluster.get("gpu_tflops"), card_names(self.raw))
        return Forecaster(self.kind, self.space, self.recipe, self.cache, cluster.get("gpu_memory_gb"), rates)


def paths_of(config: StudyConfig) -> StudyPaths:
    """The files of the study that a configuration names."""
    return StudyPaths(Path(config.study.root).resolve() / config.study.name)


def assemble(raw: Mapping[str, Any], problems: list[Problem], source: StudyPaths | None = None) -> Assembly:
    """Build a study's parts.

    Args:
        raw: the composed configuration.
        problems: those found while composing; reported with the others.
        source: the study that this one is made out of.

    Raises:
        InputError: with every problem of the configuration, by key path.
    """
    found = list(problems)
    config, own = read_config(raw)
    found += own
    if any(not isinstance(raw.get(group), Mapping) for group in GROUPS):
        raise InputError(_unique(found))  # nothing else can be said of it
    space = _collect(found, lambda: parse_space(raw["space"]))
    objectives = _collect(found, lambda: parse_objectives(raw["objectives"]))
    kind = cast(TrialKind | None, _collect(found, lambda: _target(raw, "trainer")()))
    places = [paths for paths in (config and paths_of(config), source) if paths]
    executor = cast(Executor | None, _collect(found, lambda: executor_of(raw, places)))
    if executor:
        _collect(found, lambda: card_rates(raw["cluster"].get("gpu_tflops"), card_names(raw)))
    recipe: dict[str, Any] = {name: without_target(raw[name]) for name in RECIPE_GROUPS}
    if kind:
        found += _recipe_problems(_Look(kind, card_names(raw)), recipe, space, objectives)
    if space is not None and objectives:
        found += _strategy_problems(raw, space, objectives)
    if config and kind and space is not None and objectives and not found:
        strategy = str(config.strategy.get("name"))
        ends = extreme_values(space)
        found += fidelity_problems(config.fidelity, kind, recipe, ends, list(objectives), strategy)
        if config.fidelity.stopping == GAIN and config.controller.propose_on == "job":
            text = (
                "got gain with controller.propose_on=job: what going on is worth is weighed in the controller"
            )
            found.append(("fidelity.stopping", f"{text}, expected asha, none, or propose_on=login"))
    if config and space is not None:
        found += _enqueued_problems(config.study, space)
    if config:
        found += config.tracking.problems(elsewhere=config.cluster.get("python") is not None)
    tuned = [name for name in space.parameters if key_path(name, recipe) == GPUS] if space else []
    found += [
        (f"space.{name}", "expected no parameter: the trials of an array get the same") for name in tuned
    ]
    if config and config.controller.chain and executor and not executor.traits["follows"]:
        found.append(
            (
                "controller.chain",
                f"got true: {executor.traits['runs_as']} cannot follow one another (cluster=slurm)",
            )
        )
    if found or not (config and space is not None and objectives and kind and executor):
        hinted = any("hint: " in text for _, text in found)
        raise InputError(
            _unique(found), hint="" if hinted else "`frontrunner tune --help` explains overrides"
        )
    cached = str(Path(config.cache).expanduser().resolve() if config.cache else cache_root())
    resolved = without_later(kind.resolve(recipe), later_keys())
    return Assembly(config, raw, space, objectives, kind, executor, resolved, cached)


@cache
def later_keys() -> Mapping[str, Mapping[str, Any]]:
    """The keys of the recipe that studies from before do not have, by group."""
    text = (CONF / "later.yaml").read_text(encoding="utf-8")
    return cast(Mapping[str, Mapping[str, Any]], yaml.safe_load(text))


def _collect(problems: list[Problem], build: Any) -> Any:
    try:
        return build()
    except InputError as error:
        problems += error.problems
        return None


def _target(raw: Mapping[str, Any], group: str) -> Any:
    name = str(raw[group].get("_target_", ""))
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            [
                (
                    f"{group}._target_",
                    f"expected package.module.name of an importable object, got {name!r}: {error}",
                )
            ]
        ) from error


def gpus_of(raw: Mapping[str, Any]) -> int | None:
    """GPUs of each trial: what the trainer's key `gpus` says; None where it has none."""
    gpus = raw["trainer"].get("gpus")
    return gpus if isinstance(gpus, int) and gpus >= 1 else None  # else the trainer complains


def _begun(places: Sequence[StudyPaths]) -> Study | None:
    """The first of these studies that is there."""
    there = next((paths.journal for paths in places if paths.journal.exists()), None)
    return load_study(there) if there else None


def _begun_with(places: Sequence[StudyPaths]) -> str:
    """The executor that the first of these studies that is there was begun with; "" for none."""
    study = _begun(places)
    return str(study.settings.get("executor") or "") if study else ""


def _last_at(places: Sequence[StudyPaths]) -> float:
    """Seconds since the epoch: now, or the last event of the first of these that is there, if later."""
    study = _begun(places)
    return max(time.time(), datetime.fromisoformat(study.last_at).timestamp() if study else 0.0)


def executor_of(raw: Mapping[str, Any], places: Sequence[StudyPaths] = ()) -> Executor:
    """The executor of a configuration.

    Args:
        raw: a composed configuration, of which only `cluster` and `trainer.gpus` are read: tasks of a study
            can be stopped with what an earlier version of this program wrote.
        places: the study, and what it is made out of: a builder with an argument `executor` is told with
            which they were begun, as it would otherwise choose by what it sees today; one with `begin`, whose
            clock is its own, from when on it goes.

    Raises:
        InputError: with every problem of `cluster`, by key path.
    """
    build = _target(raw, "cluster")
    settings = without_target(raw["cluster"])
    if "gpus" in settings:
        raise InputError([("cluster.gpus", "there is no such key; set trainer.gpus")])
    try:
        asked = inspect.signature(build).parameters
        if "executor" in asked:
            settings["executor"] = _begun_with(places) or None
        if "begin" in asked:
            settings["begin"] = _last_at(places)
        return cast(Executor, build(**settings, gpus=gpus_of(raw)))
    except ValidationError as error:
        raise InputError(problems_of(error, "cluster")) from error
    except TypeError as error:
        raise InputError([("cluster", str(error))]) from error
    except ValueError as error:  # what this machine lacks
        key, _, text = str(error).partition(": ")
        raise InputError([(key, text)]) from error


def card_names(raw: Mapping[str, Any]) -> str:
    """What trials ask the scheduler for, as far as it may name a card."""
    return " ".join(str(raw["cluster"].get(key) or "") for key in ("gres", "constraint"))


@dataclass(frozen=True)
class _Look:
    """Everything that can be said of a recipe beforehand."""

    kind: TrialKind
    cards: str

    def problems(self, recipe: Mapping[str, Any]) -> list[Problem]:
        return [*self.kind.problems(recipe), *self.kind.card_problems(recipe, self.cards)]


def _recipe_problems(
    look: _Look,
    recipe: Mapping[str, Any],
    space: SearchSpace | None,
    objectives: Mapping[str, Objective] | None,
) -> list[Problem]:
    ends = extreme_values(space) if space else {}
    if space:
        always = {name: values[0] for name, values in ends.items() if name not in space.conditions}
        recipe = completed(recipe, always)
    found = look.problems(recipe)
    known = list(look.kind.metrics(recipe))
    found += [
        (f"objectives.{name}", f"expected a metric that trials report ({', '.join(known)}), got {name}")
        for name in objectives or {}
        if name not in known
    ]
    if space is not None:  # one in which nothing varies has no length
        in_recipe = [name for name, own in space.parameters.items() if not own.auxiliary]
        misplaced = unknown_names(recipe, in_recipe)
        found += misplaced or _extremes(look, recipe, ends, found)
    return found


def _extremes(
    look: _Look,
    recipe: Mapping[str, Any],
    ends: Mapping[str, Sequence[ParamValue]],
    known: list[Problem],
) -> list[Problem]:
    """Problems that only a tuned value causes, found at the ends of every parameter's range."""
    found: list[Problem] = []
    for name, values in ends.items():
        for value in values:
            problems = look.problems(apply_params(recipe, {name: value}))
            found += [
                (f"space.{name}", f"{key}: {text}") for key, text in problems if (key, text) not in known
            ]
    return found


def _strategy_problems(
    raw: Mapping[str, Any], space: SearchSpace, objectives: Mapping[str, Objective]
) -> list[Problem]:
    settings = strategy_settings(raw["strategy"])
    found: list[Problem] = []
    try:
        Optimizer(space, objectives, strategy=raw["strategy"].get("name"), seed=0, **settings)
    except InputError as error:
        found += [
            (key if key.startswith("strategy") else f"strategy.{key}", text) for key, text in error.problems
        ]
    except TypeError as error:
        found.append(("strategy", str(error)))
    return found


def _enqueued_problems(study: StudySettings, space: SearchSpace) -> list[Problem]:
    found: list[Problem] = []
    for number, params in enumerate(study.enqueue):
        try:
            enqueued_params(space, params, study.seed, number)
        except InputError as error:
            found += [(f"study.enqueue[{number}] {key}".strip(), text) for key, text in error.problems]
    return found


def _unique(problems: list[Problem]) -> list[Problem]:
    return list(dict.fromkeys(problems))
