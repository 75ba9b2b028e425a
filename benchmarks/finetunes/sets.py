"""What is recorded: the sets of settings.yaml, with the configurations that are trained on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from benchmarks.trial.scene import recipe_of
from hpo.records import ParamValue
from hpo.space.space import SearchSpace, parse_space
from hpo.study.recipe import apply_params

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class FineTunes:
    """The fine-tunes of one set.

    Args:
        recipe: what they have in common.
        rungs: shares of a trial at which it measures, the end among them.
    """

    name: str
    about: Mapping[str, str]
    recipe: Mapping[str, Any]
    space: SearchSpace
    rungs: tuple[float, ...]
    trials: int
    seed: int

    @classmethod
    def of(cls, name: str, data: Path | None) -> FineTunes:
        """A set of settings.yaml.

        Args:
            data: file of its rows; None: the generated ones.
        """
        settings = yaml.safe_load((FOLDER / "settings.yaml").read_text(encoding="utf-8"))
        chosen = settings["sets"][name]
        keys = {**chosen["data"], "path": None if data is None else str(data.resolve())}
        count = settings["rungs"]
        return cls(
            name=name,
            about={key: chosen[key] for key in ("about", "licence")},
            recipe=recipe_of(None, keys, settings["trainer"], own_file=data is not None),
            space=parse_space(settings["space"]),
            rungs=tuple(rung / count for rung in range(1, count + 1)),
            trials=settings["trials"],
            seed=settings["seed"],
        )

    @cached_property
    def described(self) -> dict[str, Any]:
        """What a reader of the table needs to know beforehand; names no place of this machine."""
        data = self.recipe["data"]
        path = None if data["path"] is None else Path(data["path"]).name
        return {
            "name": self.name,
            **self.about,
            "parameters": self.space.describe(),
            "rungs": list(self.rungs),
            "recipe": {**self.recipe, "data": {**data, "path": path}},
        }

    def configurations(self) -> Iterator[tuple[dict[str, ParamValue], dict[str, Any]]]:
        """The points of the Sobol sequence without an end, each with its recipe."""
        from scipy.stats import qmc  # takes most of a second to import

        engine = qmc.Sobol(len(self.space), scramble=True, rng=self.seed)
        while True:
            params = self.space.from_unit(tuple(engine.random(1)[0].tolist()))
            yield params, apply_params(self.recipe, self.space.in_recipe(params))
