"""What fits a V100: `python -m benchmarks.fit` plans every published study, and writes `docs/studies.md`.

Nothing is run and nothing is downloaded: it is what `plan` says, at full scale, of cards of 16 and of 32 GB.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.records import ROOT
from benchmarks.table import rows_of
from benchmarks.trial.page import replaced
from hpo.commands.arms import arms_of
from hpo.controller.assembly import Assembly, assemble
from hpo.controller.compose import compose_config
from hpo.forecasts.coverage import SURE, Coverage, coverage
from hpo.forecasts.memory import CardMemory, Forecaster
from hpo.forecasts.time import pace
from hpo.space.parameters import Choice
from hpo.study.recipe import apply_params
from hpo.study.state import Study

PAGE = ROOT / "docs" / "studies.md"
STUDIES = (
    *("openllama_3b", "openllama_7b", "openllama_13b"),
    *("lora_pareto_1", "lora_pareto_2", "lora_pareto_3", "lora_pareto_4"),
    *("partition_lhs", "partition_bo", "partition_soo", "partition_bamsoo"),
    *("challenge_24gb", "challenge_40gb", "guide_alpaca"),
)
CARDS = {"v100_16gb": "16", "v100_32gb": "32"}
# A card by its size alone: the guide compares int8 as well, which a card named v100 is refused.
NAMELESS = ("cluster.gres=gpu:1",)
GIB = 2**30
# how a base model may be stored -> its name in the table
KINDS: dict[str, Mapping[str, Any]] = {
    "NF4, double": {"quantisation": "nf4", "double_quantisation": True},
    "NF4": {"quantisation": "nf4", "double_quantisation": False},
    "fp4": {"quantisation": "fp4", "double_quantisation": False},
    "int8": {"quantisation": "int8"},
    "16 bit": {"quantisation": "none"},
}
GUIDE_CARD_GB = 39.4  # GiB that CUDA reports of an A100 of 40 GB
PARTS = {
    "base": "base model",
    "embeddings": "embeddings, head and norms",
    "adapters": "adapters",
    "gradients": "gradients",
    "optimiser": "optimiser states",
    "dequantised": "one layer dequantised",
    "activations": "activations",
    "logits": "logits",
    "context": "CUDA context",
}


@dataclass(frozen=True)
class Fit:
    """What is foretold of one study on one kind of card."""

    study: str
    model: str
    card: str
    peak: Mapping[str, float]  # of one configuration
    space: Coverage
    trials: int  # with those of the arms
    wall_hours: float | None  # the study's budget

    @property
    def row(self) -> list[str]:
        """Of the table."""
        parts = " + ".join(f"{part / GIB:.1f}" for part in summed(self.peak))
        return [
            f"`{self.study}`",
            self.model,
            self.card,
            f"{self.peak['total'] / GIB:.1f} = {parts}",
            self.micro_batch,
            self.fitting,
            *self.hours,
        ]

    @property
    def micro_batch(self) -> str:
        """Examples a forward pass, and whether activations are made again."""
        if self.peak["chance"] <= 1 - SURE:
            return "none fits"
        return f"{self.peak['micro_batch']:.0f}{' c' if self.peak['checkpointing'] else ''}"

    @property
    def fitting(self) -> str:
        """Of the search space."""
        open_ = 1.0 - self.space.fits - self.space.hopeless
        return f"{self.space.fits:.0%}" + (f", and perhaps {open_:.0%}" if open_ > 0.005 else "")

    @property
    def hours(self) -> tuple[str, str]:
        """Of a trial, and card-hours of the study."""
        if self.space.seconds is None:
            return "", ""
        each = [seconds / 3600 for seconds in self.space.times]
        whole = dict.fromkeys(min(hours * self.trials, self.wall_hours or float("inf")) for hours in each)
        return (
            " to ".join(f"{hours:.2g}" for hours in each),
            " to ".join(f"{hours:.3g}" if hours >= 1 else f"{hours:.2g}" for hours in whole),
        )


def summed(peak: Mapping[str, float]) -> tuple[float, float, float, float]:
    """Bytes of the base model, of adapters with all that is theirs, of a pass's tensors, and of the rest."""
    own = peak["adapters"] + peak["gradients"] + peak["optimiser"]
    passing = peak["activations"] + peak["logits"] + peak["dequantised"]
    return peak["base"] + peak["embeddings"], own, passing, peak["context"]


