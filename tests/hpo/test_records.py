"""The files that controller and trials exchange."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.records import (
    SCHEMA_VERSION,
    BatchRecord,
    Metric,
    RecordError,
    TrialResult,
    append_jsonl,
    mend_torn_tail,
    read_json,
    read_jsonl,
    write_json,
    write_json_once,
)

RESULT = {"schema_version": 1, "trial": "0003", "attempt": 1}


def test_first_commit_of_a_result_wins(tmp_path: Path) -> None:
    """A second writer is told that it came too late, and the file stays as it was."""
    path = tmp_path / "metrics.json"
    assert write_json_once(path, {"by": "first"})
    assert not write_json_once(path, {"by": "second"})
    assert read_json(path) == {"by": "first"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.json"]


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """A value that JSON cannot hold changes nothing on disk."""
    path = tmp_path / "record.json"
    write_json(path, {"value": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"value": float("nan")})
    assert read_json(path) == {"value": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["record.json"]


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(min_value=0, max_value=200))
def test_log_cut_anywhere_keeps_every_whole_line(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A kill while a line is appended loses at most that line, and the next one is read again."""
    path = tmp_path_factory.mktemp("log") / "journal.jsonl"
    for number in range(5):
        append_jsonl(path, {"number": number, "text": "ü" * 10}, durable=False)
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    expected = [{"number": n, "text": "ü" * 10} for n in range(whole[:cut].count(b"\n"))]
    assert read_jsonl(path) == expected
    mend_torn_tail(path)
    append_jsonl(path, {"number": 9}, durable=False)
    assert read_jsonl(path) == [*expected, {"number": 9}]


def test_torn_middle_line_is_an_error_that_names_it(tmp_path: Path) -> None:
    """Only the last line may be torn: anything else is damage, and is said so."""
    path = tmp_path / "journal.jsonl"
    path.write_text('{"a": 1}\n{"a": \n{"a": 3}\n')
    with pytest.raises(RecordError, match=r"journal\.jsonl:2"):
        read_jsonl(path)


def test_missing_log_is_empty(tmp_path: Path) -> None:
    """A study that has not begun has no events."""
    assert read_jsonl(tmp_path / "none.jsonl") == []
    assert not mend_torn_tail(tmp_path / "none.jsonl")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "null", '"1.5"', "true_"])
def test_result_without_a_finite_number_is_refused(value: str, tmp_path: Path) -> None:
    """Neither NaN nor text becomes an objective value."""
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({**RESULT, "metrics": {}}).replace("{}}", f'{{"loss": {value}}}}}'))
    with pytest.raises(RecordError, match=r"metrics\.json"):
        TrialResult.read(path)


def test_result_round_trip(tmp_path: Path) -> None:
    """What a trial commits is what the controller reads, standard errors included."""
    result = TrialResult("0003", 2, {"eval_loss": Metric(1.5, 0.25), "train_seconds": Metric(9.0)})
    write_json(tmp_path / "metrics.json", result.to_json())
    assert TrialResult.read(tmp_path / "metrics.json") == result


def test_record_of_a_later_version_is_refused() -> None:
    """An older program does not guess at what a newer one wrote."""
    with pytest.raises(RecordError, match="schema_version"):
        BatchRecord.from_json({"schema_version": SCHEMA_VERSION + 1})


def test_record_that_lacks_a_field_says_which_it_expected() -> None:
    """A truncated or foreign file is named as such."""
    with pytest.raises(RecordError, match="job_id"):
        BatchRecord.from_json({"schema_version": 1, "batch": "0000"}, "batch.json")


def test_write_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    """A reader never sees a part of a file that another process is rewriting, killed or not."""
    path = tmp_path / "record.json"
    write_json(path, {"value": 0, "filler": "x" * 100_000})
    code = (
        "import sys; from pathlib import Path; from hpo.records import write_json\n"
        "n = 0\n"
        "while True:\n"
        "    n += 1; write_json(Path(sys.argv[1]), {'value': n, 'filler': 'x' * 100_000})\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(path)])
    try:
        seen, deadline = set[int](), time.monotonic() + 20
        while len(seen) < 20 and time.monotonic() < deadline:
            seen.add(read_json(path)["value"])
    finally:
        writer.kill()
        writer.wait()
    assert len(seen) == 20
    assert len(read_json(path)["filler"]) == 100_000
