"""Reports, tables and snapshots at every stage of a study."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from written_study import OBJECTIVES, SECTIONS, write_study

from hpo.commands.report import report
from hpo.commands.status import to_json
from hpo.display.overview import overview
from hpo.display.tables import front_table
from hpo.errors import InputError
from hpo.exports.table import rows, write_csv
from hpo.formatting import duration
from hpo.objectives import parse_objectives
from hpo.paths import StudyPaths
from hpo.records import Progress, append_jsonl
from hpo.reporting.sections.blocks import TableBlock, TextBlock, inside_script
from hpo.reporting.sections.evaluation import evaluation_section
from hpo.reporting.sections.running import without_secrets
from hpo.space.space import parse_space
from hpo.study.journal import Journal
from hpo.study.snapshot import last_progress, pareto_trials, take
from hpo.study.state import Event
from hpo.study.store import create_study
from hpo.study.warm_start import gather

BOTH = {
    "eval_loss": {"direction": "min", "threshold": None},
    "accuracy": {"direction": "max", "threshold": None},
}


def make_study(folder: Path, outcomes: list[Any], objectives: dict[str, Any] | None = None) -> StudyPaths:
    """A study whose trials ended as stated: a pair of objective values, a cause, or None for still open.

    Every second trial has a parameter more, as a conditional one.
    """
    paths = StudyPaths(folder / "study")
    created = {"objectives": objectives or BOTH, "settings": {"budget": {"trials": 20}}}
    create_study(paths, {}, {}, created)
    journal = Journal(paths.journal)
    proposals = [
        {
            "trial": f"{n:04d}",
            "number": n,
            "params": {"rank": n, "targets": "<script>"} | ({"momentum": 0.5} if n % 2 else {}),
            "origin": "sobol",
        }
        for n in range(len(outcomes))
    ]
    if proposals:
        journal.record(Event.BATCH_PLANNED, batch="0000", proposals=proposals, retries=[])
    for n, outcome in enumerate(outcomes):
        if isinstance(outcome, tuple):
            metrics = {
                name: {"value": value, "standard_error": 0.1}
                for name, value in zip(objectives or BOTH, outcome, strict=True)
            }
            journal.record(Event.TRIAL_COMPLETED, trial=f"{n:04d}", metrics=metrics)
        elif outcome:
            message = "<script>alert(1)</script>"
            journal.record(Event.TRIAL_FAILED, trial=f"{n:04d}", cause=outcome, message=message)
    return paths


STAGES: dict[str, tuple[list[Any], dict[str, Any] | None]] = {
    "no trial": ([], None),
    "one open": ([None], None),
    "one completed": ([(1.0, 0.5)], None),
    "all failed": (["diverged", "error"], None),
    "mixed": ([(1.0, 0.5), None, "gpu_out_of_memory", (2.0, 0.9)], None),
    "all equal": ([(1.0, 0.5)] * 3, None),
    "one objective": ([(1.0,), (0.5,)], {"eval_loss": BOTH["eval_loss"]}),
    "three objectives": ([(1.0, 0.5, 3.0), (2.0, 0.9, 1.0)], {**BOTH, "time": BOTH["eval_loss"]}),
}


OURS = re.compile(r"<script(?: type=\"application/json\" id=\"[\w-]+\")?>(.*?)</script>", re.DOTALL)


def page_of(paths: StudyPaths, *limits: str) -> str:
    """The page of a study's report without what is in its script elements."""
    assert report(str(paths.folder), paths.folder.parent, Console(file=io.StringIO()), limits) == 0
    page = (paths.report / "report.html").read_text()
    assert page.rstrip().endswith("</html>")
    assert [name for name in SECTIONS if f'<section id="{name}">' not in page] == []
    scripts, rest = OURS.findall(page), OURS.sub("", page)
    assert "<script" not in rest
    assert not any("</script" in text for text in scripts)
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", rest)
    return rest


def stages() -> Iterator[Any]:
    """Two stages in the default tier, since each draws a dozen pictures; the others are slow together."""
    for name in STAGES:
        yield pytest.param(name, marks=() if name in ("no trial", "mixed") else pytest.mark.slow)


@pytest.mark.parametrize("stage", stages())
def test_report_is_made_at_every_stage(stage: str, tmp_path: Path) -> None:
    """Whatever there is so far, a whole page and a table come out, and no text of a trial becomes markup."""
    outcomes, objectives = STAGES[stage]
    paths = make_study(tmp_path, outcomes, objectives)
    page_of(paths)
    table = list(csv.DictReader(io.StringIO((paths.report / "trials.csv").read_text())))
    assert [row["trial"] for row in table] == [f"{n:04d}" for n in range(len(outcomes))]


