"""What fits on the nodes of a partition."""

from __future__ import annotations

from typing import Any

import pytest

from slurm.client.site_nodes import read_nodes
from slurm.settings import ClusterSettings

SINFO = """batch*|idle|gpu1|16|65536|gpu:v100:2(S:0-1),nvme:4|v100,ib
batch*|drain|gpu2|16|65536|gpu:a100:8|a100
urgent|idle|gpu1|16|65536|gpu:v100:2(S:0-1),nvme:4|v100,ib
cpu|down*|cpu1|64+|128000|(null)|(null)
"""


def holds(settings: dict[str, Any], partition: str | None = None, **changes: Any) -> dict[str, int]:
    """How many elements each node takes."""
    wanted = ClusterSettings(**{**settings, "mem_gb": 1, **changes})
    return {node.name: node.holds(wanted) for node in read_nodes(SINFO, partition)}


@pytest.mark.parametrize(
    ("changes", "held"),
    [
        ({}, {"gpu1": 2, "gpu2": 8}),
        ({"gres": "gpu:a100:2"}, {"gpu1": 0, "gpu2": 4}),
        ({"gres": "gpu:v100,nvme:3"}, {"gpu1": 1, "gpu2": 0}),
        ({"gres": None, "cpus": 4}, {"gpu1": 4, "gpu2": 4}),
        ({"gres": None, "mem_gb": 20}, {"gpu1": 3, "gpu2": 3}),
        ({"gres": None, "cpus": 2, "mem_gb": None, "mem_per_cpu_gb": 16}, {"gpu1": 2, "gpu2": 2}),
        ({"mem_gb": None, "mem_per_gpu_gb": 64}, {"gpu1": 1, "gpu2": 1}),
        ({"gres": None, "mem_gb": None}, {"gpu1": 16, "gpu2": 16}),
        ({"constraint": "v100"}, {"gpu1": 2, "gpu2": 0}),
        ({"constraint": "v100|a100"}, {"gpu1": 2, "gpu2": 8}),
        ({"constraint": "v100&ib"}, {"gpu1": 2, "gpu2": 0}),
        ({"constraint": "[rack1*2&rack2*4]"}, {"gpu1": 2, "gpu2": 8}),
    ],
)
def test_the_scarcest_resource_says_how_many_fit(
    settings: dict[str, Any], changes: dict[str, Any], held: dict[str, int]
) -> None:
    """A constraint that is too long to be understood leaves every node in."""
    assert holds(settings, **changes) == held


def test_nodes_are_those_of_the_partitions_each_once(settings: dict[str, Any]) -> None:
    """None: the default one; what is down or drained is away."""
    assert [(node.name, node.away) for node in read_nodes(SINFO, None)] == [("gpu1", False), ("gpu2", True)]
    assert holds(settings, "cpu,urgent", gres=None) == {"gpu1": 16, "cpu1": 64}
    assert read_nodes("sinfo: error\n", None) == []
