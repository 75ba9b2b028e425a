"""Sample generations in the report: side by side, escaped, and absent where there are none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from written_study import SCRIPT, write_study

from hpo.paths import StudyPaths
from hpo.records import write_json
from hpo.reporting.analysis import Analysis
from hpo.reporting.material import Material, gather
from hpo.reporting.page import render, sections
from hpo.reporting.sections.blocks import Section, TableBlock, TextBlock
from hpo.reporting.sections.samples import given_text, samples_section
from hpo.study.snapshot import take

pytestmark = pytest.mark.usefixtures("no_model")


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without a surrogate, which has no part in this."""
    monkeypatch.setattr("hpo.reporting.material.analyse", lambda *args: Analysis("not asked for"))


def write_samples(path: Path, answers: dict[str, str], *, ended: bool = True) -> None:
    """A record as trials write it, of prompts as plain texts."""
    told = [
        {"asked": prompt, "prompt": f"Asked: {prompt}", "answer": answer, "tokens": 3, "ended": ended}
        for prompt, answer in answers.items()
    ]
    write_json(path, {"schema_version": 1, "quantisation": "nf4", "max_new_tokens": 3, "samples": told})


def material_of(paths: StudyPaths) -> Material:
    """What a report is made of."""
    return gather(take(paths), {}, [])


def parts_of(section: Section | None) -> tuple[str, TableBlock]:
    """Which trials a section says that it shows, and its table."""
    assert section is not None
    chosen, table = section.blocks
    assert isinstance(chosen, TextBlock)
    assert isinstance(table, TableBlock)
    return chosen.text, table


def test_knee_and_best_of_a_large_front_stand_beside_the_base(tmp_path: Path) -> None:
    """Four trials at most; a prompt that was changed meanwhile was not asked of all."""
    paths = write_study(tmp_path, 40)
    material = material_of(paths)
    assert samples_section(material) is None
    write_samples(paths.base_samples, {"a?": " base \n", "b?": ""})
    for trial in material.front:
        write_samples(paths.trial(trial.id).samples, {"a?": trial.id}, ended=False)
    chosen, table = parts_of(samples_section(material))
    values = {trial.id: trial.metrics for trial in material.front}
    best = [min(values, key=lambda own: values[own][name].value) for name in ("eval_loss", "train_seconds")]
    assert material.knee is not None
    assert chosen.startswith("4 of ")
    assert "its knee, the best in each objective" in chosen
    assert list(table.head)[:2] == ["prompt", "untuned (nf4)"]
    ids = [re.sub(r"trial (\d+) \(.*\)", r"\1", head) for head in list(table.head)[2:]]
    assert ids[:3] == [material.knee.id, *best]
    assert len(set(ids)) == 4
    assert table.rows[0] == ["a?", "base", *(f"{own} …" for own in ids)]
    assert table.rows[1] == ["b?", "(nothing)", *["not asked"] * 4]


def test_held_out_answers_stand_between_prompts_and_what_models_wrote(tmp_path: Path) -> None:
    """Of a fixed prompt none is known; one that data.max_length cut says so."""
    paths = write_study(tmp_path, 1)
    answered = {"answer": "3", "tokens": 1, "ended": True}
    told = [
        {"asked": "1+1", "prompt": "1+1", "expected": "2", "whole": True, **answered},
        {"asked": "pi", "prompt": "pi", "expected": "3.1", "whole": False, **answered},
        {"asked": "a?", "prompt": "a?", **answered},
    ]
    record = {"schema_version": 1, "quantisation": "nf4", "max_new_tokens": 3}
    write_json(paths.base_samples, {**record, "samples": told})
    _, table = parts_of(samples_section(material_of(paths)))
    assert list(table.head) == ["prompt", "held-out answer", "untuned (nf4)"]
    assert table.rows == [["1+1", "2", "3"], ["pi", "3.1 …", "3"], ["a?", "", "3"]]
    write_json(paths.base_samples, {**record, "samples": []})
    assert samples_section(material_of(paths)) is None


def test_others_stand_beside_a_small_front(tmp_path: Path) -> None:
    """By the first objective, and marked as beaten; of trials that left no samples nothing is shown."""
    paths = write_study(tmp_path, 12, objectives=["eval_loss"])
    material = material_of(paths)
    told = {trial.id: trial.metrics for trial in material.study.trials.values() if trial.metrics}
    losses = {name: metrics["eval_loss"].value for name, metrics in told.items()}
    ranked = sorted(losses, key=losses.__getitem__)
    for name in [*ranked[:2], *ranked[3:]]:
        write_samples(paths.trial(name).samples, {"a?": name})
    _, table = parts_of(samples_section(material))
    assert table.rows == [["a?", ranked[0], ranked[1], ranked[3], ranked[4]]]
    assert ["not on the front" in head for head in list(table.head)[1:]] == [False, True, True, True]


def test_markup_in_prompts_and_answers_is_text(tmp_path: Path) -> None:
    """A script element in each of them stays readable, after the evaluations and before all trials."""
    paths = write_study(tmp_path, 3)
    write_samples(paths.base_samples, {SCRIPT: SCRIPT})
    material = material_of(paths)
    names = [section.name for section in sections(material)]
    assert names[names.index("cost") : names.index("provenance")] == ["cost", "samples", "trials"]
    own = re.search(r'<section id="samples">.*?</section>', render(material), re.DOTALL)
    assert own is not None
    assert own[0].count("&lt;script&gt;document.title") == 2
    assert "<script" not in own[0]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"schema_version": 2, "samples": []}'])
def test_records_that_cannot_be_read_are_none(text: str, tmp_path: Path) -> None:
    """A torn file, another shape, a later version: the report is made without them."""
    paths = write_study(tmp_path, 3)
    paths.base_samples.write_text(text)
    assert samples_section(material_of(paths)) is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("as it is\n", "as it is"),
        ({"instruction": "Shorten.", "input": "Why not?"}, "Shorten.\nWhy not?"),
        ({"messages": [{"role": "user", "content": "Why?"}]}, "user: Why?"),
        ({"prompt": 3}, "3"),
    ],
)
def test_prompt_is_shown_as_it_was_given(given: Any, expected: str) -> None:
    """Without the words of a template around it."""
    assert given_text(given) == expected
