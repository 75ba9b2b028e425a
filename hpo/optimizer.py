"""Ask and tell: what to try next, given what became of what was tried. Needs no cluster and no files.

    from hpo.optimizer import Optimizer
    optimizer = Optimizer({"learning_rate": "tag(log, interval(1e-5, 1e-3))"}, {"eval_loss": "min"})
    [params] = optimizer.ask()
    optimizer.tell(params, {"eval_loss": 1.93})

What `ask` returns is a function of the seed, the results told (in any order), the failures and the points
still pending; so an optimizer rebuilt from the same facts proposes the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo.errors import InputError, Problem
from hpo.models.history import (
    Curve,
    FeasibilityPrior,
    History,
    Observation,
    Origin,
    Proposal,
    Value,
    read_gpu_seconds,
    read_value,
)
from hpo.objectives import Objective, describe_objectives, parse_objectives
from hpo.records import SCHEMA_VERSION, Params, ParamValue
from hpo.space.space import Integer, Parameter, Point, SearchSpace, parse_space
from hpo.strategies.registry import Particular, make_strategy

if TYPE_CHECKING:
    from hpo.models.diagnostics import Diagnostics
    from hpo.models.gp import Model

__all__ = ["Optimizer", "Origin", "Proposal"]


class Optimizer:
    """Proposes configurations and learns from their results.

    Args:
        space: name -> parameter, or an expression of Hydra's sweep grammar; see
            `hpo.space.space.parse_space`.
        objectives: name -> `min` or `max`, or an `Objective` with a threshold.
        strategy: one of `hpo.strategies.registry.STRATEGIES`.
        feasibility_prior: the probability, in [0, 1], that a configuration works, as far as it can be
            foretold (peak memory against the card's, say); what is told outweighs it. Not part of `to_json`.
        settings: the strategy's, where they differ from `conf/strategy/<strategy>.yaml`.

    Raises:
        InputError: with every problem of the space, the objectives and the settings, by key path.
    """

    def __init__(
        self,
        space: Mapping[str, Parameter | str | object] | SearchSpace,
        objectives: Mapping[str, str | Objective | object],
        strategy: str = "bo",
        seed: int = 0,
        feasibility_prior: FeasibilityPrior | None = None,
        **settings: Any,
    ) -> None:
        problems: list[Problem] = []
        try:
            self.space = parse_space(space)
        except InputError as error:
            problems += error.problems
        try:
            self.objectives = parse_objectives(objectives)
        except InputError as error:
            problems += error.problems
        try:
            self._strategy = make_strategy(strategy, settings)
        except InputError as error:
            problems += error.problems
        try:
            self.seed = _whole(seed, "seed", 0)
        except InputError as error:
            problems += error.problems
        if not problems and isinstance(self._strategy, Particular):
            problems += self._strategy.problems(len(self.objectives))
        if problems:
            raise InputError(problems)
        self._feasibility_prior = feasibility_prior
        self._named = (strategy, settings)
        self._observations: list[Observation] = []
        self._failures: list[tuple[Point, str]] = []
        self._pending: list[Point] = []
        self._spent: list[Point] = []
        self._related: list[list[Observation]] = []
        self._curves: list[Curve] = []
        self._params: dict[Point, dict[str, ParamValue]] = {}  # as told: a point may differ in the last digit

    @property
    def history(self) -> History:
        """What is known; neither when it was told nor the order of the objectives is in it."""
        return History(
            self.space,
            dict(sorted(self.objectives.items())),
            self._in_order(self._observations),
            tuple(sorted(point for point, _ in self._failures)),
            tuple(sorted(self._pending)),
            tuple(sorted(self._spent)),
            self.seed,
            tuple(sorted(map(self._in_order, self._related))),
            self._feasibility_prior,
            tuple(sorted(map(self._curve_in_order, self._curves))),
        )

    def _in_order(self, observations: Iterable[Observation]) -> tuple[Observation, ...]:
        """Sorted results, their values in the order of the objectives' names."""
        turned = (
            replace(each, values=self._by_name(each.values), errors=self._by_name(each.errors))
            for each in observations
        )
        return tuple(sorted(turned, key=_order))

    def _curve_in_order(self, curve: Curve) -> Curve:
        rungs = (
            (share, self._by_name(values), self._by_name(errors)) for share, values, errors in curve.rungs
        )
        return replace(curve, rungs=tuple(rungs))

    def _by_name(self, values: tuple[float, ...]) -> tuple[float, ...]:
        """Values in the order of the objectives' names."""
        names = list(self.objectives)
        return tuple(values[place] for place in sorted(range(len(names)), key=names.__getitem__))

    def to_json(self) -> dict[str, Any]:
        """Everything that proposals depend on, as JSON values; `from_json` reads it."""
        strategy, settings = self._named
        return {
            "schema_version": SCHEMA_VERSION,
            "space": self.space.describe(),
            "objectives": describe_objectives(self.objectives),
            "strategy": {"name": strategy, **settings},
            "seed": self.seed,
            "told": [self._as_told(result) for result in self._observations],
            "failed": [{"params": self._params[point], "reason": reason} for point, reason in self._failures],
            "pending": [self._params[point] for point in self._pending],
            "spent": [self._params[point] for point in self._spent],
            "related": [[self._as_told(result) for result in study] for study in self._related],
            "curves": [self._curve_as_told(curve) for curve in self._curves],
        }

    def _curve_as_told(self, curve: Curve) -> dict[str, Any]:
        rungs = [
            [share, self._metrics(Observation(curve.point, values, errors))]
            for share, values, errors in curve.rungs
        ]
        return {"params": self._params[curve.point], "rungs": rungs}

    def _as_told(self, result: Observation) -> dict[str, Any]:
        told = {"params": self._params[result.point], "metrics": self._metrics(result)}
        return told if result.gpu_seconds is None else {**told, "gpu_seconds": result.gpu_seconds}

    def _metrics(self, result: Observation) -> dict[str, list[float | None]]:
        triples = zip(self.objectives.items(), result.values, result.errors, strict=True)
        return {
            name: [objective.minimised(value), None if math.isnan(error) else error]
            for (name, objective), value, error in triples
        }

    @classmethod
    def from_json(
        cls, record: Mapping[str, Any], feasibility_prior: FeasibilityPrior | None = None
    ) -> Optimizer:
        """Build the optimizer that `to_json` described; it proposes what that one would have.

        Raises:
            InputError: a record of a later version, or one with parts that do not fit each other.
        """
        if record.get("schema_version") != SCHEMA_VERSION:
            version = record.get("schema_version")
            raise InputError([("schema_version", f"expected {SCHEMA_VERSION}, got {version!r}")])
        settings = dict(record["strategy"])
        name = settings.pop("name")
        optimizer = cls(
            record["space"],
            record["objectives"],
            strategy=name,
            seed=record["seed"],
            feasibility_prior=feasibility_prior,
            **settings,
        )
        for told in record["told"]:
            optimizer.tell(told["params"], told["metrics"], told.get("gpu_seconds"))
        for failed in record["failed"]:
            optimizer.tell_failure(failed["params"], failed["reason"])
        for params in record["spent"]:
            optimizer.tell_nothing(params)
        for params in record["pending"]:  # last: what has ended settles a pending trial of its configuration
            optimizer.add_pending(params)
        for study in record.get("related", ()):
            optimizer.learn_from((told["params"], told["metrics"]) for told in study)
        for curve in record.get("curves", ()):
            optimizer.tell_curve(curve["params"], curve["rungs"])
        return optimizer

    def ask(self, count: int = 1) -> list[dict[str, ParamValue]]:
        """Propose configurations; they count as pending from now on. See `propose`."""
        return [proposal.params for proposal in self.propose(count)]

    def propose(self, count: int = 1) -> list[Proposal]:
        """Propose configurations together with where they came from; they count as pending from now on.

        Args:
            count: how many are wanted, at least 1.

        Returns:
            Proposals that differ from each other and from everything proposed or told, but for replicates
            where `strategy.replicates` asks for them; fewer than `count`, or none, when a grid or a finite
            space is used up.

        Raises:
            InputError: `count` is no whole number, or below 1.
        """
        count = _whole(count, "ask", 1)
        proposals = self._strategy.propose(self.history, count)
        self._pending += [self._point(proposal.params) for proposal in proposals]
        return proposals

    def add_pending(self, params: Params) -> None:
        """Count a configuration as under way: one that an earlier process proposed, or a hand-given one.

        Raises:
            InputError: it is not of the space.
        """
        self._pending.append(self._point(params))

    def tell(self, params: Params, metrics: Mapping[str, Value], gpu_seconds: float | None = None) -> None:
        """Learn a result; the configuration need not have been proposed here.

        Args:
            params: the configuration; told twice, it counts as two measurements.
            metrics: every objective's value in its own direction, or (value, standard error).
            gpu_seconds: that the trial took, above 0, where it is known; gains are divided by what is
                foretold from it where `strategy.acquisition` ends in `_per_gpu_second`.

        Raises:
            InputError: a configuration that is not of the space, an unknown or a missing objective, or a
                value that is not finite, or GPU-seconds that are none; nothing is learned then.
        """
        point = self._point(params)
        values, errors = self._values(metrics)
        spent = None if gpu_seconds is None else read_gpu_seconds(gpu_seconds)
        self._observations.append(Observation(point, values, errors, gpu_seconds=spent))
        self._settle(point)

    def learn_from(self, trials: Iterable[tuple[Params, Mapping[str, Value]]]) -> None:
        """Learn how an earlier study of this space turned out, with another model or on other data.

        Where its surrogate foretells what is told here, the search starts from it; where it does not, it is
        left aside. Results of the same task are simply told.

        Args:
            trials: configuration and metrics of each, as for `tell`; at least two.

        Raises:
            InputError: as for `tell`, or fewer than two trials; nothing is learned then.
        """
        related = []
        for params, metrics in trials:
            values, errors = self._values(metrics)
            related.append(Observation(self._point(params), values, errors))
        if len(related) < 2:
            raise InputError(
                f"learn_from: expected at least 2 trials of an earlier study, got {len(related)}"
            )
        self._related.append(related)

    def tell_curve(self, params: Params, rungs: Iterable[tuple[float, Mapping[str, Value]]]) -> None:
        """Learn what a trial measured on its way, its result among it once it has one.

        Where the strategy has a model, the ends of trials that are pending, or have ended without a result,
        are foretold from it and count with the error of the forecast. All that a trial has measured is told
        at once; the result is told by `tell` as well.

        Args:
            params: its configuration, which is pending or was told.
            rungs: (share of the full length, metrics as for `tell`); the result has share 1.

        Raises:
            InputError: as for `tell`, or shares that do not increase within (0, 1]; nothing is learned then.
        """
        point = self._point(params)
        known: list[tuple[float, tuple[float, ...], tuple[float, ...]]] = []
        try:
            pairs = [(share, metrics) for share, metrics in rungs]
        except (TypeError, ValueError) as error:
            raise InputError(f"tell_curve: expected pairs of share and metrics, got {rungs!r}") from error
        for share, metrics in pairs:
            least = known[-1][0] if known else 0.0
            if isinstance(share, bool) or not isinstance(share, Real) or not least < share <= 1.0:
                raise InputError(f"tell_curve: expected shares that increase, up to 1, got {share!r}")
            values, errors = self._values(metrics)
            known.append((float(share), values, tuple(0.0 if math.isnan(own) else own for own in errors)))
        self._curves.append(Curve(point, tuple(known)))

    def tell_failure(self, params: Params, reason: str = "") -> None:
        """Learn that a configuration cannot work: out of memory, diverged. No value is made up for it.

        Raises:
            InputError: it is not of the space.
        """
        point = self._point(params)
        self._failures.append((point, reason))
        self._settle(point)

    def tell_nothing(self, params: Params) -> None:
        """A trial ended without teaching anything (cancelled, say); its configuration is not proposed again.

        Raises:
            InputError: it is not of the space.
        """
        point = self._point(params)
        self._spent.append(point)
        self._settle(point)

    def diagnostics(self) -> dict[str, Diagnostics]:
        """How well the models foretell results left out, by objective; see `diagnostics.diagnose`."""
        from hpo.models.diagnostics import diagnose

        return diagnose(self.history)

    def model(self) -> Model:
        """What is believed of the objectives, as a fitted model of BoTorch.

        Its inputs are points of the unit cube, a column a dimension of `space.dimensions`; what
        `space.from_unit` makes of a row is a configuration, rounded where the space has steps. Its outcomes
        are in the objectives' own units, turned so that more is better, as acquisition functions maximise:
        of an objective to minimise minus its value. Where a logarithm is modelled the posterior is
        log-normal. Failures are no part of it. It is a copy, and yours.

        Returns:
            A `SingleTaskGP`; of several objectives a `ModelListGP`, in their order.

        Raises:
            FitError: no results, a space of one point, or values that no process could be fitted to.
        """
        from hpo.models.propose import fitted_model

        return fitted_model(self.history, list(self.objectives))

    def _point(self, params: Params) -> Point:
        params = {name: self._plain(name, value) for name, value in params.items()}
        self.space.check(params)
        point = self.space.to_unit(params)
        self._params[point] = dict(params)
        return point

    def _plain(self, name: str, value: Any) -> Any:
        """A value of another library, or a whole number as a float, as the plain value that it means."""
        if isinstance(value, np.generic):
            value = value.item()
        whole = isinstance(value, float) and value.is_integer()
        return int(value) if whole and isinstance(self.space.parameters.get(name), Integer) else value

    def _settle(self, point: Point) -> None:
        """One pending trial of this configuration, where there is one, is pending no more."""
        if point in self._pending:
            self._pending.remove(point)

    def _values(self, metrics: Mapping[str, Value]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        expected = ", ".join(self.objectives)
        problems = [
            (f"metrics.{name}", f"no such objective: expected {expected}")
            for name in metrics
            if name not in self.objectives
        ]
        values, errors = [], []
        for name, objective in self.objectives.items():
            try:
                value, error = read_value(metrics[name])
                values.append(objective.minimised(value))
                errors.append(error)
            except KeyError:
                problems.append((f"metrics.{name}", "expected a value of this objective, got none"))
            except InputError as wrong:
                problems += wrong.under(f"metrics.{name}")
        if problems:
            raise InputError(problems, hint="tell_failure learns a trial that gave no finite value")
        return tuple(values), tuple(errors)


def _whole(number: Any, what: str, least: int) -> int:
    """A whole number of any type.

    Raises:
        InputError: it is none, or below `least`.
    """
    if isinstance(number, bool) or not isinstance(number, Integral) or number < least:
        raise InputError(f"{what}: expected a whole number of at least {least}, got {number!r}")
    return int(number)


def _order(observation: Observation) -> tuple[object, ...]:
    """A total order: NaN, an unknown standard error, sorts first."""
    errors = tuple(
        (not math.isnan(error), 0.0 if math.isnan(error) else error) for error in observation.errors
    )
    return observation.point, observation.values, errors
