"""What the controller asks of slurmctld, counted by slurmctld itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.reliability.polling import measure, requests, rise, waiting_study
from slurm.devcluster.files import Layout


@pytest.mark.slurm
def test_a_pass_sends_the_same_few_requests_with_10_and_1000_elements(
    cluster: Layout, tmp_path: Path
) -> None:
    """One squeue, which asks for jobs and for partitions, however long the queue is."""
    few, many = (measure(cluster, tmp_path / str(count), count, polls=5)["rpcs"] for count in (10, 1000))
    assert few == many
    assert sum(few.values()) <= 2


@pytest.mark.slurm
def test_a_look_at_the_files_alone_sends_nothing(cluster: Layout, tmp_path: Path) -> None:
    """Results are found without the scheduler, so that they may be looked for often."""
    with waiting_study(cluster, tmp_path, 10) as controller:
        before = requests(cluster)
        controller.step(poll=False)
        assert rise(before, requests(cluster)) == {}
