"""How many elements a user can run at once."""

from __future__ import annotations

from typing import Any

import pytest

from slurm.client.site_nodes import read_nodes
from slurm.client.site_room import room
from slurm.settings import ClusterSettings

SINFO = "gpu*|{state}|n{number}|32|256000|gpu:v100:4|v100\n"


def made(
    settings: dict[str, Any], *caps: dict[str, str], nodes: int = 10, drained: int = 0, **changes: Any
) -> Any:
    """The room on ten nodes of four cards each."""
    lines = [SINFO.format(number=n, state="drain" if n < drained else "mix") for n in range(nodes)]
    wanted = ClusterSettings(**{**settings, "mem_gb": 16, "cpus": 4, **changes})
    named = [(f"QOS {number}", cap) for number, cap in enumerate(caps)]
    return room(read_nodes("".join(lines), None), named, wanted)


def test_a_partition_of_forty_cards_has_room_for_forty_and_ten_wait(settings: dict[str, Any]) -> None:
    """Nodes that are drained do not count, unless all are."""
    assert made(settings) == {
        "at_once": 40,
        "waiting": 10,
        "submitted": None,
        "why": "what 10 nodes of the default partition hold",
    }
    assert made(settings, drained=4)["at_once"] == 24
    assert made(settings, drained=10)["at_once"] == 40
    assert made(settings, nodes=0)["at_once"] is None


@pytest.mark.parametrize(
    ("cap", "at_once", "why"),
    [
        ({"MaxJobsPU": "6"}, 6, "MaxJobsPU=6 of QOS 0"),
        ({"MaxJobs": "0"}, 0, "MaxJobs=0 of QOS 0"),
        ({"GrpJobs": "100"}, 40, "what 10 nodes of the default partition hold"),
        ({"MaxTRESPU": "cpu=64,gres/gpu=8"}, 8, "MaxTRESPU gres/gpu of QOS 0"),
        ({"GrpTRES": "gres/gpu:v100=5,node=9"}, 5, "GrpTRES gres/gpu:v100 of QOS 0"),
        ({"MaxTRESPU": "mem=100G"}, 6, "MaxTRESPU mem of QOS 0"),
        ({"MaxTRESPU": "mem=102400M"}, 6, "MaxTRESPU mem of QOS 0"),
        ({"MaxTRESPU": "billing=7,nonsense"}, 40, "what 10 nodes of the default partition hold"),
    ],
)
def test_the_least_of_the_caps_counts(
    settings: dict[str, Any], cap: dict[str, str], at_once: int, why: str
) -> None:
    """Those of running jobs, and those of what they take together."""
    found = made(settings, {}, cap, gres="gpu:v100") if "v100" in str(cap) else made(settings, cap)
    assert (found["at_once"], found["why"].replace("QOS 1", "QOS 0")) == (at_once, why)


def test_submitted_jobs_and_the_users_own_limit(settings: dict[str, Any]) -> None:
    """The first is told beside, the second is one more bound."""
    assert made(settings, {"MaxSubmitJobsPU": "30"}, {"MaxSubmitJobs": "20"})["submitted"] == 20
    assert made(settings, max_parallel=3)["at_once"] == 3
    assert made(settings, max_parallel=3)["why"] == "cluster.max_parallel"