def test_table_of_a_report_is_known_to_a_new_study(tmp_path: Path) -> None:
    """`study.known` takes trials.csv as it is: the results with their errors, and not the failure."""
    objectives = {"eval_loss": BOTH["eval_loss"]}
    paths = make_study(tmp_path, [(1.0,), (0.5,), "diverged", (0.75,)], objectives)
    report(str(paths.folder), tmp_path, Console(file=io.StringIO()))
    space = parse_space({"rank": "range(0, 8)", "targets": "choice('<script>', all)"})
    named = {"known": [str(paths.report / "trials.csv")], "related": []}
    [known] = gather(named, tmp_path, space, parse_objectives(objectives))["known"]
    assert [one["params"] for one in known["trials"]] == [
        {"rank": rank, "targets": "<script>"} for rank in (0, 1, 3)
    ]
    metrics = [one["metrics"]["eval_loss"] for one in known["trials"]]
    assert metrics == [[1.0, 0.1], [0.5, 0.1], [0.75, 0.1]]


@pytest.mark.slow
@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_page_of_a_study_with_a_model(objectives: int, tmp_path: Path) -> None:
    """Failures, preemptions, prices and curves, one to three objectives; secrets stay out."""
    paths = write_study(tmp_path, 30, objectives=list(OBJECTIVES)[:objectives])
    rest = page_of(paths, "train_seconds<=600")
    assert "There is no surrogate" not in rest
    assert "with train_seconds &lt;= 600" in rest
    assert "frontrunner train" in rest
    assert "&lt;script&gt;document.title" in rest
    assert "hf_hidden" not in (paths.report / "report.html").read_text()
    pictures = {path.name for path in paths.report.glob("*.png")}
    assert {"hypervolume.png", "importance.png", "learning_curves.png"} < pictures
    assert len([name for name in pictures if name.startswith("front_")]) == objectives * (objectives - 1) / 2


@pytest.mark.slow
def test_page_where_a_parameter_did_not_vary_and_trials_run(tmp_path: Path) -> None:
    """All trials with one warmup, and the last three still at work: there is a model all the same."""
    paths = write_study(tmp_path, 20, fixed={"warmup": 0.1}, running=3)
    assert "There is no surrogate" not in page_of(paths)


@pytest.mark.slow
def test_page_of_a_study_whose_objectives_were_changed(tmp_path: Path) -> None:
    """Trials from before the change lack the new objective: they are passed over."""
    paths = make_study(tmp_path, [(1.0, 0.5), (2.0, 0.9), None])
    objectives = {**BOTH, "time": BOTH["eval_loss"]}
    journal = Journal(paths.journal)
    journal.record(Event.SETTINGS_CHANGED, objectives=objectives, settings={}, identity={})
    metrics = {name: {"value": 1.0, "standard_error": None} for name in objectives}
    journal.record(Event.TRIAL_COMPLETED, trial="0002", metrics=metrics)
    assert "<td>0002</td>" in page_of(paths).partition('id="front"')[0]


def test_limit_that_is_none_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """The message names the option, what it got and what it expected."""
    paths = make_study(tmp_path, [(1.0, 0.5)])
    with pytest.raises(InputError, match=r"--limit: expected METRIC<=NUMBER \(or >=, <, >\), got 'soon'"):
        report(str(paths.folder), tmp_path, Console(file=io.StringIO()), ["soon"])
    assert not paths.report.exists()


def test_text_in_a_script_element_cannot_end_it() -> None:
    """The JSON of a figure or a hover holds no `<`, and reads as what it was."""
    text = "</script><script>alert(1)</script>"
    held = inside_script(json.dumps({"text": text}))
    assert "<" not in held
    assert json.loads(held) == {"text": text}


