"""`cluster.extra`: options of sbatch beyond those that the executor or another key sets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

OptionValue = bool | int | float | str | None

# Options that the executor or another key sets; setting them twice would break what it relies on.
_OWN_OPTIONS = {
    "array": "the batch's size, and cluster.max_parallel",
    "clusters": "the executor, which asks one cluster about its tasks",
    "export": "the executor",
    "export-file": "the executor",
    "hold": "the executor",
    "requeue": "the executor",
    "no-requeue": "the executor",
    "open-mode": "the executor",
    "job-name": "the executor",
    "output": "the executor",
    "error": "the executor",
    "nodes": "the executor, one for each trial",
    "ntasks": "the executor, one for each trial",
    "ntasks-per-node": "the executor, one for each trial",
    "parsable": "the executor",
    "test-only": "the executor",
    "wait": "the executor",
    "wrap": "the executor",
    "signal": "cluster.signal_delay_s",
    "partition": "cluster.partition",
    "account": "cluster.account",
    "qos": "cluster.qos",
    "gres": "cluster.gres",
    "constraint": "cluster.constraint",
    "cpus-per-task": "cluster.cpus",
    "mem": "cluster.mem_gb",
    "mem-per-cpu": "cluster.mem_per_cpu_gb",
    "mem-per-gpu": "cluster.mem_per_gpu_gb",
    "time": "cluster.time_limit",
}

# sbatch's letters, of 19.05 to 24.05.
_PAIRS = """
A=account a=array B=extra-node-info b=begin C=constraint c=cpus-per-task D=chdir d=dependency e=error
F=nodefile G=gpus H=hold i=input J=job-name k=no-kill L=licenses M=clusters m=distribution N=nodes n=ntasks
O=overcommit o=output p=partition q=qos Q=quiet S=core-spec s=oversubscribe t=time W=wait w=nodelist x=exclude
"""
_LETTERS = dict(pair.split("=") for pair in _PAIRS.split())
_NAME = re.compile(r"[a-z][a-z0-9-]*")


def option_name(name: str) -> str:
    """sbatch's long name of an option, from any spelling: `-p`, `p`, `--partition`, `mem_per_cpu`."""
    bare = name.strip().lstrip("-").replace("_", "-")
    return _LETTERS.get(bare, bare)


def joined(value: Any) -> Any:
    """A list as sbatch writes it, with commas; anything else as it is."""
    return ",".join(map(str, value)) if isinstance(value, list) else value


def check_options(extra: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """Options by their long names.

    Raises:
        ValueError: one that is no option's name, or that is set elsewhere, also where it is abbreviated.
    """
    # sbatch takes the beginning of a name for the name, as in --partit=gpu
    owners = {
        name: next((by for known, by in _OWN_OPTIONS.items() if known.startswith(option_name(name))), None)
        for name in extra
    }
    named = ", ".join(f"{name} (set by {by})" for name, by in sorted(owners.items()) if by)
    if named:
        raise ValueError(f"expected options that no other key sets, got {named}")
    options = {option_name(name): value for name, value in extra.items()}
    strange = [name for name in options if not _NAME.fullmatch(name)]
    if strange:
        raise ValueError(f"expected names of sbatch's options such as nodelist, got {strange[0]!r}")
    for name, value in options.items():
        if not str(value).isprintable():
            raise ValueError(f"expected one line for {name}, got {value!r}")
    return options
