"""What a look of the controller at the queue costs: requests to slurmctld, as that counts them, and CPU."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.records import Record
from hpo.controller.assembly import assemble
from hpo.controller.compose import compose_config
from hpo.controller.controller import Controller
from hpo.objectives import describe_objectives
from hpo.ports import OVER, Task
from hpo.study.journal import Journal
from hpo.study.lease import HeldLease
from hpo.study.store import create_study
from slurm.devcluster import cluster as devcluster
from slurm.devcluster.files import Layout

POLLS = 20
_COUNT = re.compile(r"^\s+([A-Z_]+)\s+\(\s*\d+\)\s+count:(\d+)", re.MULTILINE)
_OWN = ("REQUEST_STATS_INFO",)  # of sdiag
OPTIONS = (
    "experiment=none",
    "report.automatic=false",
    "trainer=synthetic",
    "strategy=sobol",
    "cluster=slurm",
    "cluster.mem_gb=0.25",
    "++cluster.extra.begin='now+1hour'",  # released, and pending: nothing runs
    "study.name=polls",
)


def requests(layout: Layout) -> dict[str, int]:
    """How many requests of clients slurmctld has answered so far, by type.

    Args:
        layout: of its cluster. What the nodes send by themselves (MESSAGE_...) is left out.
    """
    told = devcluster.client(layout, "sdiag").stdout
    by_type = told.partition("statistics by message type")[2].partition("statistics by user")[0]
    found = {name: int(count) for name, count in _COUNT.findall(by_type)}
    return {
        name: count for name, count in found.items() if name not in _OWN and not name.startswith("MESSAGE_")
    }


def rise(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """What has been added, where something has."""
    changes = {name: count - before.get(name, 0) for name, count in after.items()}
    return {name: change for name, change in changes.items() if change}


@contextmanager
def waiting_study(layout: Layout, root: Path, elements: int) -> Iterator[Controller]:
    """The controller of a study whose trials all wait in the queue, as one array.

    Args:
        layout: of the cluster.
        root: for the study; new.
        elements: how many trials.
    """
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(layout.configuration)
    size = [f"budget.trials={elements}", f"batch.size={elements}", f"study.root={root}"]
    parts = assemble(*compose_config([*OPTIONS, *size], None))
    made: dict[str, Any] = {"objectives": describe_objectives(parts.objectives), "settings": parts.settings}
    create_study(parts.paths, parts.raw, parts.identity, {**made, "earlier": {}})
    controller: Controller | None = None
    try:
        with HeldLease(parts.paths.controller) as lease:
            journal = Journal(parts.paths.journal)
            rest = (parts.proposer(), parts.limits, lease, parts.kind.target)
            controller = Controller(parts.paths, journal, parts.executor, *rest)
            controller.step()
            yield controller
    finally:
        if controller is not None:
            parts.executor.cancel(queued(controller))
        os.environ.pop("SLURM_CONF")
        if before is not None:
            os.environ["SLURM_CONF"] = before


def queued(controller: Controller) -> list[Task]:
    """The elements of the study that are in the queue; what the user ran before is listed for minutes too."""
    own = {batch.job_id for batch in controller.study.batches.values()}
    return [
        task for task, view in (controller.live or {}).items() if task[0] in own and view["state"] != OVER
    ]


def measure(layout: Layout, root: Path, elements: int, polls: int = POLLS) -> Record:
    """The cost of a pass that asks the scheduler, on average over some.

    Args:
        layout: of the cluster.
        root: for the study; new.
        elements: trials that wait in the queue.
        polls: how many passes.

    Returns:
        `rpcs`: requests per pass, by type; `cpu_ms`: of the controller and its clients together.
    """
    with waiting_study(layout, root, elements) as controller:
        controller.step()  # the first with the array in the queue
        assert len(queued(controller)) == elements, "not every element waits in the queue"
        before, cpu_s, began = requests(layout), _cpu_s(), time.monotonic()
        for _ in range(polls):
            controller.step()
        wall_s, cpu_s = time.monotonic() - began, _cpu_s() - cpu_s
        asked = rise(before, requests(layout))
    return {
        "elements": elements,
        "polls": polls,
        "rpcs": {name: count / polls for name, count in sorted(asked.items())},
        "wall_ms": round(1000 * wall_s / polls, 1),
        "cpu_ms": round(1000 * cpu_s / polls, 1),
    }


def _cpu_s() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
