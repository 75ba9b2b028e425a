"""The trial kind of conf/trainer/synthetic.yaml: what can be known of a trial that only sleeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jobs.kinds.base import Unforetold
from jobs.recipes.metrics import EVAL_LOSS, SyntheticMetrics, names
from jobs.recipes.synthetic import UNTUNED, Problem, problems

METRICS = names(SyntheticMetrics)


class Synthetic(Unforetold):
    """See `hpo.ports.TrialKind`; model, data and evaluation of the recipe are not used."""

    @property
    def target(self) -> str:
        """`module:function` that runs a trial."""
        return "jobs.run_synthetic:main"

    def resolve(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """The recipe as it is: no path of it is ever looked at."""
        return dict(recipe)

    def problems(self, recipe: Mapping[str, Any]) -> Sequence[Problem]:
        """(key path, what is wrong) for everything that is wrong with the trainer."""
        return problems(recipe)

    def metrics(self, recipe: Mapping[str, Any]) -> Sequence[str]:
        """The names of the metrics that every trial reports."""
        return METRICS

    def early_metrics(self, recipe: Mapping[str, Any], *, documents: bool) -> Sequence[str]:
        """All but the time that it takes to start."""
        return (EVAL_LOSS, "train_loss", "train_seconds")

    def prepare(self, recipe: Mapping[str, Any], cache: str, say: Callable[[str], None]) -> None:
        """Nothing: a synthetic trial needs nothing of the cache."""

    def preview(self, recipe: Mapping[str, Any], cache: str, say: Callable[[str], None]) -> None:
        """Nothing to show: a synthetic trial reads no data."""
        say("synthetic trials read no data: nothing to show")

    def baseline(self, recipe: Mapping[str, Any], cache: str) -> Mapping[str, float] | None:
        """The made-up loss of the untuned model."""
        return {"eval_loss": UNTUNED}

    def check(self, recipe: Mapping[str, Any], cache: str) -> Sequence[tuple[str, str, str]]:
        """What `doctor` says of this machine.

        Returns:
            (level, what, hint) per line.
        """
        return [("ok", "synthetic trials need neither a model nor a GPU", "")]
