"""A true Slurm cluster on this machine, for development: see `slurm.devcluster.__main__`.

slurmctld and a few slurmd nodes of two pretended GPUs each, as an ordinary user or as root, everything in one
folder. Partition `batch` is the default one and is preempted, with requeue, by partition `urgent`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from slurm.client.command import Outcome, run
from slurm.client.environment import client_environment
from slurm.devcluster import accounting
from slurm.devcluster.files import Layout, Options, gres_conf, node_names, slurm_conf, slurmdbd_conf
from slurm.devcluster.processes import daemons, job_processes, kill, stop
from slurm.errors import DevClusterError
from slurm.files import read_json, write_json

# A step's socket is <sockets>/<node>/<node>_<job>.<step>; of the 107 characters it takes up to 40.
LONGEST_SOCKET_FOLDER = 60

DAEMONS = ("slurmctld", "slurmd")
CLIENTS = ("scontrol", "sinfo", "sbatch", "srun")


def up(folder: Path, options: Options) -> Layout:
    """Start the cluster and wait until its nodes are idle; one that is up is left as it is.

    Args:
        folder: where everything goes; made if need be.
        options: what was chosen; not looked at when the cluster is up already.

    Raises:
        DevClusterError: a package is missing, or a daemon does not come up; what had started is stopped.
    """
    layout = find_layout(folder)
    if layout is not None and is_up(layout):
        return layout
    _require_programs()
    down(folder)
    layout = _prepare(folder.resolve(), options)
    try:
        _start(layout, options)
    except DevClusterError:
        down(folder)
        raise
    return layout


def down(folder: Path) -> None:
    """Stop the daemons and every job of the cluster in this folder; its logs and its count of jobs stay.

    Raises:
        DevClusterError: a process of the cluster survived KILL.
    """
    layout = find_layout(folder)
    if layout is None:
        return
    running = daemons(layout)
    if "slurmctld" in running:
        # The state stays, so that job ids go on counting; without this, so would the jobs at the next `up`.
        client(layout, "scancel", "--user", _user())
    # Nodes first: with the controller gone too, nothing starts a step any more. The database goes last.
    first = [pid for name, pid in running.items() if name.startswith("slurmd-")]
    kill(lambda: job_processes(layout))  # slurmd waits for its steps
    left = stop(first, grace_s=3) + kill(lambda: job_processes(layout))
    for name in ("slurmctld", "slurmdbd", "mariadb"):
        left += stop([running[name]] if name in running else [])
    left += kill(lambda: job_processes(layout))
    if left:
        raise DevClusterError(f"processes still there after KILL: {left}", "look at them with ps -fp")
    if layout.sockets.parent != layout.folder:
        shutil.rmtree(layout.sockets, ignore_errors=True)
    layout.record.unlink(missing_ok=True)


def find_layout(folder: Path) -> Layout | None:
    """The layout of the cluster that `up` made in a folder; None if there is none."""
    record = read_json(folder.resolve() / "cluster.json")
    return None if record is None else Layout(folder.resolve(), Path(record["sockets"]))


def is_up(layout: Layout) -> bool:
    """Whether the controller answers and every node's daemon runs."""
    record = read_json(layout.record) or {}
    running = daemons(layout)
    wanted = {"slurmctld", *(f"slurmd-{name}" for name in record.get("nodes", []))}
    return wanted <= set(running) and client(layout, "scontrol", "ping").ok


def client(layout: Layout, *command: str) -> Outcome:
    """Run a Slurm client against this cluster."""
    return run(command, environment={**client_environment(), "SLURM_CONF": str(layout.configuration)})


def _require_programs() -> None:
    missing = [name for name in (*DAEMONS, *CLIENTS) if accounting.program_path(name) is None]
    if missing:
        raise DevClusterError(
            f"Slurm: expected the programs {', '.join((*DAEMONS, *CLIENTS))}, missing: {', '.join(missing)}",
            "apt-get install slurm-wlm (and slurmdbd mariadb-server for accounting)",
        )


def _prepare(folder: Path, options: Options) -> Layout:
    """Write every configuration file, with ports that are free now."""
    sockets = folder / "sockets"
    if len(str(sockets)) > LONGEST_SOCKET_FOLDER:
        sockets = Path(tempfile.mkdtemp(prefix="slurm-"))
    layout = Layout(folder, sockets)
    for each in (*layout.folders(), sockets, *(sockets / name for name in node_names(options))):
        each.mkdir(parents=True, exist_ok=True)
    for stale in layout.run.glob("*.pid"):
        stale.unlink()
    host, user = socket.gethostname().split(".")[0], _user()
    ports = _free_ports(2 + options.nodes)
    layout.configuration.write_text(slurm_conf(layout, options, host, user, ports))
    (layout.etc / "gres.conf").write_text(gres_conf(options))
    (layout.etc / "cgroup.conf").write_text("")
    (layout.etc / "plugstack.conf").write_text("")
    database = layout.etc / "slurmdbd.conf"
    database.write_text(slurmdbd_conf(layout, user, ports[1]))
    database.chmod(0o600)  # slurmdbd refuses to read it otherwise
    write_json(layout.record, {"sockets": str(sockets), "nodes": node_names(options)})
    return layout


def _start(layout: Layout, options: Options) -> None:
    if options.accounting:
        accounting.start_database(layout, _user())
        accounting.start_slurmdbd(layout)
        accounting.register(layout, _user())
    configuration = str(layout.configuration)
    _daemon("slurmctld", "-f", configuration)
    for name in node_names(options):
        _daemon("slurmd", "-f", configuration, "-N", name)
    accounting.wait_for(
        lambda: _all_idle(layout, options), f"the nodes do not become idle; see {layout.log}", timeout_s=180
    )


def _user() -> str:
    # Not getpass: it believes $USER, which sudo and containers leave as it was.
    return pwd.getpwuid(os.geteuid()).pw_name


def _daemon(name: str, *arguments: str) -> None:
    outcome = run([str(accounting.program_path(name)), *arguments])
    if not outcome.ok:
        raise DevClusterError(outcome.describe())


def _all_idle(layout: Layout, options: Options) -> Outcome:
    outcome = client(layout, "sinfo", "-h", "-N", "-p", "batch", "-o", "%N %t")
    idle = sum(line.endswith(" idle") for line in outcome.stdout.splitlines())
    return outcome if idle == options.nodes else replace(outcome, exit_code=None)


def _free_ports(count: int) -> list[int]:
    # All are held open until all are known, so that no two are the same.
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in listeners]
