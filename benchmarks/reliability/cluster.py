"""A one-machine cluster that can be hurt: daemons stopped, hung, killed and started again."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from slurm.client.command import Outcome, run
from slurm.devcluster import accounting as devcluster_accounting
from slurm.devcluster import cluster as devcluster
from slurm.devcluster.files import Layout, Options
from slurm.devcluster.processes import daemons, stop

START_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Task:
    """One running element, as squeue shows it."""

    array: str
    index: int
    node: str

    @property
    def element(self) -> str:
        """Slurm's name of it."""
        return f"{self.array}_{self.index}"


class Cluster:
    """A cluster that is up, and what can be done to it; see `cluster` for making one."""

    def __init__(self, layout: Layout, options: Options) -> None:
        self.layout, self.options = layout, options

    @property
    def environment(self) -> dict[str, str]:
        """What points a process's Slurm clients here."""
        return {"SLURM_CONF": str(self.layout.configuration)}

    def ask(self, *command: str) -> Outcome:
        """Run a client; nothing is raised."""
        return run(command, environment={**os.environ, **self.environment})

    def daemon(self, name: str) -> int | None:
        """The process id of slurmctld, slurmdbd or slurmd-<node>; None where it is not running."""
        return daemons(self.layout).get(name)

    def names(self) -> list[str]:
        """The names of the jobs in the queue, one for each element.

        Raises:
            RuntimeError: the scheduler does not answer.
        """
        return self._lines("-o", "%j")

    def tasks(self, state: str, prefix: str) -> list[Task]:
        """The elements of a study that are in a state.

        Args:
            state: RUNNING, PENDING or COMPLETED.
            prefix: of the names of the study's arrays.
        """
        with suppress(RuntimeError):
            rows = [line.split("|") for line in self._lines("-t", state, "-o", "%F|%K|%N|%j")]
            mine = [row for row in rows if row[3].startswith(prefix) and row[1].isdigit()]
            return [Task(row[0], int(row[1]), row[2]) for row in mine]
        return []

    def _lines(self, *options: str) -> list[str]:
        outcome = self.ask("squeue", "-h", "-r", "--me", *options)
        if not outcome.ok:
            raise RuntimeError(outcome.describe())
        return outcome.stdout.splitlines()

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a daemon a signal, and wait for its end where that is one."""
        pid = self.daemon(name)
        if pid is not None and number is signal.SIGKILL:
            os.kill(pid, number)
            stop([pid], 5)
        elif pid is not None:
            stop([pid], 20)

    def start_slurmctld(self) -> None:
        """Start the controller again, and wait until it answers."""
        self._start("slurmctld", "-f", str(self.layout.configuration))
        devcluster_accounting.wait_for(lambda: self.ask("scontrol", "ping"), "slurmctld is silent")
        # Its nodes tell it of their GPUs only at its next ping, ten seconds later. Measured on 22.05: what it
        # starts before has no usable GPU (`Invalid generic resource`), and the GPU is never given back.
        self.ask("scontrol", "reconfigure")

    def start_slurmd(self, node: str) -> None:
        """Start a node's daemon again, and let the node take tasks."""
        self._start("slurmd", "-f", str(self.layout.configuration), "-N", node)
        self.ask("scontrol", "update", f"nodename={node}", "state=resume")

    def start_slurmdbd(self) -> None:
        """Start the accounting again."""
        devcluster_accounting.start_slurmdbd(self.layout)

    def _start(self, name: str, *arguments: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        command = [str(devcluster_accounting.program_path(name)), *arguments]
        while not (outcome := run(command)).ok:  # its port may be taken for a moment
            if time.monotonic() > deadline:
                raise RuntimeError(outcome.describe())
            time.sleep(0.5)

    def mend(self) -> None:
        """Bring back whatever is stopped, hung or down, so that nothing of a fault outlasts it."""
        pid = self.daemon("slurmctld")
        if pid is None:
            self.start_slurmctld()
        else:
            os.kill(pid, signal.SIGCONT)
        if self.options.accounting and self.daemon("slurmdbd") is None:
            self.start_slurmdbd()
        down = re.compile(r"^(\S+) (down|drain)", re.MULTILINE)
        for node in sorted(
            {found[1] for found in down.finditer(self.ask("sinfo", "-hN", "-o", "%N %t").stdout)}
        ):
            if self.daemon(f"slurmd-{node}") is None:
                self.start_slurmd(node)


@contextmanager
def cluster(folder: Path, options: Options) -> Iterator[Cluster]:
    """A cluster for the time of a `with`; everything that runs on it is stopped at the end."""
    layout = devcluster.up(folder, options)
    try:
        yield Cluster(layout, options)
    finally:
        pid = daemons(layout).get("slurmctld")
        if pid is not None:
            os.kill(pid, signal.SIGCONT)  # a hung one would answer nobody, nor end
        devcluster.down(folder)
