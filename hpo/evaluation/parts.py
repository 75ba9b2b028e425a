"""Reads the parts of an evaluation from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from hpo.evaluation.deltas import FOUR_BIT, UNTUNED, DocumentScores, Part
from hpo.paths import StudyPaths, TrialPaths
from hpo.records import RecordError, TrialResult, TrialSpec, read_json
from hpo.study.recipe import content_hash
from hpo.study.state import Study, Trial, TrialState

# A file that is torn, missing or of another kind takes what it tells out of the table, not the table.
DAMAGED = (FileNotFoundError, RecordError, KeyError, TypeError, AttributeError)


def reference(recipe: Mapping[str, Any], base: str, default: Mapping[str, Any]) -> str:
    """The untuned base model that an adapter is compared with.

    Args:
        base: that it is judged on.
        default: the study's own recipe.

    Returns:
        `untuned`, or a name of its own where model or quantisation are tuned too.
    """
    key = _base_model(recipe, base)
    return UNTUNED if default and key == _base_model(default, base) else f"{UNTUNED}-{key[:6]}"


def _base_model(recipe: Mapping[str, Any], base: str) -> str:
    trainer = recipe["trainer"]
    quantisation = [trainer.get("quantisation"), trainer.get("double_quantisation")]
    return content_hash([recipe["model"], quantisation if base == FOUR_BIT else None])


def read_parts(
    paths: StudyPaths, study: Study, source: Study, default: Mapping[str, Any]
) -> tuple[list[Mapping[str, Any]], list[Part]]:
    """Every part, and what their numbers are as the first finished one tells it.

    Args:
        study: the evaluation, as its journal tells it.
        source: the study that is evaluated.
        default: its recipe.
    """
    told: list[Mapping[str, Any]] = []
    parts = []
    for trial in study.trials.values():
        files = paths.trial(trial.id)
        if not told and trial.state is TrialState.COMPLETED:
            with suppress(*DAMAGED):
                told = list(TrialResult.read(files.metrics).details["scores"])
        parts.append(_part(files, trial, source, default))
    return told, parts


def _part(files: TrialPaths, trial: Trial, source: Study, default: Mapping[str, Any]) -> Part:
    subject, base = str(trial.params["subject"]), str(trial.params["base"])
    tuned = source.trials.get(subject)
    to: str | None = None
    documents: dict[str, DocumentScores] = {}
    with suppress(*DAMAGED):
        to = reference(TrialSpec.read(files.spec).recipe, base, default) if tuned else None
    with suppress(*DAMAGED):
        found = read_json(files.documents)["documents"] if trial.state is TrialState.COMPLETED else {}
        documents = {name: DocumentScores(one["digest"], one["values"]) for name, one in found.items()}
    return Part(
        subject, tuned.id if tuned else None, base, to, trial.id, trial.state.value, trial.message,
        tuned.params if tuned else {}, trial.metrics, documents,
    )  # fmt: skip
