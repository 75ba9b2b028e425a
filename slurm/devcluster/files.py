"""The configuration files of the one-machine cluster: texts from values, no side effects.

Debian's Slurm 22.05 was measured with these: no munge, no systemd, no cgroups, no database unless asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CLUSTER = "frontrunner"
GPUS_PER_NODE = 2

# gres/gpu wants character devices; with plain files tasks get no CUDA_VISIBLE_DEVICES at all.
_DEVICES = ("/dev/null", "/dev/zero")


@dataclass(frozen=True)
class Options:
    """What can be chosen about the cluster."""

    nodes: int = 4
    accounting: bool = False
    user_signal: bool = False  # a preempted job gets its --signal first
    grace_s: int = 0  # from the warning of a preemption to its start
    kill_wait_s: int = 3  # from TERM to KILL
    extra: tuple[str, ...] = ()  # further lines of slurm.conf


@dataclass(frozen=True)
class Layout:
    """Where everything of a cluster is."""

    folder: Path
    sockets: Path  # short: a unix socket's path has at most 107 characters

    @property
    def etc(self) -> Path:
        """Configuration files."""
        return self.folder / "etc"

    @property
    def run(self) -> Path:
        """Pid files: the only processes that are ever killed are named here, or run below these."""
        return self.folder / "run"

    @property
    def log(self) -> Path:
        """Log files."""
        return self.folder / "log"

    @property
    def state(self) -> Path:
        """The controller's state."""
        return self.folder / "state"

    @property
    def database(self) -> Path:
        """MariaDB's data."""
        return self.folder / "database"

    @property
    def database_socket(self) -> Path:
        """MariaDB's socket; it listens nowhere else."""
        return self.sockets / "db.sock"

    @property
    def configuration(self) -> Path:
        """What SLURM_CONF is to name."""
        return self.etc / "slurm.conf"

    @property
    def record(self) -> Path:
        """What `down` must know of what `up` did."""
        return self.folder / "cluster.json"

    def folders(self) -> list[Path]:
        """Every folder that must exist before a daemon starts."""
        return [self.etc, self.run, self.log, self.state]


def node_names(options: Options) -> list[str]:
    """gpu1, gpu2, ..."""
    return [f"gpu{number}" for number in range(1, options.nodes + 1)]


def slurm_conf(layout: Layout, options: Options, host: str, user: str, ports: list[int]) -> str:
    """The text of slurm.conf.

    Args:
        layout: where everything is.
        options: what was chosen.
        host: this machine's name.
        user: who runs the daemons, and then is the only one who can run jobs unless it is root.
        ports: of slurmctld, of slurmdbd, and of each node.
    """
    controller_port, database_port, *node_ports = ports
    storage = "slurmdbd" if options.accounting else "none"
    lines = [
        f"ClusterName={CLUSTER}",
        f"SlurmctldHost={host}(127.0.0.1)",
        f"SlurmctldPort={controller_port}",
        f"SlurmUser={user}",
        f"SlurmdUser={user}",
        "AuthType=auth/none",
        "CredType=cred/none",
        # A requeued job waits cred_expire + 1 s, 121 by default; values below 5 are not taken.
        "AuthInfo=cred_expire=5",
        f"StateSaveLocation={layout.state}",
        f"SlurmdSpoolDir={layout.sockets}/%n",
        f"SlurmctldPidFile={layout.run}/slurmctld.pid",
        f"SlurmdPidFile={layout.run}/slurmd-%n.pid",
        f"SlurmctldLogFile={layout.log}/slurmctld.log",
        f"SlurmdLogFile={layout.log}/slurmd-%n.log",
        f"PlugStackConfig={layout.etc}/plugstack.conf",
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "JobAcctGatherType=jobacct_gather/linux",
        "JobAcctGatherFrequency=5",
        "MpiDefault=none",
        "MailProg=/bin/true",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_CPU_Memory",
        # Microseconds: a submitted job waits no longer for its turn.
        "SchedulerParameters=sched_min_interval=100000,bf_interval=2",
        "PreemptType=preempt/partition_prio",
        "PreemptMode=REQUEUE",
        f"KillWait={options.kill_wait_s}",
        "MinJobAge=60",
        "ReturnToService=2",
        "SlurmdTimeout=30",
        # Lets a machine of two CPUs claim more nodes than it has.
        "SlurmdParameters=config_overrides",
        f"AccountingStorageType=accounting_storage/{storage}",
        "GresTypes=gpu",
    ]
    if options.accounting:
        lines += ["AccountingStorageHost=127.0.0.1", f"AccountingStoragePort={database_port}"]
        lines += ["AccountingStorageTRES=gres/gpu"]
    if options.user_signal:
        lines += ["SlurmctldParameters=preempt_send_user_signal"]
    for name, port in zip(node_names(options), node_ports, strict=True):
        lines.append(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port}"
            f" CPUs=16 RealMemory=65536 Gres=gpu:v100:{GPUS_PER_NODE} Feature=v100 State=UNKNOWN"
        )
    lines += [
        "PartitionName=batch Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=1"
        f" PreemptMode=REQUEUE GraceTime={options.grace_s}",
        "PartitionName=urgent Nodes=ALL MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF",
        *options.extra,
    ]
    return "\n".join(lines) + "\n"


def gres_conf(options: Options) -> str:
    """The text of gres.conf."""
    return "".join(
        f"NodeName={name} Name=gpu Type=v100 File={device}\n"
        for name in node_names(options)
        for device in _DEVICES
    )


def slurmdbd_conf(layout: Layout, user: str, port: int) -> str:
    """The text of slurmdbd.conf; MariaDB knows the user by the socket's peer, so there is no password.

    Args:
        layout: where everything is.
        user: who runs the daemons.
        port: of slurmdbd.
    """
    lines = [
        "AuthType=auth/none",
        "DbdHost=localhost",
        "DbdAddr=127.0.0.1",
        f"DbdPort={port}",
        f"SlurmUser={user}",
        f"PidFile={layout.run}/slurmdbd.pid",
        f"LogFile={layout.log}/slurmdbd.log",
        "StorageType=accounting_storage/mysql",
        "StorageHost=localhost",
        f"StorageUser={user}",
        "StorageLoc=slurm_accounting",
    ]
    return "\n".join(lines) + "\n"
