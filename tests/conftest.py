"""What every test package shares."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm.devcluster import cluster as devcluster
from slurm.devcluster.accounting import program_path
from slurm.devcluster.files import Layout, Options


def pytest_collection_finish() -> None:
    """What is imported by now is here to stay: the full collections that trials ask for need not walk it."""
    gc.collect()
    gc.freeze()


FAKES = Path(__file__).parent / "fakes"
sys.path[:0] = [str(FAKES), str(Path(__file__).parent / "e2e")]

# Started in the background or under nohup, a process ignores these, and so would all that the tests start and
# send them to. A handler, unlike SIG_IGN, is not inherited.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, or a worker that begins one at the end is waited for; the others in any order."""
    items.sort(key=_seconds, reverse=True)


def _seconds(item: pytest.Item) -> float:
    marker = item.get_closest_marker("long")
    return float(marker.args[0]) if marker else 0.0


@pytest.fixture
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def require_slurm() -> None:
    """Skip where Slurm is not installed; fail instead where it has to be."""
    missing = [name for name in ("slurmctld", "slurmd", "sbatch", "srun") if program_path(name) is None]
    if missing and os.environ.get("FRONTRUNNER_REQUIRE_SLURM") == "1":
        pytest.fail(f"Slurm is required here (FRONTRUNNER_REQUIRE_SLURM=1), missing: {', '.join(missing)}")
    if missing:
        pytest.skip(f"Slurm is not installed: no {', '.join(missing)}")


@pytest.fixture(scope="session")
def shared_cluster(require_slurm: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    """A one-machine cluster for all tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("cluster")
    yield devcluster.up(folder, Options())
    devcluster.down(folder)


@pytest.fixture
def cluster(shared_cluster: Layout, monkeypatch: pytest.MonkeyPatch) -> Iterator[Layout]:
    """The shared cluster, with this test's clients pointed to it; what a test leaves there is cancelled."""
    monkeypatch.setenv("SLURM_CONF", str(shared_cluster.configuration))
    yield shared_cluster
    devcluster.client(shared_cluster, "scancel", "--me")
    deadline = time.monotonic() + 60
    while devcluster.client(
        shared_cluster, "squeue", "-h"
    ).stdout.strip():  # the next test counts what it sees
        assert time.monotonic() < deadline, "a cancelled job was still there after a minute"
        time.sleep(0.2)
