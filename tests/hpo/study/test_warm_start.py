"""Trials from a CSV file as prior data."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo.errors import InputError
from hpo.objectives import parse_objectives
from hpo.space.space import parse_space
from hpo.study.warm_start import gather, read_trials

SPACE = parse_space(
    {
        "rate": "tag(log, interval(1e-5, 1e-2))",
        "rank": "range(4, 64, step=4)",
        "modules": "choice(qv, all)",
        "bits": "choice(4, 16)",
        "packing": "choice(true, false)",
        "alpha": "derive(2 * rank)",
        "momentum": "interval(0, 1)",
        "conditions": {"momentum": "modules == 'all'"},
    }
)
OBJECTIVES = parse_objectives({"loss": "min", "seconds": "min"})
HEAD = "rate,rank,modules,bits,packing,momentum,loss,loss_se,seconds,remark\n"


def table(folder: Path, text: str, name: str = "before.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8-sig")  # as spreadsheets write it
    return path


def test_cells_become_values_of_the_parameters_kinds(tmp_path: Path) -> None:
    """Numbers, choices of numbers and truth values; a conditional one only where it has a value."""
    path = table(tmp_path, HEAD + "1e-3,8,all,16,TRUE,0.5,1.5,0.01,60,fine\n0.01,64.0,qv,4,false,,2,,70,\n")
    first, second = read_trials(path, SPACE, OBJECTIVES)
    assert first == {
        "params": {
            "rate": 1e-3,
            "rank": 8,
            "modules": "all",
            "bits": 16,
            "packing": True,
            "momentum": 0.5,
            "alpha": 16,
        },
        "metrics": {"loss": [1.5, 0.01], "seconds": [60.0, None]},
    }
    own = {"rate": 0.01, "rank": 64, "modules": "qv", "bits": 4, "packing": False, "alpha": 128}
    assert second["params"] == own
    assert isinstance(second["params"]["rank"], int)
    assert second["metrics"]["loss"] == [2.0, None]


def test_every_bad_cell_is_told_with_line_and_column(tmp_path: Path) -> None:
    """All of them at once; the line of names is line 1."""
    rows = [
        "1e-3,8,qv,4,true,,1.5,,60,fine",
        "5,8,qv,4,true,,1.5,,60,rate too high",
        "1e-3,9,some,4,true,,1.5,,60,two wrong",
        "1e-3,8,qv,4,true,,nan,-1,60,no result",
        "1e-3,8,qv",
        "1e-3,8,qv,4,true,0.5,1.5,,60,momentum only with all",
    ]
    with pytest.raises(InputError) as refused:
        read_trials(table(tmp_path, HEAD + "\n".join(rows) + "\n"), SPACE, OBJECTIVES)
    told = [text.partition("before.csv, ")[2].partition(":")[0] for _, text in refused.value.problems]
    assert told == [
        "line 3, rate",
        "line 4, rank",
        "line 4, modules",
        "line 5, loss",
        "line 5, loss_se",
        "line 6",
        "line 7, momentum",
    ]


def test_missing_columns_are_named(tmp_path: Path) -> None:
    """Both at once; the derived parameter needs none."""
    with pytest.raises(InputError, match="there is none for bits, seconds among rate, "):
        read_trials(table(tmp_path, "rate,rank,modules,packing,momentum,loss\n"), SPACE, OBJECTIVES)


def test_only_completed_rows_of_an_exported_table_count(tmp_path: Path) -> None:
    """A failed trial has no result, and that is no mistake."""
    text = "state," + HEAD + "completed,1e-3,8,qv,4,true,,1.5,,60,\nfailed,1e-3,8,qv,4,true,,,,,\n"
    assert len(read_trials(table(tmp_path, text), SPACE, OBJECTIVES)) == 1


def test_what_is_no_file_or_too_little_is_refused_by_key(tmp_path: Path) -> None:
    """As for studies: under the key that names it."""
    short = table(tmp_path, HEAD + "1e-3,8,qv,4,true,,1.5,,60,\n", "short.csv")
    with pytest.raises(InputError) as refused:
        gather({"known": [str(tmp_path / "no.csv"), str(short)], "related": []}, tmp_path, SPACE, OBJECTIVES)
    (first, missing), (second, few) = refused.value.problems
    assert first == second == "study.known"
    assert "No such file" in missing
    assert "expected at least 2 completed trials, got 1" in few


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """A spreadsheet's own format, renamed."""
    (tmp_path / "x.csv").write_bytes(b"PK\x03\x04\xff\xfe\x00")
    with pytest.raises(InputError, match="expected a CSV file in UTF-8"):
        read_trials(tmp_path / "x.csv", SPACE, OBJECTIVES)
