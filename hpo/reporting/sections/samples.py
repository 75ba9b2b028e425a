"""The section on sample generations, from the files that trials and controller write."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from hpo.records import SCHEMA_VERSION, RecordError, read_json
from hpo.reporting.choosing import picks
from hpo.reporting.figures.labels import params_label
from hpo.reporting.material import Material
from hpo.reporting.sections.blocks import Cell, Section, TableBlock, TextBlock
from hpo.study.snapshot import measured_trials
from hpo.study.state import Trial

MOST_TRIALS = 4
LONGEST = 2000  # characters of a prompt or an answer that are shown


@dataclass(frozen=True)
class Samples:
    """What one model wrote."""

    quantisation: str  # of the base model
    asked: Mapping[str, Any]  # prompt as the model read it -> as it was given
    expected: Mapping[str, str]  # answers of held-out examples, by prompt
    answers: Mapping[str, str]  # by prompt


def samples_section(material: Material) -> Section | None:
    """Answers of the untuned base model and of trials, those on the front first, to the same prompts."""
    paths = material.snapshot.paths
    base = read_samples(paths.base_samples)
    read = ((trial, read_samples(paths.trial(trial.id).samples)) for trial in _first_to_show(material))
    shown = list(islice(((trial, own) for trial, own in read if own), MOST_TRIALS))
    names = material.study.parameters
    columns = {f"untuned ({base.quantisation})": base} if base else {}
    columns |= {_head(trial, names, material): own for trial, own in shown}
    if not any(own.asked for own in columns.values()):
        return None
    says = (
        "What the untuned base model and trials write to the same prompts, always with the most probable "
        "token; … at the end of an answer stands where it was cut at its longest length."
    )
    chosen = TextBlock(_chosen([trial for trial, _ in shown], material))
    return Section("samples", "Sample generations", says, [chosen, _table(columns)])


def _first_to_show(material: Material) -> list[Trial]:
    """The knee, the best in each objective, the rest of the front, then others by the first objective."""
    first = [*([material.knee] if material.knee else [])]
    first += [*picks(material.front, material.objectives, []).values(), *material.front]
    name, objective = next(iter(material.objectives.items()))
    others = measured_trials(material.study, material.objectives)
    first += sorted(others, key=lambda trial: objective.minimised(trial.metrics[name].value))
    return list({trial.id: trial for trial in first}.values())


def _head(trial: Trial, names: Sequence[str], material: Material) -> str:
    beaten = "" if trial in material.front else ", not on the front"
    return f"trial {trial.id} {params_label(trial, names)}{beaten}"


def _chosen(shown: Sequence[Trial], material: Material) -> str:
    completed = measured_trials(material.study, material.objectives)
    if not completed:
        return "No trial has completed yet."
    if len(shown) == len(completed):
        return "All completed trials are shown."
    knee = "its knee, " if material.knee else ""
    return (
        f"{len(shown)} of {len(completed)} completed trials are shown: of the front {knee}the best in each "
        f"objective and others, then the best in {next(iter(material.objectives))}."
    )


def _table(columns: Mapping[str, Samples]) -> TableBlock:
    asked = {prompt: given for own in columns.values() for prompt, given in own.asked.items()}
    known = {prompt: answer for own in columns.values() for prompt, answer in own.expected.items()}
    rows: list[list[Cell]] = [
        [
            _short(given_text(given)),
            *([_short(known.get(prompt, ""))] if known else []),
            *(_short(own.answers.get(prompt, "not asked")) for own in columns.values()),
        ]
        for prompt, given in asked.items()
    ]
    return TableBlock(["prompt", *(["held-out answer"] if known else []), *columns], rows)


def read_samples(path: Path) -> Samples | None:
    """What a model wrote; None where there is no such file, or it cannot be read.

    Args:
        path: of base_samples.json or samples.json.
    """
    with suppress(FileNotFoundError, RecordError, KeyError, TypeError, AttributeError):
        record = read_json(path)
        if record["schema_version"] <= SCHEMA_VERSION:
            asked = {one["prompt"]: one["asked"] for one in record["samples"]}
            known = {one["prompt"]: _expected(one) for one in record["samples"] if "expected" in one}
            answers = {one["prompt"]: _answer(one) for one in record["samples"]}
            return Samples(str(record["quantisation"]), asked, known, answers)
    return None


def _expected(sample: Mapping[str, Any]) -> str:
    return _marked(str(sample["expected"]), whole=sample["whole"])


def _answer(sample: Mapping[str, Any]) -> str:
    return _marked(sample["answer"].strip() or "(nothing)", whole=sample["ended"])


def _marked(text: str, *, whole: bool) -> str:
    return text if whole else f"{text} …"


def given_text(given: Any) -> str:
    """A prompt as it was given, without the words of the template around it."""
    if not isinstance(given, Mapping):
        return str(given).strip()
    said = given.get("messages")
    if isinstance(said, list):
        turns = [one for one in said if isinstance(one, Mapping)]
        return "\n".join(f"{one.get('role')}: {one.get('content')}" for one in turns)
    texts = (own if isinstance(own, str) else json.dumps(own, ensure_ascii=False) for own in given.values())
    return "\n".join(text.strip() for text in texts if text.strip())


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} [{len(text) - LONGEST} more characters]"
