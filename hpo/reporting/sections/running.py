"""The sections on how the study ran: learning curves, attempts, failures, cost, provenance."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from hpo.display.tracked_runs import ways_to_see
from hpo.formatting import duration
from hpo.records import Cause, RecordError, TrialResult
from hpo.reporting.costs import card_costs, energy_wh, improvements, total_money
from hpo.reporting.figures.time import curves_figure, timeline_figure
from hpo.reporting.material import Material
from hpo.reporting.sections.blocks import Block, Cell, FigureBlock, Section, TableBlock, TextBlock
from hpo.reporting.spans import interruptions, utilisation
from hpo.study.causes import learns
from hpo.study.learning_curves import MOST_CURVES
from hpo.study.room import folder_size
from hpo.study.state import AttemptEnd, TrialState

_SECRET = re.compile(r"(^|[_.-])(token|password|secret|api_?key|credentials?)$", re.IGNORECASE)
_MOST_DEVICES = 50
SIZE_S = 10.0  # for counting files


def running_sections(material: Material) -> Iterator[Section]:
    """In the order of the page."""
    yield _curves(material)
    yield _timeline(material)
    yield _failures(material)
    yield _cost(material)
    yield _provenance(material)


def _curves(material: Material) -> Section:
    says = "Training and validation loss of the trials over their steps, those on the front in red."
    if not material.curves:
        return Section("curves", "Learning curves", says, [TextBlock("No trial has told of a step yet.")])
    front = {trial.number for trial in material.front}
    blocks: list[Block] = [FigureBlock("curves", curves_figure(material.curves, front))]
    if len(material.study.trials) > MOST_CURVES:
        blocks.append(TextBlock(f"Shown are {len(material.curves)} of {len(material.study.trials)} trials."))
    return Section("curves", "Learning curves", says, blocks)


def _timeline(material: Material) -> Section:
    says = (
        "When each attempt ran on which node, coloured by how it ended; hatched parts are lost, since "
        "nothing was built on them; below, how many cards were at work."
    )
    if not material.spans:
        return Section("timeline", "Timeline", says, [TextBlock("No attempt has begun yet.")])
    used = utilisation(material.spans)
    words = []
    if used is not None:
        words.append(f"On average {used:.0%} of the most cards at once were at work.")
    broken = interruptions(material.spans)
    each = ", ".join(f"{cause.replace('_', ' ')} {count}" for cause, count in broken.items())
    words.append(f"Interrupted and gone on: {each}." if each else "No attempt was interrupted.")
    lost = sum(span.lost * span.gpus for span in material.spans)
    words.append(f"Lost: {duration(lost)} of GPU time.")
    blocks: list[Block] = [
        TextBlock(" ".join(words)),
        FigureBlock("timeline", timeline_figure(material.spans)),
    ]
    return Section("timeline", "Timeline", says, blocks)


def _failures(material: Material) -> Section:
    says = "Why attempts ended without a result, what they said, and what the search learned from each."
    groups: dict[tuple[Cause, str], list[AttemptEnd]] = {}
    for end in material.study.ends:
        if end.cause not in (None, Cause.STOPPED):
            groups.setdefault((end.cause, end.gist), []).append(end)
    failed = material.study.in_state(TrialState.FAILED)
    told = {end.trial for own in groups.values() for end in own}
    rows: list[list[Cell]] = [
        [
            cause.value.replace("_", " "),
            len(own),
            ", ".join(list(dict.fromkeys(end.trial for end in own))[:8]),
            own[-1].message[:500],
            _lesson(cause),
        ]
        for (cause, _), own in sorted(groups.items(), key=lambda item: -len(item[1]))
    ]
    rows += [
        [
            str(own.cause and own.cause.value.replace("_", " ")),
            1,
            own.id,
            own.message[:500],
            _lesson(own.cause),
        ]
        for own in failed
        if own.id not in told
    ]
    if not rows:
        return Section("failures", "Failures", says, [TextBlock("None.")])
    infeasible = sum(learns(trial.cause) for trial in failed)
    text = f"{len(failed)} trials failed for good, {infeasible} of them as infeasible. "
    text += "Each attempt's own words are in trials/<trial>/failure-<attempt>.json of the study."
    head = ["cause", "attempts", "trials", "message", "what it taught the search"]
    return Section("failures", "Failures", says, [TextBlock(text), TableBlock(head, rows)])


def _lesson(cause: Cause | None) -> str:
    if learns(cause):
        return "that configurations like it are likely to fail: they are proposed less"
    if cause is Cause.ERROR:
        return "nothing of the place: the trial is tried again, and given up if the error stays"
    if cause is Cause.CANCELLED:
        return "nothing: the configuration is not proposed again"
    return "nothing of the place: the trial goes on from its last checkpoint"


def _cost(material: Material) -> Section:
    says = "What the study used, what of it was lost, what it cost, and what each improvement took."
    if not material.spans:
        return Section("cost", "Cost", says, [TextBlock("Nothing has been used yet.")])
    cards = card_costs(material.spans, material.prices)
    priced = any(card.price is not None for card in cards)
    rows: list[list[Cell]] = [
        [card.device, card.useful, card.lost, card.hours, *([card.price, card.money] if priced else [])]
        for card in cards
    ]
    head = ["card", "GPU-hours useful", "lost", "together", *(["price of an hour", "cost"] if priced else [])]
    blocks: list[Block] = [TableBlock(head, rows, "By kind of card")]
    money = total_money(cards)
    if money is not None:
        blocks.append(TextBlock(f"All together {money:.4g}, in the unit of cost.gpu_hour."))
    elif priced:
        blocks.append(TextBlock("cost.gpu_hour has no price for some of the cards, so there is no sum."))
    else:
        blocks.append(TextBlock("cost.gpu_hour=PRICE with `tune` puts a price on a GPU-hour."))
    energy, measured = energy_wh(material.study)
    if measured:
        blocks.append(
            TextBlock(f"Energy of the cards in the {measured} trials that measured it: {energy:.4g} Wh.")
        )
    hours = sum(card.hours for card in cards)
    if table := _improvement_table(material, hours, money):
        blocks.append(table)
    return Section("cost", "Cost", says, blocks)


def _improvement_table(material: Material, hours: float, money: float | None) -> TableBlock | None:
    rows: list[list[Cell]] = []
    for own in improvements(material.study, material.objectives):
        points = own.percent if own.percent and own.percent > 0 else None
        each: list[Cell] = ["" if points is None else hours / points]
        if money is not None:
            each.append("" if points is None else money / points)
        percent: Cell = "" if own.percent is None else f"{own.percent:.3g}%"
        rows.append([own.objective, own.start, own.since, own.best, own.gain, percent, *each])
    head = ["objective", "from", "which is of", "to the best", "better by", "in percent"]
    head += ["GPU-hours a percent", *(["cost a percent"] if money is not None else [])]
    return (
        TableBlock(head, rows, "What the whole study took for each percent of improvement") if rows else None
    )


def _provenance(material: Material) -> Section:
    says = "With what the results were made: identity, seed, versions, machines, data and the configuration."
    told = material.configuration
    config = without_secrets(told.get("config") or {})
    seed = (config.get("study") or {}).get("seed", "")
    facts: list[list[Cell]] = [
        ["study", material.study.name],
        ["created", str(told.get("created_at", ""))],
        ["identity hash", str(told.get("identity_hash", ""))],
        ["seed", str(seed)],
        ["size of the study's folder", str(folder_size(material.snapshot.paths.folder, SIZE_S))],
    ]
    versions: Mapping[str, object] = told.get("versions") or {}
    facts += [[f"version of {name}", str(version)] for name, version in versions.items()]
    facts += [[name, text] for name, text in _measured(material).items()]
    facts += [[f"runs in {name}", line] for name, line in ways_to_see(material.snapshot.paths)]
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    blocks: list[Block] = [
        TableBlock(["what", "value"], facts),
        TextBlock("The configuration as it was composed", text, folded=True),
    ]
    return Section("provenance", "Provenance", says, blocks)


def _measured(material: Material) -> dict[str, str]:
    """What trials said of where and with what they ran, each different answer once."""
    found: dict[str, list[str]] = {}
    for trial in material.study.in_state(TrialState.COMPLETED)[:_MOST_DEVICES]:
        try:
            details = TrialResult.read(material.snapshot.paths.trial(trial.id).metrics).details
        except (FileNotFoundError, RecordError):
            continue
        for name in ("device", "compute", "machine"):
            if details.get(name):
                _note(found, f"{name} of the trials", details[name])
        for name, value in dict(details.get("hashes") or {}).items():
            _note(found, f"hash of {name}", value)
    return {name: "; ".join(values) for name, values in found.items()}


def _note(found: dict[str, list[str]], name: str, value: Any) -> None:
    text = ", ".join(f"{key} {own}" for key, own in value.items()) if isinstance(value, dict) else str(value)
    values = found.setdefault(name, [])
    if text not in values:
        values.append(text)


def without_secrets(tree: Any) -> Any:
    """The same tree with a text under a key that names a secret left out."""
    if isinstance(tree, Mapping):
        return {
            key: "(left out)"
            if isinstance(value, str) and _SECRET.search(str(key))
            else without_secrets(value)
            for key, value in tree.items()
        }
    return [without_secrets(value) for value in tree] if isinstance(tree, list) else tree
