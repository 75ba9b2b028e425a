"""The first day on a site: what Slurm would never run is said at once, on a true Slurm cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conditions import PATIENCE_S, wait_until
from study_runs import SYNTHETIC, StudyRun

from slurm.devcluster.cluster import client
from slurm.devcluster.files import Layout

pytestmark = pytest.mark.slurm

SITE = ["cluster=slurm", "cluster.mem_gb=0.25", "controller.poll_seconds=0.5", "budget.trials=2"]


def _run(tmp_path: Path, root: str = "studies") -> StudyRun:
    return StudyRun(tmp_path / root, options=[*SYNTHETIC, *SITE, "trainer.seconds=1"])


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["cluster.gres=gpu:99"], "Requested node configuration is not available"),
        (["cluster.mem_gb=100000"], "Requested node configuration is not available"),
        (["cluster.partition=nosuch"], "invalid partition specified: nosuch"),
        (["cluster.constraint=nosuch"], "Invalid feature specification"),
        (["controller.chain=true", "cluster.helper.cpus=999"], "cluster.helper: sbatch --test-only"),
    ],
)
def test_what_slurm_would_never_run_makes_no_study(
    overrides: list[str], words: str, tmp_path: Path, cluster: Layout
) -> None:
    """One message with Slurm's words, exit 2, and neither a folder nor a job."""
    run = _run(tmp_path)
    controller = run.start(*overrides)
    output, _ = controller.communicate(timeout=PATIENCE_S)
    assert (controller.returncode, words in output) == (2, True), output
    assert "hint:" in output
    assert not run.paths.folder.exists()
    assert client(cluster, "squeue", "-h").stdout == ""


@pytest.mark.usefixtures("cluster")
def test_a_percent_sign_in_the_study_root_is_known_before_the_study_is_made(tmp_path: Path) -> None:
    """Slurm would take it for a placeholder in the names of logs."""
    run = _run(tmp_path, "50%")
    controller = run.start()
    output, _ = controller.communicate(timeout=PATIENCE_S)
    assert (controller.returncode, "without '%'" in output) == (2, True), output
    assert not run.paths.folder.exists()


@pytest.fixture
def drained(cluster: Layout) -> Iterator[Layout]:
    """A cluster whose nodes take no jobs now; put right afterwards."""
    client(cluster, "scontrol", "update", "nodename=ALL", "state=drain", "reason=test")
    yield cluster
    client(cluster, "scontrol", "update", "partitionname=batch", "maxtime=UNLIMITED")
    client(cluster, "scontrol", "update", "nodename=ALL", "state=resume")


def test_a_limit_that_a_partition_gets_later_ends_the_wait(tmp_path: Path, drained: Layout) -> None:
    """PartitionTimeLimit never passes: exit 1 with the hint, nothing left in the queue, then it goes on."""
    run = _run(tmp_path)
    controller = run.start("cluster.time_limit=30:00")
    while "PENDING" not in client(drained, "squeue", "-h", "-o", "%T %r").stdout:
        assert controller.poll() is None, controller.communicate()[0]
    client(drained, "scontrol", "update", "partitionname=batch", "maxtime=10")
    output, _ = controller.communicate(timeout=PATIENCE_S)
    assert (controller.returncode, "PartitionTimeLimit" in output) == (1, True), output
    assert "lower cluster.time_limit" in output
    assert client(drained, "squeue", "-h").stdout == ""
    client(drained, "scontrol", "update", "nodename=ALL", "state=resume")
    run.finish("cluster.time_limit=9:00")
    assert run.completed() == ["0000", "0001"]


def test_clock_times_without_quotes_in_ones_own_profile(tmp_path: Path, cluster: Layout) -> None:
    """Four hours, not ten days: as squeue shows the array's limit."""
    run = _run(tmp_path)
    (tmp_path / "conf" / "cluster").mkdir(parents=True)
    profile = tmp_path / "conf" / "cluster" / "mine.yaml"
    profile.write_text("defaults: [slurm, _self_]\ntime_limit: 4:00:00\nextra: {comment: for us}\n")
    controller = run.start("cluster=mine", "--config-dir", str(profile.parents[1]), "trainer.seconds=20")
    shown = ""
    while not shown:
        assert controller.poll() is None, controller.communicate()[0]
        shown = client(cluster, "squeue", "-h", "-o", "%l|%k").stdout
    assert set(shown.split("\n")[:-1]) == {"4:00:00|for us"}
    run.run("cancel", str(run.paths.folder))
    controller.communicate(timeout=PATIENCE_S)


def test_as_many_in_flight_as_the_partition_runs_and_a_few_that_wait(tmp_path: Path, cluster: Layout) -> None:
    """Eight cards: ten trials in the queue; `plan` and `status` say why, the journal keeps the number."""
    run = _run(tmp_path)
    auto = ["batch.size=auto", "batch.refill=auto", "budget.trials=12", "trainer.seconds=60"]
    auto.append("cluster.max_parallel=null")  # two in the demo
    planned = run.run(*run.command("plan", *auto)[3:])
    why = "8 at once (what 4 nodes of the default partition hold) and 2 that wait"
    assert f"batch.size=auto: 10 trials in flight: {why}" in planned.stdout, planned.stderr
    controller = run.start(*auto)
    wait_until(lambda: client(cluster, "squeue", "-h", "-r", "-o", "%T").stdout.count("RUNNING") == 8)
    assert client(cluster, "squeue", "-h", "-r", "-o", "%T").stdout.count("PENDING") == 2
    shown = run.run("status", str(run.paths.folder)).stdout
    assert f"up to 10 trials in flight: {why}" in shown, shown
    assert run.study.settings["batch"] == {"size": 10, "refill": 2}
    run.run("cancel", str(run.paths.folder))
    controller.communicate(timeout=PATIENCE_S)
