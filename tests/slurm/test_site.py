"""What doctor says of a site."""

from __future__ import annotations

from typing import Any

from slurm.settings import ClusterSettings
from slurm.site import configuration_lines, partition_lines
from slurm.site_limits import parse_configuration

SINFO = "batch*|up|gpu:v100:2(S:0-1)|infinite\nurgent|up|gpu:v100:2|infinite\nold|down|(null)|1:00\n"


def levels(settings: dict[str, Any], **changes: Any) -> dict[str, str]:
    """The subject of each line and its level."""
    lines = partition_lines(SINFO, ClusterSettings(**{**settings, **changes}))
    return {what: level for level, what, _ in lines}


def test_a_default_partition_with_the_gres_is_fine(settings: dict[str, Any]) -> None:
    """partition null means the one with the star, and gpu:1 fits any kind of GPU."""
    assert levels(settings) == {"partition: batch is up": "ok", "gres: gpu:1": "ok"}


def test_a_kind_of_gpu_is_looked_for_by_name(settings: dict[str, Any]) -> None:
    """gpu:v100 is there, gpu:a100 is not."""
    assert levels(settings, gres="gpu:v100:1")["gres: gpu:v100:1"] == "ok"
    assert levels(settings, gres="gpu:a100:1")["gres: the partition has no gpu:a100"] == "fail"


def test_unknown_and_closed_partitions_fail(settings: dict[str, Any]) -> None:
    """Each with its own line."""
    found = levels(settings, partition="gpu,old", gres=None)
    assert found["partition: no gpu here"] == "fail"
    assert found["partition: old is down"] == "fail"


def test_a_configuration_is_read_and_judged() -> None:
    """No accounting, cancelling preemption and a short KillWait are warned of, each with a hint."""
    text = """\
Configuration data as of 2024-01-01T00:00:00
AccountingStorageType   = accounting_storage/none
KillWait                = 3 sec
MaxArraySize            = 1001
PreemptMode             = CANCEL
SLURM_VERSION           = 22.05.8
"""
    lines = list(configuration_lines(parse_configuration(text)))
    warned = [what for level, what, _ in lines if level == "warn"]
    assert warned == ["Slurm: no accounting", "Slurm: preemption cancels", "Slurm: KillWait=3 s"]
    assert all(hint for level, _, hint in lines if level != "ok")
    assert ("ok", "Slurm: version 22.05.8", "") in lines
