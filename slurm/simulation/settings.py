"""What the simulated site is like."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SiteSettings:
    """The keys that say how a site is simulated."""

    nodes: Count
    gpus_per_node: Count
    queue_wait: NotNegative  # seconds that a task waits on average, beside what it waits for a free GPU
    preemptions_per_gpu_hour: NotNegative
    node_failures_per_hour: NotNegative  # of each node
    repair_minutes: NotNegative
    simulation_seed: Annotated[int, Field(ge=0)]
