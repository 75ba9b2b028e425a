"""Sizes of folders, and what is left on a disk and of a quota."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hpo.forecasts.disk import disk_line
from hpo.study.room import Size, bytes_text, folder_size, room


def test_size_of_a_folder_is_that_of_its_files(tmp_path: Path) -> None:
    """Folders in folders are counted; a link is not followed."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"x" * 1000)
    (tmp_path / "other").write_bytes(b"x" * 24)
    outside = tmp_path.with_name(f"{tmp_path.name}-outside")
    outside.mkdir()
    (outside / "large").write_bytes(b"x" * 9000)
    (tmp_path / "a" / "link").symlink_to(outside)
    assert folder_size(tmp_path) == Size(1024 + len(str(outside)), whole=True)


def test_a_size_that_takes_too_long_is_a_least(tmp_path: Path) -> None:
    """And says so."""
    size = folder_size(tmp_path, within_s=-1.0)
    assert size == Size(0, whole=False)
    assert str(size) == "at least 0 bytes"


@pytest.mark.parametrize(
    ("count", "text"), [(12, "12 bytes"), (2048, "2 KiB"), (3.5 * 2**20, "3.5 MiB"), (2**40, "1.02e+03 GiB")]
)
def test_bytes_for_people(count: float, text: str) -> None:
    """In the largest unit that it has one of."""
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("told", "left"),
    [
        ("{disk} 900 1000 1200 0 10 0 0 0", [100 * 1024]),  # the soft limit, where there is one
        ("{disk} 1100* 0 1200 0 10 0 0 0", [100 * 1024]),
        ("{disk} 1300* 1000 1200 0 10 0 0 0", [0]),  # used up
        ("{disk} 900 0 0 0 10 0 0 0", []),  # no limit
        ("other 900 1000 1200 0 10 0 0 0", []),
        ("Disk quotas for user me (uid 1000): none", []),
    ],
)
def test_quota_is_what_the_client_tells_of_that_disk(
    told: str, left: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In KiB, and in the form of `quota -w -p`; free space is always told."""
    disk = subprocess.run(["df", "--output=source", tmp_path], capture_output=True, text=True, check=True)
    line = told.format(disk=disk.stdout.split()[-1])
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    script = bin_folder / "quota"
    script.write_text(f"#!/bin/sh\necho 'Filesystem blocks quota limit grace'\necho '{line}'\n")
    script.chmod(0o755)
    limits = list(room(tmp_path / "not" / "there"))
    assert limits[0][0] == "free on the disk"
    assert abs(limits[0][1] - shutil.disk_usage(tmp_path).free) < 2**30
    assert [count for _, count in limits[1:]] == left


def test_forecast_counts_what_is_kept_at_the_same_time() -> None:
    """By hand: 40 trials of 100 bytes; front: the 4 in flight and a front of 10; none: the 4."""
    left = [("free on the disk", 2000), ("left of your quota", 1500)]
    lines = {keep: disk_line(100.0, 40, 4, keep, left) for keep in ("all", "front", "none")}
    told = {keep: line and (line[0], line[1].partition("(")[0]) for keep, line in lines.items()}
    assert told == {
        "all": ("warn", "disk: adapters and checkpoints take up to 3.91 KiB "),
        "front": ("ok", "disk: adapters and checkpoints take up to 1.37 KiB "),
        "none": ("ok", "disk: adapters and checkpoints take up to 400 bytes "),
    }
    assert disk_line(None, 40, 4, "all", left) is None
