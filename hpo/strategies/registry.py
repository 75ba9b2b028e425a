"""Strategies: ways to choose what to try next, all behind one interface.

Each is a frozen dataclass of its settings with a method `propose`; the defaults are in `conf/strategy/`. A
strategy keeps no state: what it proposes is a function of the history alone, so a restart changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from hpo.errors import InputError, Problem
from hpo.models.history import History, Proposal

CONF = Path(__file__).resolve().parents[2] / "conf" / "strategy"

# name -> where it is; loaded when it is asked for, because some load torch
STRATEGIES: dict[str, str] = {
    "bo": "hpo.strategies.bo:BayesianOptimisation",
    "nsga2": "hpo.strategies.nsga2:NSGA2",
    "soo": "hpo.strategies.optimistic:SOO",
    "bamsoo": "hpo.strategies.optimistic:BaMSOO",
    "sobol": "hpo.strategies.space_filling:Sobol",
    "random": "hpo.strategies.space_filling:Random",
    "lhs": "hpo.strategies.space_filling:LatinHypercube",
    "grid": "hpo.strategies.grid:Grid",
    "powers_of_two": "hpo.strategies.grid:PowersOfTwo",
}

# what a strategy loads once it has results to go by, for seconds: wanted before its first trials have ended
LATER = {"bo": "hpo.models.propose", "bamsoo": "hpo.models.propose", "nsga2": "pymoo.core.mixed"}

# a tree of cells opens by the values of its trials: one that is never told is a cell that stays shut
NEEDS_EVERY_RESULT = frozenset({"soo", "bamsoo"})


@runtime_checkable
class Particular(Protocol):
    """A strategy that does not take every study."""

    def problems(self, objectives: int) -> list[Problem]:
        """What does not fit a study of so many objectives, by key path."""


class Strategy(Protocol):
    """Chooses configurations."""

    def propose(self, history: History, count: int) -> list[Proposal]:
        """Choose configurations that nobody proposed or told before.

        Args:
            history: what is known.
            count: how many are wanted, at least 1.

        Returns:
            `count` proposals, all different; fewer, or none, where the strategy has nothing left to try.
        """


@cache
def default_settings(name: str) -> Mapping[str, Any]:
    """The settings of a strategy as `conf/strategy/<name>.yaml` has them, without its name."""
    import yaml

    from hpo.validation import strategy_settings

    settings = yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))
    return strategy_settings(settings)


def make_strategy(name: str, settings: Mapping[str, Any]) -> Strategy:
    """Build a strategy.

    Args:
        name: one of `STRATEGIES`.
        settings: what differs from `conf/strategy/<name>.yaml`.

    Raises:
        InputError: an unknown name, or settings that the strategy does not have or cannot take, all of them
            by key path `strategy.<setting>`.
    """
    from pydantic import TypeAdapter, ValidationError

    from hpo.validation import problems_of

    if name not in STRATEGIES:
        expected = ", ".join(STRATEGIES)
        raise InputError([("strategy.name", f"unknown strategy {name!r}: expected one of {expected}")])
    module, attribute = STRATEGIES[name].split(":")
    kind: type[Strategy] = getattr(import_module(module), attribute)
    try:
        return TypeAdapter(kind).validate_python({**default_settings(name), **settings})
    except ValidationError as error:
        raise InputError(problems_of(error, "strategy")) from error
