"""Optimisers behind one interface: ask for a batch, tell values or a failure, attach what was not asked for.

Each is set up as its own users would, with an initial design of `initial` points of its own; where its
defaults do not fit the protocol, the class says what was set. Packages are imported when one is made.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol, TypeGuard

from benchmarks.problems import Dimension, Problem, Values
from hpo.space.space import Choice, Float, Integer

Params = Mapping[str, float | int | str]


@dataclass(frozen=True)
class Asked:
    """A proposal, with what its optimiser knows it by."""

    params: dict[str, Any]
    token: Any = None


class Peer(Protocol):
    """What the benchmark needs of an optimiser."""

    def ask(self, count: int) -> list[Asked]:
        """Proposals to evaluate side by side; fewer where it has no more."""

    def tell(self, asked: Asked, values: Values) -> None:
        """The result of a proposal."""

    def tell_failure(self, asked: Asked) -> None:
        """A proposal gave no value."""

    def attach(self, params: Params, values: Values | None) -> None:
        """The result, or the failure, of a configuration that was not asked for."""


class Ours:
    """This project's strategies."""

    def __init__(self, problem: Problem, strategy: str, seed: int, initial: int) -> None:
        from hpo.optimizer import Optimizer

        settings: dict[str, Any] = {"initial": initial} if strategy == "bo" else {}
        self._objectives = problem.objectives
        directions = dict.fromkeys(problem.objectives, "min")
        space = {**problem.space, "conditions": problem.conditions}
        self._optimizer = Optimizer(space, directions, strategy, seed, **settings)

    def ask(self, count: int) -> list[Asked]:
        """Proposals."""
        return [Asked(params) for params in self._optimizer.ask(count)]

    def tell(self, asked: Asked, values: Values) -> None:
        """A result."""
        self._optimizer.tell(asked.params, dict(zip(self._objectives, values, strict=True)))

    def tell_failure(self, asked: Asked) -> None:
        """A failure."""
        self._optimizer.tell_failure(asked.params)

    def attach(self, params: Params, values: Values | None) -> None:
        """Told as if asked for, without what is inactive."""
        space = self._optimizer.space
        asked = Asked(space.from_unit(space.to_unit(params)) if space.conditions else dict(params))
        if values is None:
            self.tell_failure(asked)
        else:
            self.tell(asked, values)


