"""What a stand-alone evaluation found: scores, deltas to the untuned base model, and how sure they are.

`evaluations/<name>/evaluation.json` of a study, rewritten by every `evaluate` (schema_version 1):

    name, study, folder, updated_at
    complete      whether every part is there; a part that failed is a row without scores
    settings      evaluation as it was made: batch_size, and tasks with names, limit, fewshot, chat_template
    metrics       [{name, task, metric, headline, higher_is_better, seen}]
                  headline: the one metric of its task that tables show and averages take;
                  seen: the task was an objective of the tuning, so its score is no longer that of unseen data
    rows          [{subject, trial, base, reference, part, state, message, params, scores, average}]
                  subject: a trial's id, or untuned (untuned-<hash>: of another base model or quantisation);
                  trial: its id, null of the untuned; base: 4bit (as it was trained) or 16bit;
                  reference: the subject that delta is taken to; part: the trial of the evaluation's folder
      scores      {metric: {value, standard_error, documents, delta, over_4bit}}
      average     the same over the headline metrics for which more is better; null of fewer than two tasks
      delta       {value, standard_error, paired}: to the untuned base model on the same base; null of itself
      over_4bit   {value, standard_error, paired}: of a 16bit row, to the same subject on the 4-bit base

Standard errors. Of a score: lm-eval's own, over the choice of documents. Of a difference, where both sides
answered the same documents (`paired`): s / sqrt(n), with s the standard deviation of the n differences
document by document. Else the two are taken for independent: sqrt(a^2 + b^2). Of an average over k tasks,
which share no documents: sqrt(sum of squares) / k.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpo.records import Metric, Record, utc_now

UNTUNED = "untuned"
FOUR_BIT, SIXTEEN_BIT = "4bit", "16bit"
# Of the metrics of a task, the one that is published most; else the first one.
HEADLINES = ("acc_norm", "mc2", "exact_match", "acc")


@dataclass(frozen=True)
class Contrast:
    """A difference of two scores."""

    value: float
    standard_error: float | None
    paired: bool  # document by document


@dataclass(frozen=True)
class RowScore:
    """One number of one row."""

    value: float
    standard_error: float | None
    documents: int | None = None
    delta: Contrast | None = None
    over_4bit: Contrast | None = None


@dataclass(frozen=True)
class DocumentScores:
    """What single documents scored; comparable where the digests are the same."""

    digest: str
    values: Sequence[float]


@dataclass(frozen=True)
class ScoreMetric:
    """What one of the numbers is."""

    name: str
    task: str
    metric: str
    headline: bool
    higher_is_better: bool | None
    seen: bool

    @property
    def averaged(self) -> bool:
        """Whether it is part of the average."""
        return self.headline and self.higher_is_better is True


@dataclass(frozen=True)
class Part:
    """One subject on one base, as far as it has been evaluated."""

    subject: str
    trial: str | None
    base: str
    reference: str | None
    part: str
    state: str
    message: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    documents: Mapping[str, DocumentScores] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluationRow:
    """One subject on one base, with everything that it is compared with."""

    subject: str
    trial: str | None
    base: str
    reference: str | None
    part: str
    state: str
    message: str
    params: Mapping[str, Any]
    scores: Mapping[str, RowScore]
    average: RowScore | None


@dataclass(frozen=True)
class Evaluation(Record):
    """See the module's docstring."""

    name: str
    study: str
    folder: str
    complete: bool
    settings: Mapping[str, Any]
    metrics: Sequence[ScoreMetric]
    rows: Sequence[EvaluationRow]
    updated_at: str = field(default_factory=utc_now)


