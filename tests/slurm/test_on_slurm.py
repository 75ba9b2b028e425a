"""The Slurm executor on a real one-machine cluster: arrays, preemption, and a controller that is away."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from live_tasks import live

from slurm.auto import auto
from slurm.devcluster.cluster import client
from slurm.devcluster.files import Layout
from slurm.devcluster.processes import daemons
from slurm.errors import SchedulerError, SubmissionError
from slurm.slurm_executor import SlurmExecutor

if TYPE_CHECKING:
    from tests.slurm.conftest import ElementLog

Wait = Callable[..., None]
pytestmark = pytest.mark.slurm


def submit(executor: SlurmExecutor, folder: Path, function: str, *arguments: list[str]) -> str:
    """Submit an array of one of the targets."""
    target = f"element_targets:{function}"
    return executor.submit(name="study-1", folder=str(folder), target=target, arguments=arguments)


def squeue(layout: Layout, *options: str) -> list[str]:
    """Lines of squeue."""
    return client(layout, "squeue", "-h", *options).stdout.split("\n")[:-1]


@pytest.mark.parametrize(("count", "shown"), [(3, "[0-2%3]"), (1, "[0%1]")])
def test_a_batch_is_one_array(
    count: int,
    shown: str,
    cluster: Layout,
    settings: dict[str, Any],
    targets: str,
    folder: Path,
    log: ElementLog,
) -> None:
    """squeue shows one line, held, with all indices; also for a batch of one."""
    executor = SlurmExecutor(**settings)
    job_id = submit(executor, folder, "work", *([str(log.folder), str(i), "0"] for i in range(count)))
    assert squeue(cluster, "-o", "%i %T %r %j") == [f"{job_id}_{shown} PENDING JobHeldUser study-1"]
    described = client(cluster, "scontrol", "show", "job", job_id).stdout
    assert "Requeue=1" in described
    assert f"ArrayJobId={job_id}" in described


def test_an_element_knows_its_array_and_index_and_has_its_gpu(
    cluster: Layout, settings: dict[str, Any], targets: str, folder: Path, log: ElementLog, wait_until: Wait
) -> None:
    """A batch of one too: what the fence on the node compares."""
    executor = SlurmExecutor(**settings)
    names = ["SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "CUDA_VISIBLE_DEVICES", "SLURM_CPUS_PER_TASK"]
    job_id = submit(executor, folder, "environment", [str(log.folder), "0", *names])
    executor.release(job_id)
    wait_until(lambda: live(executor) == {})
    job, index, gpu, cpus = (log.folder / "environment-0").read_text().split("\n")
    assert (job, index, cpus) == (job_id, "0", "1")
    assert gpu in ("0", "1")


def test_elements_that_are_over_say_how_for_a_while(
    cluster: Layout, settings: dict[str, Any], targets: str, folder: Path, log: ElementLog, wait_until: Wait
) -> None:
    """squeue shows them for MinJobAge, with the name of their array."""
    executor = SlurmExecutor(**settings)
    job_ids = [
        submit(executor, folder, "work", [str(log.folder), "0", "0"]),
        submit(executor, folder, "fail", [str(log.folder), "0"]),
    ]
    for job_id in job_ids:
        executor.release(job_id)
    wait_until(lambda: not any(job_id in job_ids for job_id, _ in live(executor)))
    seen = executor.poll()
    assert seen is not None
    told = [(seen[job_id, 0]["name"], seen[job_id, 0]["ending"]) for job_id in job_ids]
    assert told == [("study-1", "completed"), ("study-1", "failed")]


def test_a_job_follows_an_array_that_is_over(
    cluster: Layout,
    settings: dict[str, Any],
    targets: str,
    folder: Path,
    log: ElementLog,
    wait_until: Wait,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In this process's folder, with this environment; one of a forgotten array starts as well."""
    monkeypatch.chdir(log.folder)
    monkeypatch.setenv("FROM_HERE", "two words")
    executor = SlurmExecutor(**{**settings, "helper": {**settings["helper"], "mem_gb": 0.1}})
    job_id = submit(executor, folder, "work", [str(log.folder), "0", "1"])
    command = ["bash", "-c", 'cat log > "$1"; echo "$PWD" "$FROM_HERE"', "bash", "what was there"]
    followers = [
        executor.follow(name="next", folder=str(folder), command=command, after=[job_id]),
        executor.follow(name="next", folder=str(folder), command=["true"], after=["999999"], delay_s=900),
    ]
    executor.release(job_id)
    output = folder / f"next-{followers[0]}.log"
    wait_until(lambda: output.exists() and output.read_text())
    assert output.read_text() == f"{log.folder} two words\n"
    assert (log.folder / "what was there").read_text().split()[-3] == "end"
    wait_until(lambda: squeue(cluster, "-o", "%i %r") == [f"{followers[1]} BeginTime"])