def fit_of(study: str, cluster: str) -> Fit:
    """What is foretold of a study at full scale.

    Args:
        study: of `STUDIES`.
        cluster: of `CARDS`.
    """
    overrides = [f"experiment={study}", f"cluster={cluster}", *NAMELESS, "cache=nothing_is_here"]
    parts = _assembled(overrides)
    forecaster = parts.forecaster()
    alone = Study(uid="000000", name=study)
    memory = forecaster.memory(alone)
    space = coverage(forecaster, memory, pace(forecaster, alone, memory))
    peak = forecaster.peak(forecaster.applied(_typical(parts)), memory)
    if space is None or peak is None:
        raise ValueError(f"{study}: the sizes of its model are not known")
    arms = [compose_config([*overrides, *own])[0]["budget"]["trials"] for own in arms_of(parts.raw).values()]
    budget = parts.config.budget
    name = str(parts.raw["model"]["name"])
    trials = budget.trials + sum(arms)
    return Fit(study, name, CARDS[cluster], peak, space, trials, budget.wall_hours)


def _assembled(overrides: Sequence[str]) -> Assembly:
    return assemble(*compose_config(overrides))


def _typical(parts: Assembly) -> Mapping[str, Any]:
    """A trial that the study names, else the middle of its search space, with the recipe's own choices."""
    if enqueued := parts.config.study.enqueue:
        return enqueued[0]
    space, trainer = parts.space, parts.recipe["trainer"]
    choices = {name: own.values for name, own in space.dimensions.items() if isinstance(own, Choice)}
    own = {name: trainer[name] for name, values in choices.items() if trainer.get(name) in values}
    return space.from_unit(space.near([0.5] * len(space))) | own


def fit_section(fits: Sequence[Fit]) -> str:
    """The table of every study."""
    head = ["`experiment`", "base model", "card, GB", "peak, GiB", "a pass", "of the space fits"]
    table = rows_of([*head, "a trial, h", "the study, h"], [fit.row for fit in fits])
    decided = [
        f"- `{fit.study}`, {fit.card} GB: {'; '.join(fit.space.limits)}" for fit in fits if fit.space.limits
    ]
    return "\n\n".join([table, "What of a space fits, where not all or none of it does:", "\n".join(decided)])


def anatomy() -> tuple[Forecaster, CardMemory, Mapping[str, Any]]:
    """The practical guide's study on the card of its source, and its recipe."""
    overrides = ["experiment=guide_alpaca", "cluster=v100_32gb", f"cluster.gpu_memory_gb={GUIDE_CARD_GB}"]
    parts = _assembled([*overrides, *NAMELESS, "cache=nothing_is_here"])
    forecaster = parts.forecaster()
    return forecaster, forecaster.memory(Study(uid="000000", name="guide")), parts.recipe


def anatomy_section() -> str:
    """GiB by part, for each way to store the base model."""
    forecaster, memory, recipe = anatomy()
    peaks = []
    for settings in KINDS.values():
        peak = forecaster.peak(apply_params(recipe, dict(settings)), memory)
        if peak is None:
            raise ValueError("guide_alpaca: the sizes of its model are not known")
        peaks.append(peak)
    rows = [[name, *(f"{peak[part] / GIB:.2f}" for peak in peaks)] for part, name in PARTS.items()]
    rows.append(["**together**", *(f"**{peak['total'] / GIB:.1f}**" for peak in peaks)])
    rows.append(["fits 40 GB", *map(_verdict, peaks)])
    return rows_of(["GiB", *KINDS], rows)


def _verdict(peak: Mapping[str, float]) -> str:
    if peak["chance"] >= SURE:
        return "yes"
    return "no" if peak["chance"] <= 1 - SURE else f"by {peak['chance']:.0%}"


def sections() -> Iterator[tuple[str, str]]:
    """(part of the page, its text)."""
    yield "fit", fit_section([fit_of(study, cluster) for study in STUDIES for cluster in CARDS])
    yield "anatomy", anatomy_section()


def write(page: Path = PAGE) -> None:
    """Write both tables into the page."""
    text = page.read_text(encoding="utf-8")
    for part, own in sections():
        text = replaced(text, part, own)
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
    sys.exit(0)
