"""Syne Tune's MOASHA, which proposes at random and decides who goes on at a rung.

`ranked` mends what 0.16 does: there the priority of a trial is not its rank, but a number of the list of
all trials in the order of their ranks, so that whether a trial goes on hangs on when the worst one came.

References:
    [Schmucker2021] R. Schmucker et al. Multi-objective asynchronous successive halving. arXiv 2106.12639.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from benchmarks.problems.problem import Array, Dimension
from hpo.pareto import Row
from hpo.space.space import Float, SearchSpace

REDUCTION = 3
NINTHS = 9  # of a trial are MOASHA's time: its rungs are then a ninth, a third and the end
PACKAGE = "syne-tune"


class Moasha:
    """See `benchmarks.fidelity.replay.Scheduler`.

    Args:
        space: of floats and finite parameters, without conditions; values of steps are as likely each.
        objectives: how many.
        seed: of NumPy's global generator, which its random search draws from.
        ranked: whether trials are judged by their ranks [Schmucker2021]; as shipped where not.

    Raises:
        ImportError: Syne Tune is not installed (`make benchmark` installs it).
    """

    def __init__(self, space: SearchSpace, objectives: int, seed: int, *, ranked: bool) -> None:
        from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA

        np.random.seed(seed)  # noqa: NPY002 - the one that it draws from
        self._names = [f"objective {place}" for place in range(objectives)]
        self._moasha = MOASHA(
            {name: _domain(dimension) for name, dimension in space.dimensions.items()},
            self._names,
            time_attr="ninths",
            multiobjective_priority=ranks if ranked else None,
            max_t=NINTHS,
            grace_period=1,
            reduction_factor=REDUCTION,
            random_seed=seed,
        )
        self._trials: list[Any] = []

    def suggest(self, number: int) -> dict[str, Any]:
        """Drawn at random; the trial is added."""
        from syne_tune.backend.trial_status import Trial

        config = dict(self._moasha.suggest().config)
        self._trials.append(Trial(number, config, datetime.fromtimestamp(0, UTC)))
        self._moasha.on_trial_add(self._trials[number])
        return config

    def goes_on(self, number: int, rung: float, row: Row) -> bool:
        """What MOASHA says; a trial that it stops is removed, as its tuner does."""
        from syne_tune.optimizer.scheduler import SchedulerDecision

        decision = self._moasha.on_trial_result(self._trials[number], self._result(rung, row))
        if decision == SchedulerDecision.CONTINUE:
            return True
        self._moasha.on_trial_remove(self._trials[number])
        return False

    def ended(self, number: int, row: Row | None) -> None:
        """Complete, or an error."""
        if row is None:
            self._moasha.on_trial_error(self._trials[number])
        else:
            self._moasha.on_trial_complete(self._trials[number], self._result(1.0, row))

    def _result(self, share: float, row: Row) -> dict[str, float]:
        return {"ninths": round(NINTHS * share), **dict(zip(self._names, row, strict=True))}


def ranks(rows: Array) -> Array:
    """The rank of each row, 0 is the best: by layers, and in a layer by the epsilon-net, both of Syne Tune.

    Args:
        rows: n x m, to minimise.
    """
    from syne_tune.optimizer.schedulers.multiobjective import non_dominated_priority as own

    found, left, ahead = np.empty(len(rows)), np.arange(len(rows)), 0
    while len(left):
        best = own.pareto_efficient(rows[left])
        layer, left = left[best], left[~best]
        found[layer] = ahead + own.compute_epsilon_net(rows[layer], dim=0)
        ahead += len(layer)
    return found


def _domain(dimension: Dimension) -> Any:
    from syne_tune import config_space

    if dimension.levels is not None:
        return config_space.choice([dimension.level(index) for index in range(dimension.levels)])
    assert isinstance(dimension, Float)
    draw = config_space.loguniform if dimension.log else config_space.uniform
    return draw(dimension.low, dimension.high)
