"""Entries of the cache: made once, whole, checked, and rebuilt when damaged."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from jobs import cache as cache_module
from jobs.cache import intact, key_of, known_digest, obtain

BUILDER = """
    import sys, time, uuid
    from pathlib import Path
    from jobs.cache import obtain
    entry, log = Path(sys.argv[1]), Path(sys.argv[2])
    def build(folder):
        with log.open("a") as stream:
            stream.write("built\\n")
        (folder / "part").mkdir()
        (folder / "part" / "weights").write_bytes(b"x" * 100_000)
        time.sleep(0.3)
        (folder / "config").write_text("done")
    print((obtain(entry, build, {}) / "config").read_text())
"""


def build(folder: Path) -> None:
    """A small entry."""
    (folder / "weights").write_text("right")


def test_many_at_once_build_once(tmp_path: Path) -> None:
    """Eight processes on an empty cache: one builds, all get the whole entry, nothing else is left."""
    script = tmp_path / "builder.py"
    script.write_text(textwrap.dedent(BUILDER))
    entry, log = tmp_path / "cache" / "key", tmp_path / "log"
    command = [sys.executable, str(script), str(entry), str(log)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    assert [process.communicate()[0] for process in running] == ["done\n"] * 8
    assert log.read_text() == "built\n"
    assert [path.name for path in entry.parent.iterdir()] == ["key"]
    assert intact(entry)


@pytest.mark.parametrize("damage", ["changed", "missing", "no manifest"])
def test_damaged_entry_is_rebuilt(tmp_path: Path, damage: str) -> None:
    """A flipped byte, a lost file and a lost manifest are all seen."""
    entry = obtain(tmp_path / "key", build, {})
    match damage:
        case "changed":
            (entry / "weights").write_text("wrong")
        case "missing":
            (entry / "weights").unlink()
        case "no manifest":
            (entry / "manifest.json").unlink()
    assert not intact(entry)
    obtain(entry, build, {})
    assert (entry / "weights").read_text() == "right"
    assert intact(entry)


def test_failed_build_leaves_nothing(tmp_path: Path) -> None:
    """What could not be finished is not there, and the next one may try."""

    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        obtain(tmp_path / "cache" / "key", fail, {})
    assert list((tmp_path / "cache").iterdir()) == []
    assert intact(obtain(tmp_path / "cache" / "key", build, {}))


def test_claim_without_an_owner_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim of a killed builder delays the next one by the stated time and no more."""
    monkeypatch.setattr(cache_module, "STALE_S", 0.5)
    (tmp_path / ".key.claim").touch()
    began_at = time.monotonic()
    assert intact(obtain(tmp_path / "key", build, {}))
    assert 0.5 <= time.monotonic() - began_at < 5


def test_published_entry_is_not_replaced(tmp_path: Path) -> None:
    """Who publishes second takes the first one's entry."""
    entry = obtain(tmp_path / "key", build, {})
    made = tmp_path / ".made"
    made.mkdir()
    build(made)
    cache_module.seal(made, {})
    inode = entry.stat().st_ino
    cache_module._publish(made, entry)
    assert entry.stat().st_ino == inode


def test_digest_follows_the_content(tmp_path: Path) -> None:
    """The kept digest is of the file as it is now: a change of content with the same size is seen."""
    path = tmp_path / "file"
    path.write_text("one")
    first = known_digest(path, tmp_path)
    path.write_text("two")
    os.utime(path, ns=(1, 1))
    assert known_digest(path, tmp_path) != first
    # printf two | sha256sum
    assert known_digest(path, tmp_path).startswith("3fc4ccfe745870e2")


def test_key_does_not_depend_on_the_order_of_parts() -> None:
    """Named parts make the same key in any order, other parts another one."""
    assert key_of(a=1, b=[2]) == key_of(b=[2], a=1)
    assert key_of(a=1) != key_of(a=2)
