"""Clock times in YAML, wherever a configuration is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tiers import quick

from hpo import clocks
from hpo.clocks import clocks_as_text
from hpo.controller.compose import compose_config
from hpo.controller.groups import CONF
from hpo.paths import StudyPaths
from hpo.study.store import read_configuration

CLOCKS = ["4:00:00", "0:30:00", "1-00:00:00", "30:00", "4:30", "1:30.5", "+4:00"]


@pytest.mark.parametrize("text", CLOCKS)
def test_a_clock_time_without_quotes_is_text(text: str) -> None:
    """YAML 1.1 makes 14,400 of 4:00:00, which as minutes is ten days."""
    assert yaml.load(f"time: {text}", clocks_as_text(yaml.SafeLoader)) == {"time": text}


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90), ("-3", -3), ("1.5", 1.5), ("0x10", 16), ("2026-01-02", "2026-01-02")]
)
def test_other_numbers_stay_what_they_are(text: str, value: Any) -> None:
    """As in every other YAML file."""
    read = yaml.load(f"number: {text}", clocks_as_text(yaml.SafeLoader))
    assert str(read["number"]) == str(value)


@pytest.mark.parametrize("text", quick(CLOCKS, list(CLOCKS)[:1]))
def test_users_own_files_and_the_command_line_read_the_same(text: str, tmp_path: Path) -> None:
    """Of the trials and of a helper; hydra reads the files, and its own grammar the overrides."""
    (tmp_path / "cluster").mkdir()
    own = f"defaults: [slurm, _self_]\ntime_limit: {text}\nhelper:\n  time_limit: {text}\n"
    (tmp_path / "cluster" / "site.yaml").write_text(own)
    config, problems = compose_config(["cluster=site"], str(tmp_path))
    assert problems == []
    typed, problems = compose_config([f"cluster.time_limit={text}", f"cluster.helper.time_limit={text}"])
    assert problems == []
    for found in (config["cluster"], typed["cluster"]):
        assert (found["time_limit"], found["helper"]["time_limit"]) == (text, text)


def test_a_study_whose_configuration_was_edited_reads_the_same(tmp_path: Path) -> None:
    """study.yaml is written with quotes, but people do without."""
    (tmp_path / "study.yaml").write_text("config: {cluster: {time_limit: 4:00:00}}\n")
    record = read_configuration(StudyPaths(tmp_path))
    assert record["config"]["cluster"]["time_limit"] == "4:00:00"


def test_files_read_the_same_without_the_quick_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file of conf/, by the parser in C and by the one in Python."""
    quick = clocks_as_text(yaml.SafeLoader)
    monkeypatch.setattr(clocks, "_PARSERS", ())
    plain = clocks_as_text(yaml.SafeLoader)
    texts = [path.read_text(encoding="utf-8") for path in sorted(CONF.rglob("*.yaml"))]
    assert [yaml.load(text, quick) for text in texts] == [yaml.load(text, plain) for text in texts]
