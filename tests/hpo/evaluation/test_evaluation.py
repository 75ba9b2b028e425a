"""Scores, deltas and their standard errors, worked by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from hpo.evaluation.deltas import (
    Contrast,
    DocumentScores,
    Evaluation,
    Part,
    RowScore,
    average,
    contrast,
    describe,
    rows_of,
)
from hpo.evaluation.parts import reference
from hpo.evaluation.table import COLUMNS, csv_rows
from hpo.records import Metric

TOLD = [
    {"name": "swag_acc", "task": "swag", "metric": "acc", "higher_is_better": True},
    {"name": "swag_acc_norm", "task": "swag", "metric": "acc_norm", "higher_is_better": True},
    {"name": "truth_acc", "task": "truth", "metric": "acc", "higher_is_better": True},
    {"name": "wiki_perplexity", "task": "wiki", "metric": "perplexity", "higher_is_better": False},
]
near: Any = pytest.approx  # stands for a number


def part(subject: str, base: str, values: Sequence[float], digest: str = "d") -> Part:
    """A part with the scores of four documents on `truth`, and twice of them on `swag`."""
    mean = sum(values) / len(values)
    metrics = {"truth_acc": Metric(mean, 0.1), "swag_acc_norm": Metric(mean / 2, 0.2)}
    documents = {"truth_acc": DocumentScores(digest, values)}
    untuned = subject == "untuned"
    to = None if untuned else "untuned"
    return Part(
        subject, None if untuned else subject, base, to, "0000", "completed", "", {}, metrics, documents
    )


def test_difference_of_the_same_documents_is_taken_one_by_one() -> None:
    """Differences 1, 0, 0, 1: mean 1/2, standard deviation sqrt(1/3), over four documents sqrt(1/12)."""
    found = contrast(part("0001", "4bit", [1, 0, 1, 1]), part("untuned", "4bit", [0, 0, 1, 0]), "truth_acc")
    assert found is not None
    assert found.paired
    assert (found.value, found.standard_error) == pytest.approx((0.5, math.sqrt(1 / 12)))


def test_difference_of_other_documents_is_that_of_independent_scores() -> None:
    """Errors of 0.1 each add up to sqrt(0.02); and where no document is known, likewise."""
    own, other = part("0001", "4bit", [1, 0, 1, 1]), part("untuned", "4bit", [0, 0, 1, 0], digest="e")
    assert contrast(own, other, "truth_acc") == Contrast(0.5, near(math.sqrt(0.02)), paired=False)
    assert contrast(own, other, "swag_acc_norm") == Contrast(0.25, near(math.sqrt(0.08)), paired=False)


@pytest.mark.parametrize("name", ["swag_acc", "wiki_perplexity"])
def test_difference_to_what_is_not_known_is_none(name: str) -> None:
    """No metric, or nothing to compare with."""
    own = part("0001", "4bit", [1, 0, 1, 1])
    assert contrast(own, own, name) is None
    assert contrast(own, None, "truth_acc") is None


def test_average_over_tasks_adds_the_errors_up() -> None:
    """Scores 0.2 and 0.6 with errors 0.3 and 0.4: 0.4 with sqrt(0.09 + 0.16) / 2 = 0.25."""
    first = RowScore(0.2, 0.3, delta=Contrast(0.1, 0.03, paired=True))
    second = RowScore(0.6, 0.4, delta=Contrast(0.2, 0.04, paired=False))
    found = average([first, second])
    assert (found.value, found.standard_error) == pytest.approx((0.4, 0.25))
    assert found.delta == Contrast(near(0.15), near(0.025), paired=False)
    assert found.over_4bit is None


def test_one_metric_of_each_task_stands_for_it() -> None:
    """acc_norm before acc; what was an objective is seen; what is better when low is in no average."""
    found = describe(TOLD, {"truth"})
    assert [one.name for one in found if one.headline] == ["swag_acc_norm", "truth_acc", "wiki_perplexity"]
    assert [one.name for one in found if one.averaged] == ["swag_acc_norm", "truth_acc"]
    assert [one.task for one in found if one.seen] == ["truth"]


def test_rows_hold_every_comparison() -> None:
    """The untuned first; a delta on the same base, and 16 bits against 4 of the same subject."""
    parts = [
        part("0001", "16bit", [1, 1, 1, 1]),
        part("0001", "4bit", [1, 0, 1, 1]),
        part("untuned", "4bit", [0, 0, 1, 0]),
    ]
    rows = rows_of(parts, describe(TOLD[1:3], set()))
    assert [(row.subject, row.base) for row in rows] == [
        ("untuned", "4bit"),
        ("0001", "4bit"),
        ("0001", "16bit"),
    ]
    untuned, four, sixteen = (row.scores["truth_acc"] for row in rows)
    assert (untuned.delta, sixteen.delta) == (None, None)  # there is no untuned part of 16 bits
    assert four.delta is not None
    assert (four.documents, four.delta.value) == (4, 0.5)
    assert sixteen.over_4bit is not None
    assert sixteen.over_4bit.value == 0.25
    assert rows[1].average is not None
    assert rows[1].average.value == pytest.approx((0.75 + 0.375) / 2)


def test_csv_has_a_line_for_every_score_and_average() -> None:
    """As many cells as columns; two scores and an average of each row."""
    metrics = describe(TOLD[1:3], {"swag"})
    rows = rows_of([part("untuned", "4bit", [0, 1]), part("0001", "4bit", [1, 1])], metrics)
    lines = list(csv_rows(Evaluation("e", "s", "/e", True, {}, metrics, rows)))
    assert {len(line) for line in lines} == {len(COLUMNS)}
    assert [line[2] for line in lines] == ["swag", "truth", "average"] * 2
    assert [line[5] for line in lines[:3]] == [True, False, True]


def test_adapter_of_another_quantisation_has_its_own_reference() -> None:
    """Quantisation counts on the base as it was trained only, the model on both."""
    default = {"model": {"path": "m"}, "trainer": {"quantisation": "nf4", "lora_rank": 8}}
    other = {"model": {"path": "m"}, "trainer": {"quantisation": "int8", "lora_rank": 4}}
    assert reference({**default, "trainer": {"quantisation": "nf4"}}, "4bit", default) == "untuned"
    assert reference(other, "4bit", default).startswith("untuned-")
    assert reference(other, "16bit", default) == "untuned"
    assert reference({**other, "model": {"path": "n"}}, "16bit", default).startswith("untuned-")
