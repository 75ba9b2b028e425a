"""GPUs of each trial: one key says how many, and the others follow or are refused."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from hpo.commands.plan import plan
from hpo.errors import InputError

TWO = ["trainer.gpus=2", "trainer.batch_size=8"]


def planned(tmp_path: Path, *overrides: str) -> str:
    """What `plan` says of a study on Slurm."""
    console = Console(file=io.StringIO(), width=200)
    root = [f"study.root={tmp_path}", f"cache={tmp_path / 'cache'}"]
    plan(["cluster=slurm", "strategy=sobol", "~strategy.initial", *root, *overrides], None, console)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_plan_asks_for_two_gpus_in_one_task_and_counts_their_hours(tmp_path: Path) -> None:
    """Twelve trials of at most four hours on two GPUs: 96 GPU-hours; `--gres=gpu:2`, one node, one srun."""
    text = planned(tmp_path, *TWO, "budget.trials=12")
    assert "#SBATCH --gres=gpu:2" in text
    assert "#SBATCH --nodes=1" in text
    assert text.count("srun ") == 1
    assert "12 trials of at most 4 h an attempt on 2 GPUs: at most 96 GPU-hours" in text


@pytest.mark.parametrize(
    ("overrides", "key", "words"),
    [
        ([*TWO, "cluster.gres=gpu:1"], "cluster.gres", "expected 2, as trainer.gpus says"),
        ([*TWO, "+cluster.gpus=2"], "cluster.gpus", "set trainer.gpus"),
        (["trainer.gpus=0"], "trainer.gpus", "expected at least 1"),
        ([*TWO, "trainer.batch_size=5"], "trainer.batch_size", "expected a multiple of trainer.gpus (2)"),
        ([*TWO, "trainer.micro_batch_size=3"], "trainer.micro_batch_size", "got 3, expected a divisor of 4"),
        ([*TWO, "space.gpus=choice(1, 2)"], "space.gpus", "expected no parameter"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(
    overrides: list[str], key: str, words: str, tmp_path: Path
) -> None:
    """One clear problem, by the key that is to be changed."""
    with pytest.raises(InputError) as caught:
        planned(tmp_path, *overrides)
    assert [name for name, _ in caught.value.problems] == [key]
    assert words in caught.value.problems[0][1]