def test_evaluations_are_shown_as_evaluate_wrote_them(tmp_path: Path) -> None:
    """Scores with deltas on either base, a part that failed, and a file that cannot be read."""
    paths = StudyPaths(tmp_path)
    assert evaluation_section(paths) is None
    delta = {"value": 0.05, "standard_error": 0.02, "paired": True}
    score = {"value": 0.4512, "standard_error": 0.011, "documents": 100, "delta": delta, "over_4bit": None}
    metric = {"name": "arc_acc", "task": "arc", "metric": "acc", "headline": True, "seen": True}
    row = {"subject": "0003", "base": "4bit", "state": "completed", "message": "", "average": None}
    failed: dict[str, object] = {
        **row,
        "base": "16bit",
        "state": "failed",
        "message": "<b>no memory</b>",
        "scores": {},
    }
    plain = {**row, "base": "16bit", "scores": {"arc_acc": {**score, "over_4bit": delta}}}
    rows = [{**row, "scores": {"arc_acc": score}}, failed, plain]
    record = {"schema_version": 1, "complete": True, "metrics": [metric], "rows": rows}
    for name, text in (("held_out", json.dumps(record)), ("torn", "{")):
        (tmp_path / "evaluations" / name).mkdir(parents=True)
        (tmp_path / "evaluations" / name / "evaluation.json").write_text(text)
    section = evaluation_section(paths)
    assert section is not None
    scores, over, torn = section.blocks
    assert isinstance(scores, TableBlock)
    assert list(scores.head) == ["", "base", "arc acc (seen)", "average"]
    assert scores.rows[0] == ["0003", "4-bit", "0.4512 ± 0.011 (+0.05 ± 0.02)", ""]
    assert scores.rows[1] == ["0003", "16-bit", "failed <b>no memory</b>", ""]
    assert isinstance(over, TableBlock)
    assert over.rows == [["0003", "16 - 4", "+0.05 ± 0.02", ""]]
    assert isinstance(torn, TextBlock)
    assert "torn: evaluation.json cannot be read" in torn.text


def test_secrets_are_left_out_of_the_configuration() -> None:
    """By the names of their keys, at any depth; counts of tokens and the tokenizer are none."""
    tree = {"hub_token": "x", "a": [{"api_key": "y"}], "tokenizer": "z", "max_tokens": 3, "token": None}
    left_out = {"hub_token": "(left out)", "a": [{"api_key": "(left out)"}]}
    assert without_secrets(tree) == {**tree, **left_out}


def test_front_is_hand_worked(tmp_path: Path) -> None:
    """Minimise the loss, maximise the accuracy: 0 and 2 are on the front, 1 is beaten by 0."""
    paths = make_study(tmp_path, [(1.0, 0.5), (1.5, 0.4), (2.0, 0.9), "diverged"])
    snapshot = take(paths)
    assert [trial.id for trial in pareto_trials(snapshot.study, snapshot.objectives)] == ["0000", "0002"]
    assert [row["on_front"] for row in rows(snapshot)] == [True, False, True, False]


def test_a_parameter_that_a_trial_does_not_have_is_an_empty_cell(tmp_path: Path) -> None:
    """In the table of the front and in the CSV; the first trial has none, the second has 0.5."""
    snapshot = take(make_study(tmp_path, [(1.0, 0.5), (1.5, 0.9)]))
    table = front_table(snapshot.study, snapshot.objectives)
    [column] = [column for column in table.columns if column.header == "momentum"]
    assert list(column.cells) == ["", "0.5"]
    write_csv(snapshot, tmp_path / "trials.csv")
    with (tmp_path / "trials.csv").open() as stream:
        assert [row["momentum"] for row in csv.DictReader(stream)] == ["", "0.5"]


def test_json_status_can_be_read_by_scripts(tmp_path: Path) -> None:
    """The same facts, as JSON values."""
    told = to_json(take(make_study(tmp_path, [(1.0, 0.5), None, "diverged"])))
    read = json.loads(json.dumps(told))
    assert read["trials"]["completed"] == 1
    assert read["trials"]["queued"] == 1
    assert [trial["trial"] for trial in read["pareto_front"]] == ["0000"]
    assert read["failures"][0]["cause"] == "diverged"


def test_progress_of_a_running_trial_is_shown(tmp_path: Path) -> None:
    """Step, loss and the time left: 10 of 40 steps in 5 s leave 15 s."""
    paths = make_study(tmp_path, [None])
    paths.trial("0000").folder.mkdir()
    log = paths.trial("0000").progress
    for step in (5, 10):
        line = Progress(1, "training", step, 40, loss=2.5, train_seconds=step / 2).to_json()
        append_jsonl(log, line, durable=False)
    with log.open("a") as stream:
        stream.write('{"torn": ')
    running = take(paths).running[0]
    assert running.progress.step == 10
    assert running.seconds_left == 15.0
    console = Console(file=io.StringIO(), width=160)
    console.print(overview(take(paths)))
    assert "10/40" in console.file.getvalue()  # type: ignore[attr-defined]


def test_progress_log_longer_than_the_tail_that_is_read(tmp_path: Path) -> None:
    """The newest record is found without reading the whole file."""
    log = tmp_path / "progress.jsonl"
    for step in range(200):
        append_jsonl(log, Progress(1, "training", step, 200).to_json(), durable=False)
    newest = last_progress(log)
    assert newest is not None
    assert newest.step == 199
    assert last_progress(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (0, "0s"), (59.6, "1m00s"), (184, "3m04s"), (3725, "1h02m")]
)
def test_durations(seconds: float | None, text: str) -> None:
    """Short and exact enough to plan a coffee by."""
    assert duration(seconds) == text