def test_max_parallel_throttles_the_array(
    cluster: Layout, settings: dict[str, Any], targets: str, folder: Path, log: ElementLog, wait_until: Wait
) -> None:
    """Four elements, one at a time."""
    executor = SlurmExecutor(**{**settings, "max_parallel": 1})
    job_id = submit(executor, folder, "work", *([str(log.folder), str(i), "0.1"] for i in range(3)))
    executor.release(job_id)
    wait_until(lambda: live(executor) == {})
    assert log.ended() == ["0", "1", "2"]
    assert log.most_at_once() == 1


def test_what_sbatch_refuses_is_told_with_a_hint(
    cluster: Layout, settings: dict[str, Any], folder: Path
) -> None:
    """The scheduler's own words, and what to do; nothing is submitted."""
    for changes, hint in (
        ({"partition": "gpuu"}, "cluster.partition"),
        ({"gres": "tpu:1"}, "cluster.gres"),
        ({"constraint": "a100"}, "cluster.constraint"),
    ):
        with pytest.raises(SubmissionError, match="exit code 1") as caught:
            submit(SlurmExecutor(**{**settings, **changes}), folder, "work", ["f", "0", "0"])
        assert hint in caught.value.hint
        assert not caught.value.busy
    assert squeue(cluster) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gres": "gpu:a100:1"}, "no node has so much"),
        ({"gres": "gpu:99"}, "no node has so much"),
        ({"gres": "tpu:1"}, "cluster.gres"),
        ({"mem_gb": 10_000}, "no node has so much"),
        ({"cpus": 999}, "no node has so much"),
        ({"constraint": "nosuch"}, "cluster.constraint"),
        ({"partition": "nosuch"}, "cluster.partition"),
        ({"extra": {"reservation": "nosuch"}}, "scontrol show reservation"),
        ({"extra": {"licenses": "nosuch:1"}}, "scontrol show licenses"),
    ],
)
def test_a_request_that_no_node_can_meet_is_known_beforehand(
    changes: dict[str, Any], words: str, cluster: Layout, settings: dict[str, Any]
) -> None:
    """sbatch takes a held array whatever it asks for, so it is asked without the hold."""
    executor = SlurmExecutor(**{**settings, **changes})
    level, _, hint = executor.test_submit(name="n", folder="/tmp", count=2)
    assert (level, words in hint) == ("fail", True)
    assert any(level == "fail" and words in hint for level, _, hint in executor.check())
    assert squeue(cluster) == []


def test_a_folder_that_slurm_would_read_otherwise_is_known_beforehand(
    cluster: Layout, settings: dict[str, Any]
) -> None:
    """With a percent sign; and nothing else is asked."""
    level, what, hint = SlurmExecutor(**settings).test_submit(name="n", folder="/tmp/50%/a", count=2)
    assert (level, "without '%'" in what, "study.root" in hint) == ("fail", True, True)


def test_nodes_that_are_drained_are_waited_for_and_hopeless_requests_are_not(
    own_cluster: Layout,
    settings: dict[str, Any],
    targets: str,
    folder: Path,
    log: ElementLog,
    wait_until: Wait,
) -> None:
    """Slurm's answer to a test is the same for both, and it takes a time limit that is too long."""
    client(own_cluster, "scontrol", "update", "partitionname=batch", "maxtime=60")
    client(own_cluster, "scontrol", "update", "nodename=gpu[1-2]", "state=drain", "reason=test")
    usual = {**settings, "time_limit": 30}
    level, what, _ = SlurmExecutor(**usual).test_submit(name="n", folder="/tmp", count=2)
    assert (level, "gpu1, gpu2 would do and cannot be used now" in what) == ("warn", True)
    large = SlurmExecutor(**{**usual, "mem_gb": 10_000}).test_submit(name="n", folder="/tmp", count=2)
    assert large[0] == "fail"
    long = SlurmExecutor(**settings).test_submit(name="n", folder="/tmp", count=2)
    assert long == ("fail", "time limit: 240 min is above the partition's 60 min", "lower cluster.time_limit")
    executor = SlurmExecutor(**usual)
    tasks = {}
    for name, minutes in (("drained", 30), ("long", 90)):
        files = folder / name
        files.mkdir()
        job = executor.submit(
            name=name,
            folder=str(files),
            target="element_targets:work",
            arguments=[[str(log.folder), "0", "0"]],
            options={"time_limit_min": minutes},
        )
        executor.release(job)
        tasks[name] = (job, 0)

    def ways() -> dict[str, str]:
        views = executor.poll() or {}
        return {name: views[task].get("blocked", "") if task in views else "" for name, task in tasks.items()}

    wait_until(lambda: ways() == {"drained": "help", "long": "never"})


def test_an_array_above_the_sites_size_is_told_with_a_hint(
    cluster: Layout, settings: dict[str, Any], folder: Path
) -> None:
    """MaxArraySize is 1001 by default."""
    with pytest.raises(SubmissionError) as caught:
        submit(SlurmExecutor(**settings), folder, "work", *[["f", "0", "0"]] * 1002)
    assert "MaxArraySize" in caught.value.hint


