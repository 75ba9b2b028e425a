"""The sections on the surrogate: which parameters matter, and whether it may be believed."""

from __future__ import annotations

import math
from collections.abc import Iterator

from hpo.formatting import number
from hpo.reporting.material import Material
from hpo.reporting.sections.blocks import Block, Cell, FigureBlock, Section, TableBlock, TextBlock


def model_sections(material: Material) -> Iterator[Section]:
    """In the order of the page; each says why where there is no model."""
    yield _importance(material)
    yield _trust(material)


def _importance(material: Material) -> Section:
    says = (
        "How much of an objective's variance over the search space each parameter explains, by the "
        "surrogate's Sobol indices (bars; whiskers are the central 95% over what the surrogate holds "
        "possible) and by a random forest that knows nothing of it; and how the surrogate sees each "
        "objective along one parameter."
    )
    own = material.analysis
    blocks: list[Block] = []
    if own.why_not or own.space is None:
        return Section("importance", "Which parameters matter", says, [TextBlock(_none(own.why_not))])
    from hpo.reporting.figures.model import importance_figure, slices_figure

    blocks.append(FigureBlock("importance", importance_figure(own.indices, own.forest)))
    blocks += [TextBlock(_forest_words(material)), *map(TextBlock, own.notes)]
    trial = next((t for t in material.study.trials.values() if t.number == own.anchor), None)
    held = f"those of trial {trial.id}" if trial else "the middle of the space"
    caption = (
        f"Slices of the posterior, the other parameters held at {held} (dotted); bands hold the central 95%"
    )
    figure = slices_figure(own.slices, material.objectives, own.space, trial.params if trial else {})
    blocks.append(FigureBlock("slices", figure, caption))
    return Section("importance", "Which parameters matter", says, blocks)


def _none(why: str) -> str:
    return f"There is no surrogate to ask: {why}." if why else "There is no surrogate to ask."


def _forest_words(material: Material) -> str:
    told = material.analysis.forest
    if not told:
        return "There are too few results for the forest's second opinion: it asks for 10."
    each = []
    for name, own in told.items():
        worth = "" if own.r2 > 0.2 else ", so its opinion is worth nothing here"
        each.append(f"for {name} R² {own.r2:.2f}{worth}")
    results = next(iter(told.values())).results
    return f"On results left out, the forest reaches {'; '.join(each)} ({results} results)."


def _trust(material: Material) -> Section:
    says = (
        "What the surrogate says of each configuration without having seen its result, beside what came "
        "out, with its 95% intervals (red where the result is outside); and how often configurations "
        "worked that it gave a certain probability of working."
    )
    own = material.analysis
    if own.why_not or own.space is None:
        return Section("trust", "May the surrogate be trusted", says, [TextBlock(_none(own.why_not))])
    from hpo.reporting.figures.model import calibration_figure, trust_figure

    blocks: list[Block] = [
        TextBlock(_verdict(material)),
        FigureBlock("trust", trust_figure(own.trust, material.objectives, material.study, own.space)),
        _table(material),
    ]
    if own.calibration:
        figure = calibration_figure(own.calibration)
        blocks.append(FigureBlock("calibration", figure, "Probability of working, predicted and come true"))
    else:
        blocks.append(
            TextBlock("No trial proved infeasible, so there is no probability of working to check.")
        )
    return Section("trust", "May the surrogate be trusted", says, blocks)


def _verdict(material: Material) -> str:
    words = []
    for name, own in material.analysis.trust.items():
        if math.isnan(own.q2):
            words.append(f"{name} does not vary, so there is nothing to foretell")
            continue
        knows = "foretells" if own.q2 >= 0.7 else "has an idea of" if own.q2 >= 0.3 else "knows little of"
        n = len(own.observed)
        # fewer within than 19 in 20 tries would leave out but once in 40 studies
        low = 0.95 - 1.96 * math.sqrt(0.95 * 0.05 / n)
        bands = (
            "its intervals hold what they promise" if own.coverage >= low else "its intervals are too narrow"
        )
        words.append(f"it {knows} {name} (Q² {own.q2:.2f}), and {bands} ({own.coverage:.0%} of {n} within)")
    return "The surrogate, by results left out: " + "; ".join(words) + "."


def _table(material: Material) -> TableBlock:
    rows: list[list[Cell]] = []
    names = list(next(iter(material.analysis.trust.values())).length_scales)
    for name, own in material.analysis.trust.items():
        scales = [own.length_scales[parameter] for parameter in names]
        kernel = own.kernel.replace("_", " ") + (", of the logarithm" if own.log else "")
        q2 = "" if math.isnan(own.q2) else number(own.q2)
        rows.append([name, f"{own.coverage:.0%}", q2, number(own.noise), kernel, *scales])
    head = [
        "objective",
        "within 95%",
        "Q²",
        "learned noise",
        "kernel",
        *(f"scale of {name}" for name in names),
    ]
    return TableBlock(
        head, rows, "Length scales are of the unit interval: a long one hardly matters", folded=True
    )
