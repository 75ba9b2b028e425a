"""The one-machine cluster: its files, its start, and that nothing of it is left."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import slurm
from slurm.devcluster import accounting
from slurm.devcluster import cluster as devcluster
from slurm.devcluster.__main__ import main
from slurm.devcluster.files import Layout, Options, gres_conf, slurm_conf
from slurm.devcluster.processes import daemons, job_processes, stop
from slurm.files import write_json

Wait = Callable[..., None]


def text_of(options: Options) -> str:
    """slurm.conf with made-up places and ports."""
    ports = list(range(6000, 6002 + options.nodes))
    return slurm_conf(Layout(Path("/c"), Path("/s")), options, "host", "user", ports)


def test_each_node_has_a_port_of_its_own() -> None:
    """Several slurmd on one machine cannot share one."""
    nodes = [line for line in text_of(Options(nodes=3)).splitlines() if line.startswith("NodeName")]
    assert [line.split()[3] for line in nodes] == ["Port=6002", "Port=6003", "Port=6004"]


def test_options_reach_the_configuration() -> None:
    """Grace, KillWait, the user signal, accounting and further lines."""
    plain = text_of(Options())
    chosen = text_of(
        Options(accounting=True, user_signal=True, grace_s=8, kill_wait_s=5, extra=("MaxArraySize=11",))
    )
    for line in ("KillWait=5", "preempt_send_user_signal", "GraceTime=8", "MaxArraySize=11", "slurmdbd"):
        assert line in chosen
        assert line not in plain


def test_each_node_has_two_gpus_on_devices_that_exist() -> None:
    """With plain files Slurm would not set CUDA_VISIBLE_DEVICES."""
    lines = gres_conf(Options(nodes=2)).splitlines()
    assert [line.split()[0] for line in lines] == ["NodeName=gpu1"] * 2 + ["NodeName=gpu2"] * 2
    assert all(Path(line.partition("File=")[2]).is_char_device() for line in lines)


def test_down_without_a_cluster_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is no error."""
    assert main(["down", "--dir", str(tmp_path)]) == 0
    assert "no cluster" in capsys.readouterr().out


def test_without_slurm_up_names_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And how to install it; nothing is written."""
    monkeypatch.setattr(accounting, "program_path", lambda name: None)
    assert main(["up", "--dir", str(tmp_path / "c")]) == 1
    assert "missing: slurmctld" in (told := capsys.readouterr().err)
    assert "apt-get install slurm-wlm" in told
    assert list(tmp_path.iterdir()) == []


def test_a_stale_pid_file_endangers_nobody(tmp_path: Path) -> None:
    """The process that has the id now is not one of the cluster's."""
    layout = Layout(tmp_path, tmp_path / "sockets")
    layout.run.mkdir()
    bystander = subprocess.Popen(["sleep", "60"])
    (layout.run / "slurmctld.pid").write_text(f"{bystander.pid}\n")
    write_json(layout.record, {"sockets": str(layout.sockets), "nodes": []})
    devcluster.down(tmp_path)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


@pytest.fixture
def place(tmp_path: Path, require_slurm: None) -> Iterator[Path]:
    """A folder for a cluster, which is stopped afterwards."""
    folder = tmp_path / "cluster"
    yield folder
    devcluster.down(folder)


def processes_of(folder: Path) -> list[str]:
    """Every process that has the folder in its command line or environment, but for this test's own."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if f"{folder}/".encode() in told and int(process.name) != os.getpid():
            found.append(told.decode(errors="replace")[:200])
    return found


@pytest.mark.slurm
def test_up_twice_is_up_once_and_down_leaves_no_process(
    place: Path, wait_until: Wait, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor a step of a job that is still running, nor its tasks."""
    assert main(["up", "--dir", str(place), "--nodes", "2"]) == 0
    assert f"export SLURM_CONF={place}/etc/slurm.conf" in capsys.readouterr().out
    layout = devcluster.find_layout(place)
    assert layout is not None
    before = daemons(layout)
    assert set(before) == {"slurmctld", "slurmd-gpu1", "slurmd-gpu2"}
    assert main(["up", "--dir", str(place), "--nodes", "2"]) == 0
    assert "already up" in capsys.readouterr().out
    assert daemons(layout) == before
    stubborn = "--wrap=trap '' TERM; srun sh -c \"trap '' TERM; sleep 3600\""
    assert devcluster.client(layout, "sbatch", "--mem=10", "--output=/dev/null", stubborn).ok
    wait_until(lambda: any("sleep" in each for each in processes_of(place)))
    assert job_processes(layout)
    assert main(["down", "--dir", str(place)]) == 0
    assert processes_of(place) == []
    assert main(["status", "--dir", str(place)]) == 1


@pytest.mark.slurm
def test_a_node_that_died_is_started_again_by_up(place: Path) -> None:
    """up is the way back to a whole cluster."""
    layout = devcluster.up(place, Options(nodes=2))
    stop([daemons(layout)["slurmd-gpu2"]])
    assert not devcluster.is_up(layout)
    assert set(daemons(devcluster.up(place, Options(nodes=2)))) == {"slurmctld", "slurmd-gpu1", "slurmd-gpu2"}


@pytest.mark.slurm
def test_a_long_path_is_no_obstacle(place: Path) -> None:
    """Sockets go to a short folder of their own, which goes with the cluster."""
    far = place / ("long" * 30)
    layout = devcluster.up(far, Options(nodes=1))
    try:
        assert (
            devcluster.client(layout, "srun", "--mem=10", "hostname").stdout.strip() == socket.gethostname()
        )
    finally:
        devcluster.down(far)
    assert not layout.sockets.exists()


@pytest.mark.slurm
def test_with_accounting_sacct_knows_what_ran(place: Path, wait_until: Wait) -> None:
    """slurmdbd and MariaDB come up with it, the user is registered, and both go with it."""
    layout = devcluster.up(place, Options(nodes=1, accounting=True))
    assert {"mariadb", "slurmdbd"} <= set(daemons(layout))
    assert devcluster.client(layout, "srun", "--mem=10", "--job-name=counted", "true").ok
    ask = ("sacct", "-n", "-X", "-o", "JobName%20,State%20")
    wait_until(lambda: devcluster.client(layout, *ask).stdout.split() == ["counted", "COMPLETED"])
    devcluster.down(place)
    assert processes_of(place) == []


@pytest.mark.slurm
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user")
def test_an_ordinary_user_can_start_one_and_run_jobs(require_slurm: None) -> None:
    """No daemon needs root."""
    home = Path("/tmp") / f"devcluster-{os.getpid()}"  # pytest's own folders are closed to other users
    home.mkdir()
    shutil.chown(home, "nobody")
    become = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "env", f"HOME={home}"]
    # This interpreter may be in a folder that is closed to others; the cluster needs the standard library.
    cluster = [*become, f"PYTHONPATH={Path(slurm.__file__).parents[1]}", "/usr/bin/python3"]
    cluster += ["-m", "slurm.devcluster"]
    job = [*become, f"SLURM_CONF={home}/c/etc/slurm.conf", "srun", "--mem=10", "--gres=gpu:1", "id", "-un"]
    try:
        subprocess.run([*cluster, "up", "--dir", f"{home}/c", "--nodes", "1"], cwd=home, check=True)
        done = subprocess.run(job, cwd=home, check=True, capture_output=True, text=True)
        assert done.stdout == "nobody\n"
    finally:
        subprocess.run([*cluster, "down", "--dir", f"{home}/c"], cwd=home, check=True)
        left = processes_of(home)
        shutil.rmtree(home)
    assert left == []
