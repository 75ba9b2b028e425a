"""What people type for a site: options of sbatch, lists of gres and partitions, memory."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from hpo.commands.plan import plan
from hpo.controller.compose import compose_config
from hpo.errors import InputError


@pytest.mark.parametrize(
    ("override", "extra"),
    [
        ("cluster.extra={nodelist: gpu01}", {"nodelist": "gpu01"}),
        ("+cluster.extra={nodelist: gpu01}", {"nodelist": "gpu01"}),
        ("cluster.extra={nodelist: 'gpu[1-2]'}", {"nodelist": "gpu[1-2]"}),
        ("cluster.extra={nodelist: [gpu01, gpu02]}", {"nodelist": ["gpu01", "gpu02"]}),
        ("cluster.extra.reservation=week_12", {"reservation": "week_12"}),
        ("cluster.extra.licenses=a:1,b:2", {"licenses": "a:1,b:2"}),
        (
            "cluster.extra={licenses: 'a:1,b:2', comment: for us}",
            {"licenses": "a:1,b:2", "comment": "for us"},
        ),
    ],
)
def test_options_of_sbatch_need_no_plus(override: str, extra: dict[str, Any]) -> None:
    """As docs/cluster.md says; a comma makes no sweep of them."""
    config, problems = compose_config(["cluster=slurm", override])
    assert problems == []
    assert config["cluster"]["extra"] == extra


def test_lists_of_partitions_and_gres_are_no_sweep() -> None:
    """Outside -m, which splits them before."""
    config, problems = compose_config(["cluster.partition=gpu,gpu_long", "cluster.gres=gpu:v100,nvme:1"])
    assert problems == []
    assert config["cluster"]["partition"] == "gpu,gpu_long"
    assert config["cluster"]["gres"] == "gpu:v100,nvme:1"


@pytest.mark.parametrize(
    ("overrides", "lines"),
    [
        (["cluster.mem_gb=null"], []),
        (["cluster.mem_gb=null", "cluster.mem_per_cpu_gb=4"], ["--mem-per-cpu=4096M"]),
        (["cluster.mem_gb=null", "cluster.mem_per_gpu_gb=40"], ["--mem-per-gpu=40960M"]),
        (["cluster.mem_gb=2"], ["--mem=2048M"]),
        (["cluster.extra={comment: for the paper}", "cluster.mem_gb=null"], ["--comment='for the paper'"]),
    ],
)
def test_the_script_asks_for_memory_as_the_keys_say(overrides: list[str], lines: list[str]) -> None:
    """No line where none is asked for."""
    console = Console(record=True, width=200)
    plan(["cluster=slurm", "trainer=synthetic", *overrides], None, console)
    text = console.export_text()
    found = [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH ")]
    assert [line.strip() for line in found if line.startswith(("--mem", "--comment"))] == lines


@pytest.mark.parametrize("key", ["cluster", "cluster.helper"])
def test_memory_by_two_keys_is_one_message(key: str) -> None:
    """It names the other key, which has a default."""
    with pytest.raises(InputError, match=r"mem_per_cpu_gb: got 4: .* there is mem_gb=\d+; set") as caught:
        plan(["cluster=slurm", "trainer=synthetic", f"{key}.mem_per_cpu_gb=4"], None, Console())
    assert [path for path, _ in caught.value.problems] == [f"{key}.mem_per_cpu_gb"]
