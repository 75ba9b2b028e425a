"""Which of Slurm's reasons to wait pass."""

from __future__ import annotations

import pytest

from slurm.client.pending_reasons import HELP, NEVER, PASSES, passing
from slurm.client.squeue import read_tasks

_RESOURCES = ("BB", "Billing", "Cpu", "Energy", "GRES", "License", "Mem", "Node")
ALWAYS = (
    *("None", "Priority", "Dependency", "Resources", "BeginTime", "Licenses", "Reservation", "Cleaning"),
    *("Prolog", "JobArrayTaskLimit", "SchedDefer", "FedJobLock", "PowerReserved", "AssocMaxJobsLimit"),
    *("BurstBufferResources", "BurstBufferStageIn", "AssocGrpJobsLimit", "QOSGrpJobsLimit", "QOSJobLimit"),
    *("QOSMaxJobsPerUserLimit", "MaxJobsPerAccount", "AssociationJobLimit", "QOSGrpCpuLimit"),
    *("AssocMaxSubmitJobLimit", "QOSMaxSubmitJobPerUserLimit", "AssociationResourceLimit"),
    *("AssocGrpGRES", "QOSGrpGRES", "QOSMaxGRESPerUser", "MaxGRESPerAccount", "QOSResourceLimit"),
    *(f"AssocGrp{what}RunMinutes" for what in _RESOURCES),
    *(f"QOSGrp{what}RunMinutesLimit" for what in _RESOURCES),
    *(f"QOSMax{what}PerUser" for what in _RESOURCES),
    *(f"Max{what}PerAccount" for what in _RESOURCES),
)
HELPED = (
    *("ReqNodeNotAvail, UnavailableNodes:gpu1", "ReqNodeNotAvail, Reserved for maintenance", "NodeDown"),
    "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
    *("PartitionDown", "PartitionInactive", "FrontEndDown", "JobHeldAdmin", "JobHoldMaxRequeue"),
    *("ReservationDeleted", "AssocGrpCPUMinutesLimit", "AssocGrpWallLimit", "QOSGrpWallLimit"),
    *("QOSUsageThreshold", "AssociationTimeLimit", "QOSTimeLimit", "SystemFailure", "BlockMaxError"),
    *("BlockFreeAction", "BurstBufferOperation", "PowerNotAvail", "QOSGrpCPUMinutesLimit"),
    *(f"AssocGrp{what}Minutes" for what in _RESOURCES),
)
HOPELESS = (
    *("BadConstraints", "PartitionTimeLimit", "PartitionNodeLimit", "PartitionConfig", "InvalidAccount"),
    *("InvalidQOS", "AccountNotAllowed", "QOSNotAllowed", "DependencyNeverSatisfied", "MaxMemPerLimit"),
    *("AssocMaxWallDurationPerJobLimit", "QOSMaxWallDurationPerJobLimit", "QOSMinGRES", "QOSMinMemory"),
    *("QOSMinCpuNotSatisfied", "AssocMaxCpuPerJobLimit", "AssocMaxCpuMinutesPerJobLimit"),
    *("QOSMaxCpuMinutesPerJobLimit", "AssocMaxNodePerJobLimit"),
    *(
        f"{who}Max{what}Per{unit}"
        for who in ("Assoc", "QOS")
        for what in _RESOURCES
        for unit in ("Job", "Node")
    ),
)


@pytest.mark.parametrize(
    ("way", "reasons"), [(PASSES, ALWAYS), (HELP, HELPED), (NEVER, HOPELESS)], ids=["passes", "help", "never"]
)
def test_every_reason_of_slurm_is_of_a_kind(way: str, reasons: tuple[str, ...]) -> None:
    """Whatever passes needs no hint, all else has one."""
    found = {reason: passing(reason) for reason in reasons}
    assert {reason: kind for reason, (kind, _) in found.items() if kind != way} == {}
    assert all(bool(hint) == (way != PASSES) for _, hint in found.values())


def test_a_waiting_task_is_told_with_what_to_do() -> None:
    """A held or running one is not: its reason is no reason to wait."""
    text = "7|0|PENDING|BadConstraints||n\n7|1|PENDING|Priority||n\n7|2|RUNNING|JobHeldAdmin|gpu1|n\n"
    tasks = read_tasks(text)
    assert tasks["7", 0]["blocked"] == "never"
    assert "cluster.gres" in tasks["7", 0]["hint"]
    assert "blocked" not in tasks["7", 1]
    assert "blocked" not in tasks["7", 2]
