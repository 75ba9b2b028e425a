"""What clients say of tasks that are over, among a site's own words."""

from __future__ import annotations

import pytest

from slurm.client.command import Outcome
from slurm.client.requests import require
from slurm.errors import SchedulerError

BANNER = "WELCOME to our cluster: mind the quota\n"


@pytest.mark.parametrize(
    "stderr",
    [
        "Invalid job id specified for job 99\nslurm_suspend error: Invalid job id specified\n",
        "7_0: Job has already finished\n7_1-3: No error\n",
        "scancel: error: Kill job error on job step id 9_0.0: Invalid job id specified\n",
    ],
)
def test_tasks_that_are_over_are_no_failure(stderr: str) -> None:
    """With and without a banner before them."""
    for said in (stderr, BANNER + stderr):
        require(Outcome(("scontrol",), 1, "", said), "hint")


@pytest.mark.parametrize(
    "stderr",
    [
        "",
        BANNER,
        "7_0: Job has already finished\n7_1: Access/permission denied\n",
        "slurm_update error: Unable to contact slurm controller (connect failure)\n",
    ],
)
def test_everything_else_is(stderr: str) -> None:
    """Also when a part of it is about tasks that are over."""
    with pytest.raises(SchedulerError):
        require(Outcome(("scontrol",), 1, "", stderr), "hint")
