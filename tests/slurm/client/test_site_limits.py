"""What a site allows."""

from __future__ import annotations

from typing import Any

import pytest

from slurm.client import site_limits, table
from slurm.client.command import Outcome
from slurm.client.site_limits import PartitionSize, minutes, read_partition
from slurm.slurm_executor import SlurmExecutor

NODES = "batch*|infinite|n1\nbatch*|infinite|n2\ngpu|1-00:00:00|g1\ngpu|1-00:00:00|g2\nshort|30:00|g2\n"


@pytest.mark.parametrize(
    ("partition", "size"),
    [
        (None, PartitionSize(2, 0)),
        ("batch", PartitionSize(2, 0)),
        ("gpu", PartitionSize(2, 1440)),
        ("short,gpu", PartitionSize(2, 1440)),
        ("none", None),
    ],
)
def test_nodes_and_time_limit_are_those_of_the_partitions(
    partition: str | None, size: PartitionSize | None
) -> None:
    """The default one where none is named; a node in two of them is one node."""
    assert read_partition(NODES, partition) == size


@pytest.mark.parametrize(
    ("text", "expected"),
    [("infinite", 0), ("1-02:00:00", 1560), ("4:00:00", 240), ("30:00", 30), ("0:30", 1), ("", 0)],
)
def test_time_limits_become_minutes(text: str, expected: int) -> None:
    """As Slurm's clients write them."""
    assert minutes(text) == expected


def test_an_answer_is_asked_for_once_and_no_answer_again(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm's defaults hold until the site has answered."""
    asked: list[str] = []
    answers = {"scontrol": "", "sinfo": ""}

    def answer(command: list[str], **_: object) -> Outcome:
        asked.append(command[0])
        text = answers[command[0]]
        return Outcome(tuple(command), 0 if text else 1, text, "")

    for module in (site_limits, table):
        monkeypatch.setattr(module, "run", answer)
    executor = SlurmExecutor(**settings)
    first = executor.limits()
    assert (first["array_size"], first["nodes"], first["minutes"]) == (1001, 1, 0)
    answers.update(
        scontrol="MaxArraySize            = 501\n",
        sinfo="".join(f"{table.MARK}{line}\n" for line in NODES.splitlines()),
    )
    assert executor.limits() == executor.limits()
    assert executor.limits()["array_size"] == 501
    assert executor.limits()["nodes"] == 2
    assert asked == ["scontrol", "sinfo"] * 2
