"""A true Slurm cluster on this machine, for development: `python -m slurm.devcluster up|down|status`.

slurmctld and a few slurmd nodes of two pretended GPUs each, as an ordinary user or as root, everything in one
folder. Partition `batch` is the default one and is preempted, with requeue, by partition `urgent`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from slurm.devcluster.cluster import client, down, find_layout, is_up, up
from slurm.devcluster.files import Options
from slurm.errors import DevClusterError


def _options(arguments: argparse.Namespace) -> Options:
    lines = [line.strip() for text in arguments.extra for line in text.split(";")]
    return Options(
        nodes=arguments.nodes,
        accounting=arguments.accounting,
        user_signal=arguments.user_signal,
        grace_s=arguments.grace,
        kill_wait_s=arguments.kill_wait,
        extra=tuple(line for line in lines if line),
    )


def _parser() -> argparse.ArgumentParser:
    given, plain = os.environ, Options()

    def switched(name: str) -> bool:
        return given.get(name, "0") not in ("", "0")

    def number(name: str, default: int) -> int:
        return int(given.get(name, default))

    parser = argparse.ArgumentParser(prog="python -m slurm.devcluster", description=__doc__)
    add = parser.add_argument
    add("command", choices=["up", "down", "status"])
    add("--dir", type=Path, default=Path(".slurm"), help="folder of the cluster")
    add("--nodes", type=int, default=number("NODES", plain.nodes), help="number of nodes ($NODES)")
    add(
        "--accounting",
        action="store_true",
        default=switched("ACCOUNTING"),
        help="slurmdbd with a private MariaDB, so that sacct works ($ACCOUNTING)",
    )
    add(
        "--user-signal",
        action="store_true",
        default=switched("USERSIG"),
        help="preemption sends a job's own --signal first ($USERSIG)",
    )
    add("--grace", type=int, default=number("GRACE", plain.grace_s), help="GraceTime of batch, s ($GRACE)")
    add("--kill-wait", type=int, default=number("KILLWAIT", plain.kill_wait_s), help="s ($KILLWAIT)")
    add(
        "--extra",
        action="append",
        default=[given["EXTRA"]] if given.get("EXTRA") else [],
        help="further lines of slurm.conf, separated by ; ($EXTRA)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done or up, 1 failed or down."""
    arguments = _parser().parse_args(argv)
    try:
        return _run(arguments.command, arguments.dir, _options(arguments))
    except DevClusterError as error:
        print(error, file=sys.stderr)
        return 1


def _run(command: str, folder: Path, options: Options) -> int:
    layout = find_layout(folder)
    running = layout is not None and is_up(layout)
    if command == "down":
        down(folder)
        print("stopped" if layout else f"no cluster in {folder}")
        return 0
    if command == "status" and not running:
        print(f"no cluster is up in {folder}")
        return 1
    if command == "up":
        layout = up(folder, options)
        print(f"# {'already up' if running else 'up'}; this shell uses it after:")
    assert layout is not None  # up makes one, and status has found one
    print(f"export SLURM_CONF={layout.configuration}")
    if command == "status":
        print(client(layout, "sinfo").stdout, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
