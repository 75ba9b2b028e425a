"""What a real accounting tells of executions, and what it makes sbatch refuse."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from live_tasks import live

from slurm.devcluster import cluster as devcluster
from slurm.devcluster.accounting import program_path
from slurm.devcluster.files import Layout, Options
from slurm.errors import SubmissionError
from slurm.slurm_executor import SlurmExecutor

if TYPE_CHECKING:
    from tests.slurm.conftest import ElementLog

Wait = Callable[..., None]
pytestmark = pytest.mark.slurm


@pytest.fixture
def accounting(require_slurm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Layout]:
    """A cluster with accounting whose limits count."""
    if program_path("slurmdbd") is None or program_path("mariadbd") is None:
        pytest.skip("accounting needs slurmdbd and mariadb-server")
    enforced = ("AccountingStorageEnforce=limits,qos",)
    layout = devcluster.up(tmp_path / "cluster", Options(nodes=1, accounting=True, extra=enforced))
    monkeypatch.setenv("SLURM_CONF", str(layout.configuration))
    yield layout
    devcluster.down(tmp_path / "cluster")


def submit(executor: SlurmExecutor, folder: Path, function: str, *arguments: list[str]) -> str:
    """Submit an array of one of the targets."""
    target = f"element_targets:{function}"
    return executor.submit(name="study-1", folder=str(folder), target=target, arguments=arguments)


@pytest.mark.long(50)
def test_executions_are_told_and_a_full_queue_is_busy(
    accounting: Layout,
    settings: dict[str, Any],
    targets: str,
    folder: Path,
    log: ElementLog,
    wait_until: Wait,
) -> None:
    """A requeued and then failed element, one cancelled before its start; then limits of the QOS."""
    executor = SlurmExecutor(**{**settings, "max_parallel": 1})
    job_id = submit(executor, folder, "second_time", [str(log.folder), "0"], [str(log.folder), "1"])
    executor.release(job_id)
    wait_until(log.started)
    time.sleep(1.1)  # the accounting counts whole seconds
    executor.cancel([(job_id, 1)])
    assert devcluster.client(accounting, "scontrol", "requeue", f"{job_id}_0").ok
    wait_until(lambda: live(executor) == {})
    tasks = [(job_id, 0), (job_id, 1)]
    wait_until(lambda: len((executor.endings(tasks) or {}).get(tasks[0], [])) == 2)
    told = executor.endings(tasks)
    assert told is not None
    assert [each["ending"] for each in told[tasks[0]]] == ["preempted", "completed"]
    assert [(each["node"], each["gpus"], each["exit"]) for each in told[tasks[0]]] == [("gpu1", 1, "0:0")] * 2
    assert told[tasks[0]][0]["seconds"] > 0
    assert [each["ending"] for each in told.get(tasks[1], [])] in ([], ["cancelled"])
    wall = "MaxSubmitJobsPerUser=-1 MaxWall=1"
    assert refused(accounting, executor, folder, "MaxSubmitJobsPerUser=1", "QOSMaxSubmitJobPerUserLimit").busy
    error = refused(accounting, executor, folder, wall, "QOSMaxWallDurationPerJobLimit")
    assert (error.busy, error.permanent) == (False, True)
    level, what, _ = executor.test_submit(name="n", folder="/tmp", count=2)
    assert (level, "at most 00:01:00 of time" in what) == ("fail", True)
    caps = ["sacctmgr", "-i", "modify", "qos", "normal", "set"]
    assert devcluster.client(accounting, *caps, "MaxWall=-1", "MaxTRESPerUser=gres/gpu=1").ok
    assert SlurmExecutor(**settings).room() == {
        "at_once": 1,
        "waiting": 1,
        "submitted": None,
        "why": "MaxTRESPU gres/gpu of QOS normal",
    }
    assert devcluster.client(accounting, *caps, "MaxJobsPerUser=0").ok
    blocked = SlurmExecutor(**settings).test_submit(name="n", folder="/tmp", count=2)
    assert blocked[:2] == ("fail", "no trial may run: MaxJobsPU=0 of QOS normal")


def refused(layout: Layout, executor: SlurmExecutor, folder: Path, limit: str, named: str) -> SubmissionError:
    """Set a limit of the QOS, and submit until it counts: slurmdbd tells slurmctld a moment later."""
    change = ["sacctmgr", "-i", "modify", "qos", "normal", "set", *limit.split(), "flags=DenyOnLimit"]
    assert devcluster.client(layout, *change).ok
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            job_id = submit(executor, folder, "work", ["f"], ["f"])
            executor.cancel([(job_id, 0), (job_id, 1)])
        except SubmissionError as error:
            if named in str(error):
                return error
        time.sleep(0.2)
    pytest.fail(f"{limit} was not enforced")