def test_auto_takes_slurm_where_a_controller_answers(cluster: Layout, settings: dict[str, Any]) -> None:
    """On a real one."""
    assert auto(**settings).name == "slurm"


def test_the_sites_lines_name_its_partition_gres_and_limits(
    cluster: Layout, settings: dict[str, Any]
) -> None:
    """What doctor prints on this cluster."""
    lines = {what: level for level, what, _ in SlurmExecutor(**settings).check()}
    assert lines["partition: batch is up"] == "ok"
    assert lines["gres: gpu:1"] == "ok"
    assert lines["Slurm: MaxArraySize=1001"] == "ok"
    assert lines["Slurm: no accounting"] == "warn"
    assert lines["Slurm: PreemptMode=REQUEUE (preempt/partition_prio)"] == "ok"


def test_a_controller_that_is_away_is_no_information(
    own_cluster: Layout,
    settings: dict[str, Any],
    targets: str,
    folder: Path,
    log: ElementLog,
    wait_until: Wait,
) -> None:
    """poll says None, cancel and release raise; afterwards the array is still there and runs."""
    executor = SlurmExecutor(**settings)
    job_id = submit(executor, folder, "work", [str(log.folder), "0", "0"])
    client(own_cluster, "scontrol", "shutdown", "slurmctld")
    wait_until(lambda: "slurmctld" not in daemons(own_cluster))
    assert executor.poll() is None
    assert executor.endings([(job_id, 0)]) is None
    for request in (lambda: executor.release(job_id), lambda: executor.cancel([(job_id, 0)])):
        with pytest.raises(SchedulerError) as caught:
            request()
        assert caught.value.busy
    subprocess.run(["slurmctld", "-f", str(own_cluster.configuration)], check=True)
    wait_until(lambda: executor.poll() is not None)
    assert live(executor) == {(job_id, 0): "held"}
    executor.release(job_id)
    wait_until(lambda: live(executor) == {})
    assert log.ended() == ["0"]


def test_a_preempted_element_is_requeued_and_finishes(
    own_cluster: Layout,
    settings: dict[str, Any],
    targets: str,
    folder: Path,
    log: ElementLog,
    wait_until: Wait,
) -> None:
    """A job in `urgent` takes its node; it stays live throughout, and runs again under the same id."""
    executor = SlurmExecutor(**settings)
    job_id = submit(executor, folder, "second_time", [str(log.folder), "0"])
    executor.release(job_id)
    wait_until(lambda: log.started() == ["0"])
    urgent = ["sbatch", "--partition=urgent", "--nodes=2", "--gres=gpu:2", "--mem=10", "--output=/dev/null"]
    assert client(own_cluster, *urgent, "--wrap=sleep 1").ok
    seen: list[str] = []
    deadline = time.monotonic() + 60
    while log.ended() != ["0"]:
        assert time.monotonic() < deadline
        now = live(executor)
        assert (job_id, 0) in now or log.ended() == ["0"]
        seen += [now[job_id, 0]] if (job_id, 0) in now else []
        time.sleep(0.1)
    assert log.started() == ["0", "0"]
    assert "pending" in seen


@pytest.mark.parametrize("cancelled", [[3], [2, 3]])
def test_scancel_of_waiting_elements_is_seen_though_slurm_forgets_them(
    cancelled: list[int],
    cluster: Layout,
    settings: dict[str, Any],
    targets: str,
    folder: Path,
    log: ElementLog,
    wait_until: Wait,
) -> None:
    """One of two that wait, and both: over and cancelled, while the others are as they were."""
    executor = SlurmExecutor(**{**settings, "max_parallel": 2})
    job_id = submit(executor, folder, "work", *([str(log.folder), str(i), "20"] for i in range(4)))
    executor.release(job_id)
    wait_until(lambda: list(live(executor).values()).count("running") == 2)
    client(cluster, "scancel", *(f"{job_id}_{index}" for index in cancelled))
    assert [line for line in squeue(cluster, "-r", "-t", "all", "-o", "%F_%K") if line == f"{job_id}_3"] == []
    seen = executor.poll()
    assert seen is not None
    assert {index: told["ending"] for (job, index), told in seen.items() if job == job_id} == {
        index: "cancelled" if index in cancelled else "" for index in range(4)
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"mem_gb": None},
        {"mem_gb": None, "mem_per_cpu_gb": 0.125},
        {"mem_gb": None, "mem_per_gpu_gb": 0.125},
        {"extra": {"-w": ["gpu1"], "comment": "for the paper", "exclusive": False}},
    ],
)
def test_memory_by_any_key_and_other_options_are_taken(
    changes: dict[str, Any],
    cluster: Layout,
    settings: dict[str, Any],
    targets: str,
    folder: Path,
    log: ElementLog,
    wait_until: Wait,
) -> None:
    """By sbatch, and by the srun in the script, which inherits them."""
    executor = SlurmExecutor(**{**settings, **changes})
    job_id = submit(executor, folder, "work", [str(log.folder), "0", "0"])
    executor.release(job_id)
    wait_until(lambda: log.ended() == ["0"])