def describe(told: Sequence[Mapping[str, Any]], seen: set[str]) -> list[ScoreMetric]:
    """What the numbers of an evaluation are.

    Args:
        told: name, task, metric and higher_is_better of each, as a finished part tells them.
        seen: tasks that the tuning had as objectives.
    """
    by_task: dict[str, list[str]] = {}
    for one in told:
        by_task.setdefault(one["task"], []).append(one["metric"])
    chosen: set[str] = set()
    found = []
    for one in told:
        metrics, task = by_task[one["task"]], one["task"]
        best = next((name for name in HEADLINES if name in metrics), metrics[0])
        headline = one["metric"] == best and task not in chosen  # a metric may come once a filter
        chosen |= {task} if headline else set()
        higher = one.get("higher_is_better")
        found.append(ScoreMetric(one["name"], task, one["metric"], headline, higher, task in seen))
    return found


def rows_of(parts: Sequence[Part], metrics: Sequence[ScoreMetric]) -> list[EvaluationRow]:
    """Every part as a row: the untuned first, then the trials, each base after the other.

    Args:
        parts: in any order.
        metrics: what their numbers are.
    """
    places = {(part.subject, part.base): part for part in parts}
    ordered = sorted(parts, key=lambda part: (part.trial is not None, part.subject, part.base != FOUR_BIT))
    return [_row(part, places, metrics) for part in ordered]


def _row(part: Part, places: Mapping[tuple[str, str], Part], metrics: Sequence[ScoreMetric]) -> EvaluationRow:
    reference = places.get((part.reference, part.base)) if part.reference else None
    lower = places.get((part.subject, FOUR_BIT)) if part.base == SIXTEEN_BIT else None
    scores = {
        one.name: RowScore(
            part.metrics[one.name].value,
            part.metrics[one.name].standard_error,
            len(part.documents[one.name].values) if one.name in part.documents else None,
            contrast(part, reference, one.name),
            contrast(part, lower, one.name),
        )
        for one in metrics
        if one.name in part.metrics
    }
    averaged = [scores[one.name] for one in metrics if one.averaged and one.name in scores]
    whole = len(averaged) == sum(one.averaged for one in metrics)
    return EvaluationRow(
        part.subject, part.trial, part.base, part.reference, part.part, part.state, part.message, part.params,
        scores, average(averaged) if whole and len(averaged) > 1 else None,
    )  # fmt: skip


def contrast(part: Part, other: Part | None, name: str) -> Contrast | None:
    """The difference of a metric to the same of another part; None where one of them is not known.

    Args:
        part: that the difference is of.
        other: that it is taken to.
    """
    if other is None or name not in part.metrics or name not in other.metrics:
        return None
    mine, theirs = part.metrics[name], other.metrics[name]
    own, its = part.documents.get(name), other.documents.get(name)
    if own and its and own.digest == its.digest and len(own.values) == len(its.values) > 1:
        differences = [a - b for a, b in zip(own.values, its.values, strict=True)]
        error = statistics.stdev(differences) / math.sqrt(len(differences))
        return Contrast(math.fsum(differences) / len(differences), error, paired=True)
    return Contrast(
        mine.value - theirs.value, _joint([mine.standard_error, theirs.standard_error]), paired=False
    )


def average(scores: Sequence[RowScore]) -> RowScore:
    """The mean of scores of several tasks.

    Args:
        scores: at least one.
    """
    count = len(scores)

    def mean(of: Callable[[RowScore], Contrast | None]) -> Contrast | None:
        known = [one for score in scores if (one := of(score)) is not None]
        if len(known) < count:
            return None
        joint = _joint([one.standard_error for one in known])
        value = math.fsum(one.value for one in known) / count
        paired = all(one.paired for one in known)
        return Contrast(value, None if joint is None else joint / count, paired)

    own = mean(lambda score: Contrast(score.value, score.standard_error, paired=True))
    assert own is not None
    delta, over = mean(lambda score: score.delta), mean(lambda score: score.over_4bit)
    return RowScore(own.value, own.standard_error, None, delta, over)


def _joint(errors: Sequence[float | None]) -> float | None:
    known = [error for error in errors if error is not None]
    return math.sqrt(math.fsum(error**2 for error in known)) if len(known) == len(errors) else None
