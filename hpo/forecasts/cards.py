"""What kinds of GPUs achieve in training, before a trial has shown it. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from hpo.errors import InputError

# Of an A100's peak, by what the README of Qwen-7B tells of its QLoRA: see tests/jobs/memory/test_flops.py.
UTILISATION = 1 / 3
# A part of a card, as MIG names it.
_SLICE = re.compile(r"(?<![a-z0-9])([1-7]g(?![a-z0-9])|[1-7]g[._-]?\d+gb|mig(?![a-z0-9]))")
_SHARED = re.compile(r"(?<![a-z0-9])(?:shard|mps):[^,\s]*")  # beside whole cards, or in their place


@dataclass(frozen=True)
class CardKind:
    """One kind of card.

    Args:
        peak: TFLOP/s of 16-bit products that are summed in float32, without sparsity, by NVIDIA's data sheet.
        shown: TFLOP/s by the hours of trainings on it, or as `benchmarks.gpu` measured; None: none were told.
        source: of `shown`.
    """

    peak: float
    shown: float | None = None
    source: str = ""


CARDS: Mapping[str, CardKind] = {
    "V100": CardKind(125, 5, "the published hours of lora_pareto_2 to _4"),
    "T4": CardKind(65),
    "A10": CardKind(125),
    "A30": CardKind(165),
    "A40": CardKind(150),
    "A100": CardKind(312, 104, "the README of Qwen-7B"),
    "L4": CardKind(121, 1.8, "the published hours of openllama_3b to _13b, with their evaluation"),
    "L40S": CardKind(362),
    "H100": CardKind(989),  # SXM
    "H200": CardKind(989),
}


@dataclass(frozen=True)
class CardRates:
    """What a card achieves.

    Args:
        shown: operations a second that forecasts go by: what trainings have shown, else `best`.
        best: operations a second that it could reach.
        about: where they are from, in words.
    """

    shown: float
    best: float
    about: str

    @classmethod
    def given(cls, tflops: float) -> CardRates:
        """As a user says."""
        return cls(tflops * 1e12, tflops * 1e12, f"at {tflops:.3g} TFLOP/s (cluster.gpu_tflops)")

    @classmethod
    def of(cls, kind: str) -> CardRates:
        """Of a kind in `CARDS`."""
        card = CARDS[kind]
        best = card.peak * UTILISATION
        could = f"{best:.3g} TFLOP/s, a third of its peak"
        if card.shown is None:
            return cls(best * 1e12, best * 1e12, f"for {kind}s at {could}")
        about = f"for {kind}s at {card.shown:.3g} TFLOP/s, by {card.source}"
        wide = best > 1.01 * card.shown
        return cls(
            card.shown * 1e12,
            (best if wide else card.shown) * 1e12,
            f"{about}, to {could}" if wide else about,
        )


def kind_of(names: str) -> str | None:
    """The kind of card that a text names, such as gpu:v100, Tesla V100-SXM2-32GB or a100_80gb.

    Returns:
        None where no kind in `CARDS` is named, or several, or a part of a card.
    """
    whole = _SHARED.sub("", names.lower())
    if _SLICE.search(whole):
        return None
    words = re.split(r"[^a-z0-9]+", whole.replace("v100s", "v100"))
    kinds = [name for name in CARDS if name.lower() in words]
    return kinds[0] if len(kinds) == 1 else None


def card_rates(given: float | str | None, names: str) -> CardRates | None:
    """What is known of the cards that trials get.

    Args:
        given: `cluster.gpu_tflops`: a number, a kind of card, auto or None.
        names: what trials ask the scheduler for, for auto.

    Returns:
        None where nothing is.

    Raises:
        InputError: `given` names a card of which nothing is known.
    """
    if given is None:
        return None
    if not isinstance(given, str):
        return CardRates.given(given)
    kind = kind_of(names if given == "auto" else given)
    if kind is None and given != "auto":
        text = f"got {given!r}, expected TFLOP/s, auto, null, or one of these cards: {', '.join(CARDS)}"
        raise InputError([("cluster.gpu_tflops", text)])
    return CardRates.of(kind) if kind else None
