"""The Slurm executor where a site has its own ways: variables of the login node, banners, odd clients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from live_tasks import live
from site_clients import CLIENTS, NOISY, REFUSING, search_path

from slurm.devcluster.cluster import client
from slurm.devcluster.files import Layout
from slurm.slurm_executor import SlurmExecutor

if TYPE_CHECKING:
    from tests.slurm.conftest import ElementLog

Wait = Callable[..., None]
pytestmark = pytest.mark.slurm

LOGIN_NODE = {
    "SBATCH_PARTITION": "urgent",
    "SBATCH_TIMELIMIT": "1",
    "SBATCH_EXPORT": "NONE",
    "SLURM_EXPORT_ENV": "NONE",
    "SQUEUE_PARTITION": "urgent",
    "SQUEUE_STATES": "PENDING",
    "SLURM_CLUSTERS": "far",
    "SCANCEL_STATE": "SUSPENDED",
}


def submit(executor: SlurmExecutor, folder: Path, function: str, *arguments: str) -> str:
    """Submit an array of one of the targets."""
    target = f"element_targets:{function}"
    return executor.submit(name="study-1", folder=str(folder), target=target, arguments=[arguments])


def test_what_the_login_node_sets_for_clients_changes_nothing(
    cluster: Layout,
    settings: dict[str, Any],
    targets: str,
    folder: Path,
    log: ElementLog,
    wait_until: Wait,
    tmp_path: Path,
) -> None:
    """The array asks for what the configuration says, is seen, has this environment, and can be stopped."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**LOGIN_NODE, "FROM_HERE": "seen"}.items():
            patch.setenv(name, value)
        executor = SlurmExecutor(**settings)
        job_id = submit(executor, folder, "environment", str(log.folder), "0", "FROM_HERE", *LOGIN_NODE)
        assert live(executor) == {(job_id, 0): "held"}
        said = [what for level, what, _ in executor.notices() if level == "warn"]
        executor.release(job_id)
        wait_until(lambda: live(executor) == {})
        (folder.parent / "second").mkdir()
        stopped = submit(executor, folder.parent / "second", "work", str(log.folder), "1", "3600")
        shown = client(cluster, "squeue", "-h", "-r", "-j", stopped, "-o", "%P %l").stdout
        executor.cancel([(stopped, 0)])
        wait_until(lambda: live(executor) == {})
    assert shown == "batch 4:00:00\n"
    first, *handed_on = (log.folder / "environment-0").read_text().split("\n")
    assert first == "seen"
    assert set(handed_on) == {"unset"}
    assert all(any(name in what for what in said) for name in LOGIN_NODE)


def test_clients_that_say_more_than_they_are_asked_for_are_understood(
    cluster: Layout,
    settings: dict[str, Any],
    targets: str,
    folder: Path,
    log: ElementLog,
    wait_until: Wait,
    tmp_path: Path,
) -> None:
    """Every call of a controller's, and of doctor's."""
    with pytest.MonkeyPatch.context() as patch:
        executor = SlurmExecutor(**settings)
        quiet = executor.check(), executor.limits()
        patch.setenv("PATH", search_path(tmp_path / "clients", dict.fromkeys(CLIENTS, NOISY)))
        executor = SlurmExecutor(**settings)
        assert (executor.check(), executor.limits()) == quiet
        assert live(executor) == {}
        job_id = submit(executor, folder, "work", str(log.folder), "0", "0")
        executor.release(job_id)
        wait_until(lambda: live(executor) == {})
        executor.cancel([(job_id, 0)])
        executor.release(job_id)
    assert log.ended() == ["0"]


def test_an_array_whose_id_is_not_told_is_found_by_its_name(
    cluster: Layout, settings: dict[str, Any], targets: str, folder: Path, log: ElementLog, tmp_path: Path
) -> None:
    """sbatch took it: it must not be submitted again."""
    mute = '{real} "$@" >/dev/null && echo your job is in the queue'
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", search_path(tmp_path / "clients", {"sbatch": mute}))
        executor = SlurmExecutor(**settings)
        job_id = submit(executor, folder, "work", str(log.folder), "0", "0")
        assert live(executor) == {(job_id, 0): "held"}
    assert client(cluster, "squeue", "-h", "-o", "%F").stdout == f"{job_id}\n"


@pytest.mark.parametrize("name", ["squeue", "scontrol", "scancel"])
def test_doctor_makes_the_calls_of_the_controller(
    name: str, cluster: Layout, settings: dict[str, Any], tmp_path: Path
) -> None:
    """A client that refuses them is named with its own words; another one is not."""
    asked = '[ "$1" = ping ] || [ "$1" = show ] && exec {real} "$@"\n'
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", search_path(tmp_path / "clients", {name: asked + REFUSING}))
        failed = [what for level, what, _ in SlurmExecutor(**settings).check() if level == "fail"]
    assert failed
    assert all(f"{name}: unrecognized option" in what for what in failed)


def test_a_wrapper_that_asks_nobody_is_no_empty_queue(
    cluster: Layout, settings: dict[str, Any], tmp_path: Path
) -> None:
    """It ends well and prints something else: no information, and its words are told."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", search_path(tmp_path / "clients", {"squeue": "echo use our portal"}))
        executor = SlurmExecutor(**settings)
        assert executor.poll() is None
    assert "use our portal" in executor.unanswered
