"""What doctor says of a site."""

from __future__ import annotations

from typing import Any

import pytest

from slurm.client.site import configuration_lines, partition_lines, warning_lines
from slurm.client.site_caps import cap_lines, check_caps, read_rows
from slurm.client.site_limits import parse_configuration
from slurm.settings import ClusterSettings

SINFO = "batch*|up|gpu:v100:2(S:0-1)|infinite\nurgent|up|gpu:v100:2|2:00:00\nold|down|(null)|1:00\n"


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


@pytest.mark.parametrize(
    ("limit", "line"),
    [
        ("2:00:00", ("time limit: 120 of at most 120 min", "ok")),
        ("auto", ("time limit: 240 min is above the partition's 120 min", "fail")),
    ],
)
def test_a_time_limit_is_compared_with_the_partitions(
    settings: dict[str, Any], limit: str, line: tuple[str, str]
) -> None:
    """Many sites take a longer one, and never start it."""
    assert line in levels(settings, partition="urgent", time_limit=limit).items()


PARTITIONS = """\
PartitionName=batch Default=YES GraceTime=60 MaxTime=UNLIMITED PreemptMode=REQUEUE State=UP
PartitionName=urgent Default=NO GraceTime=0 MaxTime=UNLIMITED PreemptMode=OFF State=UP
"""


@pytest.mark.parametrize(
    ("parameters", "signals"), [("(null)", "TERM only"), ("preempt_send_user_signal", "USR2 and TERM")]
)
def test_the_notice_of_a_preemption_is_told(parameters: str, signals: str) -> None:
    """Which signals come, and how long before the end; nothing of a partition that is not preempted."""
    configuration = {"SlurmctldParameters": parameters, "KillWait": "30 sec"}
    (line,) = warning_lines(configuration, PARTITIONS, None)
    assert line[1].startswith(f"preemption in batch: {signals}, then 90 s until KILL (GraceTime=60)")
    assert list(warning_lines(configuration, PARTITIONS, "urgent")) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("AuthInfo = (null)", ("ok", "Slurm: a requeued task waits 121 s before it starts again (AuthInfo)")),
        (
            "AuthInfo = cred_expire=5",
            ("ok", "Slurm: a requeued task waits 6 s before it starts again (AuthInfo)"),
        ),
        ("MinJobAge = 10 sec", ("warn", "Slurm: MinJobAge=10 s, squeue soon forgets what is over")),
    ],
)
def test_delays_of_the_site_are_told(given: str, said: tuple[str, str]) -> None:
    """What to expect after a preemption, and of a task that is over."""
    assert said in [line[:2] for line in configuration_lines(parse_configuration(given))]


def test_caps_are_told_one_by_one(settings: dict[str, Any]) -> None:
    """Those that are set; one on time is compared with what is wanted."""
    fields = ("Name", "MaxSubmitJobsPU", "GrpTRES", "MaxWall")
    (caps,) = read_rows("long||gres/gpu=4|1:00:00\nodd|line\n", fields)
    assert [line[:2] for line in cap_lines("QOS long", caps, ClusterSettings(**settings))] == [
        ("ok", "QOS long: at most gres/gpu=4 at a time, of all its users (GrpTRES)"),
        ("fail", "QOS long: at most 1:00:00 of time for one element (MaxWall), 240 min are wanted"),
    ]


def test_caps_are_not_asked_for_where_none_are_enforced(settings: dict[str, Any]) -> None:
    """Nor where there is no accounting at all."""
    assert list(check_caps({}, ClusterSettings(**settings))) == []