class Optuna:
    """Optuna's samplers. An ordered choice is the number of its value, as Optuna has no ordered categories.

    NSGA-II gets a population of `initial`: with its default of 50 it would not have evolved by trial 50.
    A failing trial is told the state FAIL.
    """

    def __init__(self, problem: Problem, sampler: str, seed: int, initial: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        samplers = optuna.samplers
        makers: dict[str, Callable[[], Any]] = {
            "gp": lambda: samplers.GPSampler(seed=seed, n_startup_trials=initial),
            "tpe": lambda: samplers.TPESampler(seed=seed, n_startup_trials=initial, multivariate=False),
            "tpe_multivariate": lambda: samplers.TPESampler(
                seed=seed, n_startup_trials=initial, multivariate=True
            ),
            "nsga2": lambda: samplers.NSGAIISampler(seed=seed, population_size=initial),
        }
        self._optuna = optuna
        self._space = problem.space
        self._distributions = {
            name: self._distribution(dimension) for name, dimension in problem.space.items()
        }
        self.study = optuna.create_study(
            directions=["minimize"] * len(problem.objectives), sampler=makers[sampler]()
        )

    def _distribution(self, dimension: Dimension) -> Any:
        kinds = self._optuna.distributions
        if isinstance(dimension, Float):
            return kinds.FloatDistribution(
                dimension.low, dimension.high, log=dimension.log, step=dimension.step
            )
        if isinstance(dimension, Integer):
            return kinds.IntDistribution(
                dimension.low, dimension.high, log=dimension.log, step=dimension.step
            )
        if dimension.ordered:
            return kinds.IntDistribution(0, dimension.levels - 1)
        return kinds.CategoricalDistribution(dimension.values)

    def ask(self, count: int) -> list[Asked]:
        """Trials that are running until told."""
        trials = [self.study.ask(self._distributions) for _ in range(count)]
        return [Asked(self._named(trial.params), trial) for trial in trials]

    def _named(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: dimension.level(params[name]) if _is_ordered(dimension) else params[name]
            for name, dimension in self._space.items()
        }

    def numbered(self, params: Params) -> dict[str, Any]:
        """A configuration as Optuna has it."""
        return {
            name: dimension.values.index(params[name]) if _is_ordered(dimension) else params[name]
            for name, dimension in self._space.items()
        }

    def tell(self, asked: Asked, values: Values) -> None:
        """A result."""
        self.study.tell(asked.token, list(values))

    def tell_failure(self, asked: Asked) -> None:
        """The state FAIL."""
        self.study.tell(asked.token, state=self._optuna.trial.TrialState.FAIL)

    def attach(self, params: Params, values: Values | None) -> None:
        """`add_trial`, complete or failed."""
        states = self._optuna.trial.TrialState
        trial = self._optuna.trial.create_trial(
            state=states.FAIL if values is None else states.COMPLETE,
            params=self.numbered(params),
            distributions=self._distributions,
            values=values,
        )
        self.study.add_trial(trial)


def _is_ordered(dimension: Dimension) -> TypeGuard[Choice]:
    return isinstance(dimension, Choice) and dimension.ordered


class Ax:
    """Ax's client with the method `fast`, its default; the first point of its design is the centre.

    A failing trial is marked failed, which its model does not see.
    """

    def __init__(self, problem: Problem, _: str, seed: int, initial: int) -> None:
        from ax.api.client import Client

        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        self._objectives = problem.objectives
        self._space = problem.space
        self._client = Client(random_seed=seed)
        self._client.configure_experiment(
            [_ax_parameter(name, dimension) for name, dimension in problem.space.items()]
        )
        self._client.configure_optimization(", ".join(f"-{name}" for name in problem.objectives))
        self._client.configure_generation_strategy(
            initialization_budget=initial, initialization_random_seed=seed
        )

    @property
    def experiment(self) -> Any:
        """Ax's own, which its client shows to no one."""
        return self._client._experiment

    def ask(self, count: int) -> list[Asked]:
        """Trials that are running until told; the first ask after the initial design gives one at a time."""
        trials: dict[int, Any] = {}
        while len(trials) < count and (more := self._client.get_next_trials(count - len(trials))):
            trials |= more
        return [Asked(self._typed(params), index) for index, params in trials.items()]

    def _typed(self, params: Params) -> dict[str, Any]:
        return {
            name: int(params[name]) if isinstance(dimension, Integer) else params[name]
            for name, dimension in self._space.items()
        }

    def tell(self, asked: Asked, values: Values) -> None:
        """A result, its noise unknown."""
        self._client.complete_trial(asked.token, dict(zip(self._objectives, values, strict=True)))

    def tell_failure(self, asked: Asked) -> None:
        """The trial has failed."""
        self._client.mark_trial_failed(asked.token)

    def attach(self, params: Params, values: Values | None) -> None:
        """`attach_trial`, then its result."""
        asked = Asked(dict(params), self._client.attach_trial(dict(params)))
        if values is None:
            self.tell_failure(asked)
        else:
            self.tell(asked, values)


def _ax_parameter(name: str, dimension: Dimension) -> Any:
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

    if isinstance(dimension, Choice):
        kind = type(dimension.values[0]).__name__  # str, int, float or bool, as Ax names them
        return ChoiceParameterConfig(name, list(dimension.values), kind, is_ordered=dimension.ordered)
    return RangeParameterConfig(
        name,
        (dimension.low, dimension.high),
        "int" if isinstance(dimension, Integer) else "float",
        step_size=None if dimension.step in (None, 1) else dimension.step,
        scaling="log" if dimension.log else "linear",
    )


class Smac:
    """SMAC's random forest facade, with its own ParEGO for several objectives.

    It retrains once a batch (its default is every 8 trials) and evaluates nothing twice (`deterministic`). A
    failing trial is CRASHED, at the worst cost told so far of each objective: its own crash cost, infinity,
    stops it. Failures before the first result wait for that result.
    """

    def __init__(self, problem: Problem, _: str, seed: int, initial: int) -> None:
        from smac import HyperparameterOptimizationFacade as Facade
        from smac import Scenario
        from smac.multi_objective.parego import ParEGO

        self._space = problem.space
        self._directory = tempfile.TemporaryDirectory()
        scenario = Scenario(
            self._configuration_space(seed),
            objectives=list(problem.objectives) if len(problem.objectives) > 1 else problem.objectives[0],
            deterministic=True,
            n_trials=100_000,  # the benchmark stops it
            output_directory=self._directory.name,
            seed=seed,
        )
        self._smac = Facade(
            scenario,
            target_function=_never,
            initial_design=Facade.get_initial_design(scenario, n_configs=initial, max_ratio=1.0),
            multi_objective_algorithm=ParEGO(scenario) if len(problem.objectives) > 1 else None,
            config_selector=Facade.get_config_selector(scenario, retrain_after=4),
            logging_level=False,
            overwrite=True,
        )
        self._worst: list[float] = []
        self._waiting: list[Any] = []

    def _configuration_space(self, seed: int) -> Any:
        from ConfigSpace import ConfigurationSpace

        space = ConfigurationSpace(seed=seed)
        space.add([_smac_parameter(name, dimension) for name, dimension in self._space.items()])
        return space

    def ask(self, count: int) -> list[Asked]:
        """Trials that are running until told."""
        infos = [self._smac.ask() for _ in range(count)]
        return [Asked(self._named(dict(info.config)), info) for info in infos]

    def _named(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: _plain(dimension.level(params[name]) if isinstance(dimension, Integer) else params[name])
            for name, dimension in self._space.items()
        }

    def tell(self, asked: Asked, values: Values) -> None:
        """A result."""
        from smac.runhistory.enumerations import StatusType

        self._worst = [max(pair) for pair in zip(self._worst or values, values, strict=True)]
        self._tell(asked.token, list(values), StatusType.SUCCESS)
        for token in self._waiting:
            self._tell(token, self._worst, StatusType.CRASHED)
        self._waiting.clear()

    def tell_failure(self, asked: Asked) -> None:
        """Crashed, at the worst cost so far."""
        from smac.runhistory.enumerations import StatusType

        if self._worst:
            self._tell(asked.token, self._worst, StatusType.CRASHED)
        else:
            self._waiting.append(asked.token)

    def _tell(self, info: Any, cost: Sequence[float], status: Any) -> None:
        from smac.runhistory.dataclasses import TrialValue

        costs = list(cost) if len(cost) > 1 else cost[0]
        self._smac.tell(info, TrialValue(cost=costs, time=1.0, status=status), save=False)

    def attach(self, params: Params, values: Values | None) -> None:
        """Told as if asked for, which SMAC allows."""
        from ConfigSpace import Configuration
        from smac.runhistory.dataclasses import TrialInfo

        numbered = {
            name: (int(params[name]) - dimension.low) // dimension.step
            if isinstance(dimension, Integer)
            else params[name]
            for name, dimension in self._space.items()
        }
        info = TrialInfo(Configuration(self._smac.scenario.configspace, values=numbered), seed=0)
        asked = Asked(dict(params), info)
        if values is None:
            self.tell_failure(asked)
        else:
            self.tell(asked, values)


def _never(config: Any, seed: int = 0) -> float:
    raise AssertionError("the benchmark evaluates; SMAC is only asked and told")


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _smac_parameter(name: str, dimension: Dimension) -> Any:
    """ConfigSpace has no integers with a step: the number of the value stands for it."""
    import ConfigSpace

    if isinstance(dimension, Float):
        return ConfigSpace.Float(name, (dimension.low, dimension.high), log=dimension.log)
    if isinstance(dimension, Integer):
        return ConfigSpace.Integer(name, (0, dimension.levels - 1))
    if dimension.ordered:
        return ConfigSpace.OrdinalHyperparameter(name, dimension.values)
    return ConfigSpace.CategoricalHyperparameter(name, dimension.values)


_Maker = Callable[[Problem, str, int, int], Peer]
_MAKERS: dict[str, tuple[_Maker, str, str]] = {  # name -> class, which of its strategies, package
    "ours": (Ours, "bo", "frontrunner"),
    "old": (Ours, "bo", "frontrunner"),  # of another checkout
    "right_belief": (Ours, "bo", "frontrunner"),
    "wrong_belief": (Ours, "bo", "frontrunner"),
    "ax": (Ax, "", "ax-platform"),
    "optuna_gp": (Optuna, "gp", "optuna"),
    "optuna_tpe_multivariate": (Optuna, "tpe_multivariate", "optuna"),
    "optuna_tpe": (Optuna, "tpe", "optuna"),
    "optuna_nsga2": (Optuna, "nsga2", "optuna"),
    "smac": (Smac, "", "smac"),
    "sobol": (Ours, "sobol", "frontrunner"),
    "random": (Ours, "random", "frontrunner"),
}
PEERS = tuple(_MAKERS)
BELIEVERS = {"right_belief": "best", "wrong_belief": "worst"}  # see benchmarks.beliefs
COMPARED = tuple(name for name in PEERS if name not in BELIEVERS)
MODEL_BASED = ("ours", "old", "ax", "optuna_gp", "optuna_tpe_multivariate", "smac")


def make_peer(name: str, problem: Problem, seed: int, initial: int = 10) -> Peer:
    """The optimiser of a name of `PEERS`.

    Raises:
        ImportError: its package is not installed (`make benchmark` installs it).
    """
    maker, strategy, _ = _MAKERS[name]
    return maker(problem, strategy, seed, initial)


def peer_version(name: str) -> str:
    """The version of an optimiser's package, empty where it is not installed."""
    try:
        return version(_MAKERS[name][2])
    except PackageNotFoundError:
        return ""
