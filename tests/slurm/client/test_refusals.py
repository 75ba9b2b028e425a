"""What is for now and what is for ever, by the words of Slurm's clients."""

from __future__ import annotations

import pytest

from slurm.client.command import Outcome
from slurm.client.refusals import is_busy, submission_hint

POLICY = (
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy"
    " (job submit limit, user's size and/or time limits)"
)
FAILED = "sbatch: error: Batch job submission failed: "


def refused(stderr: str, *, timed_out: bool = False) -> Outcome:
    """An sbatch that failed."""
    return Outcome(("sbatch",), None if timed_out else 1, "", stderr, timed_out)


@pytest.mark.parametrize(
    "stderr",
    [
        f"sbatch: error: QOSMaxSubmitJobPerUserLimit\n{POLICY}",
        f"sbatch: error: AssocMaxSubmitJobLimit\n{POLICY}",
        f"sbatch: error: AssocGrpSubmitJobsLimit\n{POLICY}",
        POLICY,
        f"{FAILED}Socket timed out on send/recv operation",
        f"{FAILED}Unable to contact slurm controller (connect failure)",
        "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
        "Unexpected message received for job 1\nslurm_suspend error: Unexpected message received",
    ],
)
def test_what_may_be_taken_later_is_busy(stderr: str) -> None:
    """No answer, no room, or a limit on submitted jobs."""
    assert is_busy(refused(stderr))


@pytest.mark.parametrize(
    "stderr",
    [
        f"sbatch: error: QOSMaxWallDurationPerJobLimit\n{POLICY}",
        f"sbatch: error: QOSMaxCpuPerJobLimit\n{POLICY}",
        f"{FAILED}Invalid partition name specified",
        f"{FAILED}Invalid account or account/partition combination specified",
        f"{FAILED}Invalid qos specification",
        f"{FAILED}Invalid job array specification",
        f"{FAILED}Requested node configuration is not available",
        f"{FAILED}Requested time limit is invalid (missing or exceeds some limit)",
        "[Errno 2] No such file or directory: 'sbatch'",
    ],
)
def test_what_will_never_be_taken_is_not_busy(stderr: str) -> None:
    """Asking again would help nobody."""
    assert not is_busy(refused(stderr))


def test_a_client_that_never_ends_is_busy() -> None:
    """It was killed; the scheduler may have been asleep."""
    assert is_busy(refused("no answer within 45 s", timed_out=True))


def test_a_limit_on_submitted_jobs_is_not_taken_for_a_time_limit() -> None:
    """The policy's sentence speaks of time limits too."""
    assert "wait, or lower batch.size" in submission_hint(POLICY)
