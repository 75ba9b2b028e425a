"""What trial kinds have in common of whose trials nothing is foretold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class Unforetold:
    """The part of `hpo.ports.TrialKind` that tells of memory, of time and of the untuned model: nothing."""

    def peak_memory(
        self, recipe: Mapping[str, Any], cache: str, card: float | None = None, factor: float = 1.0
    ) -> Mapping[str, float] | None:
        """Nothing can be said."""
        return None

    def training_effort(
        self, recipe: Mapping[str, Any], cache: str, card: float | None = None, factor: float = 1.0
    ) -> Mapping[str, float] | None:
        """Nothing can be said."""
        return None

    def card_problems(self, recipe: Mapping[str, Any], names: str) -> Sequence[tuple[str, str]]:
        """None: any card will do."""
        return ()

    def notes(self, recipe: Mapping[str, Any]) -> Sequence[str]:
        """Nothing needs to be said."""
        return ()

    def early_metrics(self, recipe: Mapping[str, Any], *, documents: bool) -> Sequence[str]:
        """None: nothing is measured at rungs."""
        return ()

    def fewest_steps(self, recipe: Mapping[str, Any]) -> int | None:
        """Not known."""
        return None

    @property
    def memory_keys(self) -> Sequence[str]:
        """None: nothing is foretold."""
        return ()

    def memory_seen(self, results: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
        """Nothing: there is no forecast to be corrected."""
        return {"factor": 1.0, "trials": 0.0}

    def baseline(self, recipe: Mapping[str, Any], cache: str) -> Mapping[str, float] | None:
        """Nothing is measured beforehand: a first trial in `study.enqueue` can be what to compare with."""
        return None

    def samples(self, recipe: Mapping[str, Any], cache: str) -> Mapping[str, Any] | None:
        """None: such trials answer no prompts."""
        return None
