"""slurmdbd with a private MariaDB: one data folder, one socket, no password, no network but the loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable

from slurm.client.command import Outcome, run
from slurm.client.environment import client_environment
from slurm.devcluster.files import CLUSTER, Layout
from slurm.errors import DevClusterError

START_TIMEOUT_S = 180.0


def start_database(layout: Layout, user: str) -> None:
    """Make the data folder if there is none, and start MariaDB on it.

    Args:
        layout: where everything is.
        user: who owns it; the same name is the database account, known by the socket's peer.

    Raises:
        DevClusterError: a package is missing, or the server does not come up.
    """
    for program in ("mariadbd", "mariadb-install-db", "slurmdbd"):
        if program_path(program) is None:
            raise DevClusterError(
                f"{program}: not found",
                "apt-get install mariadb-server slurmdbd, or leave accounting out",
            )
    if not (layout.database / "mysql").is_dir():
        _require(run(_install(layout, user), timeout_s=START_TIMEOUT_S))
    log = layout.log / "mariadb.log"
    with log.open("ab") as stream:
        subprocess.Popen(
            [
                str(program_path("mariadbd")),
                "--no-defaults",
                f"--datadir={layout.database}",
                f"--socket={layout.database_socket}",
                f"--pid-file={layout.run}/mariadb.pid",
                f"--user={user}",  # it refuses to run as root unless told so by name
                "--skip-networking",
                "--innodb-buffer-pool-size=64M",
                # The data is thrown away with the cluster: no waiting for the disk.
                "--innodb-flush-log-at-trx-commit=0",
                "--skip-innodb-doublewrite",
            ],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    shell = ["mariadb", "--no-defaults", f"--socket={layout.database_socket}", f"--user={user}"]
    wait_for(lambda: run([*shell, "-e", "select 1"], timeout_s=5), f"MariaDB does not answer; see {log}")


def start_slurmdbd(layout: Layout) -> None:
    """Start slurmdbd and register cluster, account and user, so that sacct and associations work.

    Raises:
        DevClusterError: it does not come up.
    """
    environment = {
        **os.environ,
        "SLURM_CONF": str(layout.configuration),
        "MYSQL_UNIX_PORT": str(layout.database_socket),  # slurmdbd.conf cannot name a socket
    }
    _require(run([str(program_path("slurmdbd"))], environment=environment, timeout_s=START_TIMEOUT_S))
    wait_for(
        lambda: run(["sacctmgr", "-n", "show", "cluster"], environment=environment, timeout_s=5),
        f"slurmdbd does not answer; see {layout.log / 'slurmdbd.log'}",
    )


def register(layout: Layout, user: str) -> None:
    """Register the cluster, and the user with an account of its own; harmless when repeated."""
    environment = {**client_environment(), "SLURM_CONF": str(layout.configuration)}
    for words in (
        ["cluster", CLUSTER],
        ["account", "research", f"cluster={CLUSTER}"],
        ["user", user, "account=research", f"cluster={CLUSTER}"],
    ):
        outcome = run(["sacctmgr", "-i", "add", *words], environment=environment)
        if not outcome.ok and "nothing new" not in (outcome.stdout + outcome.stderr).lower():
            raise DevClusterError(outcome.describe(), f"see {layout.log / 'slurmdbd.log'}")


def program_path(name: str) -> str | None:
    """A program's path, also in the folders that an ordinary user's PATH leaves out."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))


def wait_for(ask: Callable[[], Outcome], complaint: str, timeout_s: float = START_TIMEOUT_S) -> None:
    """Ask until the answer is good.

    Args:
        ask: runs a command once.
        complaint: what to say when time is up.
        timeout_s: how long to go on.

    Raises:
        DevClusterError: it was not good in time; the last answer is part of the message.
    """
    deadline = time.monotonic() + timeout_s
    while not (outcome := ask()).ok:
        if time.monotonic() > deadline:
            raise DevClusterError(f"{complaint}\n{outcome.describe()}")
        time.sleep(0.1)


def _install(layout: Layout, user: str) -> list[str]:
    return [
        str(program_path("mariadb-install-db")),
        "--no-defaults",
        f"--datadir={layout.database}",
        f"--user={user}",
        "--auth-root-authentication-method=socket",
        f"--auth-root-socket-user={user}",
        "--skip-test-db",
    ]


def _require(outcome: Outcome) -> None:
    if not outcome.ok:
        raise DevClusterError(outcome.describe())
