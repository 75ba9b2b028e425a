"""What ties the parameters of a space together: conditions, derived values and constraints.

Parameters are decided one after another, each after those that its condition or its expression names. A
parameter whose condition is false is inactive: it has no value. A derived parameter is inactive where one
that it is computed from is. A constraint that needs an inactive parameter does not apply. Standard library
only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from hpo.errors import InputError, Problem
from hpo.records import ParamValue
from hpo.space.expressions import Expression
from hpo.space.parameters import Choice, Derived, Float, Integer, Parameter

Dimension = Float | Integer | Choice


@dataclass(frozen=True)
class Step:
    """One parameter, to be decided after those that it depends on.

    Args:
        coordinate: its place in a point; None where it has none.
        condition: under which it is active; None for always.
        constraints: those that can be judged from here on.
    """

    name: str
    parameter: Parameter
    coordinate: int | None
    condition: Expression | None
    expression: Expression | None
    constraints: tuple[Expression, ...]

    def active(self, values: Mapping[str, ParamValue]) -> bool:
        """Whether the condition is true, given the values of the parameters before this one."""
        return self.condition is None or self.condition.holds(values, inactive=False)

    def permits(self, values: Mapping[str, ParamValue]) -> bool:
        """Whether the constraints that can be judged here are met or do not apply."""
        return all(constraint.holds(values, inactive=True) for constraint in self.constraints)


def middle(parameter: Dimension) -> float:
    """The coordinate that stands for "no value": the rounded middle of the unit interval."""
    return 0.5 if parameter.levels is None else parameter.grid.unit(parameter.grid.index(0.5))


def steps_of(
    parameters: Mapping[str, Parameter],
    dimensions: Mapping[str, Dimension],
    conditions: Mapping[str, str],
    constraints: Sequence[str],
) -> tuple[Step, ...]:
    """The parameters in the order in which they are decided.

    Args:
        dimensions: those with a coordinate, in the order of the coordinates.
        conditions: name -> expression.
        constraints: expressions.

    Raises:
        InputError: with every expression that cannot be read, names that there are not, and circles.
    """
    problems: list[Problem] = [
        (f"space.conditions.{name}", f"unknown parameter: expected one of {', '.join(parameters)}")
        for name in conditions
        if name not in parameters
    ]
    read = _Reader(parameters, problems)
    derived = {
        name: read(f"space.{name}", parameter.expression)
        for name, parameter in parameters.items()
        if isinstance(parameter, Derived)
    }
    conditional = {name: read(f"space.conditions.{name}", text) for name, text in conditions.items()}
    constrained = [read(f"space.constraints[{number}]", text) for number, text in enumerate(constraints)]
    if problems:
        raise InputError(problems)
    order = _order(parameters, derived, conditional, constrained)
    last = [max((order.index(name) for name in each.names), default=0) for each in constrained]
    coordinates = {name: number for number, name in enumerate(dimensions)}
    return tuple(
        Step(
            name,
            parameters[name],
            coordinates.get(name),
            conditional.get(name),
            derived.get(name),
            tuple(each for each, position in zip(constrained, last, strict=True) if position == number),
        )
        for number, name in enumerate(order)
    )


class _Reader:
    """Reads expressions, gathering problems instead of raising them."""

    def __init__(self, known: Mapping[str, Parameter], problems: list[Problem]) -> None:
        self._known, self._problems = known, problems

    def __call__(self, key: str, text: str) -> Expression:
        try:
            expression = Expression(text, key)
        except InputError as error:
            self._problems += error.problems
            return Expression("true", key)
        unknown = sorted(expression.names - set(self._known))
        if unknown:
            known = ", ".join(self._known)
            self._problems.append((key, f"unknown name {', '.join(unknown)} in {text!r}: expected {known}"))
        return expression


def _order(
    parameters: Mapping[str, Parameter],
    derived: Mapping[str, Expression],
    conditional: Mapping[str, Expression],
    constrained: Iterable[Expression],
) -> list[str]:
    """Names after those that they need; first what expressions name, so that a search fails early."""
    needs = {
        name: (derived[name].names if name in derived else frozenset())
        | (conditional[name].names if name in conditional else frozenset())
        for name in parameters
    }
    tied = frozenset[str]().union(*needs.values(), *(each.names for each in constrained))
    sorter = TopologicalSorter(needs)
    try:
        sorter.prepare()
    except CycleError as error:
        circle = [str(name) for name in error.args[1]]
        problem = f"depends on itself: {' needs '.join(reversed(circle))}"
        raise InputError([(f"space.{circle[0]}", problem)]) from error
    order, ready = list[str](), list[str]()
    while sorter.is_active():
        ready += sorter.get_ready()
        ready.sort(key=lambda name: (name not in tied, parameters[name].levels is None, name))
        order.append(ready.pop(0))
        sorter.done(order[-1])
    return order


def decode(
    steps: Iterable[Step], point: Sequence[float]
) -> tuple[dict[str, ParamValue], dict[str, ArithmeticError]]:
    """The values of the active parameters at a point, and why derived ones cannot be computed.

    Args:
        point: d coordinates.
    """
    values: dict[str, ParamValue] = {}
    broken: dict[str, ArithmeticError] = {}
    for step in steps:
        if not step.active(values):
            continue
        if step.expression is not None:
            try:
                values[step.name] = step.expression.value(values)
            except KeyError:
                continue  # computed from an inactive one
            except ArithmeticError as error:
                broken[step.name] = error
        else:
            values[step.name] = value_at(step, point)
    return values, broken


def value_at(step: Step, point: Sequence[float]) -> ParamValue:
    """The value of a parameter that is not derived, at a point."""
    parameter = step.parameter
    assert not isinstance(parameter, Derived)
    if step.coordinate is None:
        return parameter.level(0)
    assert isinstance(parameter, Dimension)
    return parameter.from_unit(float(point[step.coordinate]))


def dependency_problems(steps: Iterable[Step], params: Mapping[str, ParamValue]) -> list[Problem]:
    """(name, what is wrong) for what the parameters of a configuration are to each other.

    Args:
        params: values that each belong to their own parameter; some may be missing.

    Returns:
        Missing and superfluous values, wrong derived ones, and violated constraints, these without a name.
    """
    problems = [(step.name, wrong) for step in steps if (wrong := _value_problem(step, params)) is not None]
    if problems:
        return problems
    constraints = (constraint for step in steps for constraint in step.constraints)
    return [("", _violation(each, params)) for each in constraints if not each.holds(params, inactive=True)]


def _violation(constraint: Expression, params: Mapping[str, ParamValue]) -> str:
    given = ", ".join(f"{name}={params[name]!r}" for name in sorted(constraint.names) if name in params)
    return f"the constraint {constraint.text!r} is not met, got {given}"


def _value_problem(step: Step, params: Mapping[str, ParamValue]) -> str | None:
    given = step.name in params
    if not step.active(params):
        because = f"{step.condition.text!r} is not true" if step.condition else ""
        return f"expected no value, because {because}, got {params[step.name]!r}" if given else None
    if step.expression is None:
        return None if given else "expected a value, got none"
    assert isinstance(step.parameter, Derived)
    try:
        expected = step.expression.value(params)
    except KeyError as error:
        because = f"{error.args[0]} has none"
        return f"expected no value, because {because}, got {params[step.name]!r}" if given else None
    except ArithmeticError as error:
        return f"{step.expression.text!r} cannot be computed: {error}"
    if not given:
        return f"expected {expected!r} = {step.expression.text}, got none"
    return step.parameter.difference(params[step.name], expected)
