"""What the host does while a card trains: it waits for nothing, and its batches are made ahead."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from killed_trial import die_after
from tiers import quick
from torch.profiler import ProfilerActivity, profile, record_function

from hpo.paths import TrialPaths
from hpo.records import Failure, TrialResult, read_json
from jobs import run_trial
from jobs.training.ahead import Ahead
from jobs.training.late_losses import LateLosses
from jobs.training.loop import StepWatch
from jobs.training.trainer import AdapterTrainer

pytestmark = pytest.mark.usefixtures("keep_handlers")
MakeTrial = Callable[..., TrialPaths]
# What a card must be waited for: a number as Python has it, or a tensor as long as a card says.
WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::masked_select"}
PASS = "a micro-batch"


def _run(paths: TrialPaths) -> int:
    return run_trial.main(str(paths.folder.parent.parent), "000", paths.folder.name)


def _numbers(paths: TrialPaths) -> dict[str, float]:
    found = TrialResult.read(paths.metrics).metrics
    return {name: found[name].value for name in ("eval_loss", "train_loss", "tokens")}


@pytest.mark.parametrize("packing", quick(["none", "packed"], ["packed"]))
def test_a_micro_batch_waits_for_no_answer_of_the_card(
    packing: str, recipe: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forward and backward of 8 micro-batches, of examples that differ in length: no such operation."""
    recipe["data"]["packing"] = packing
    recipe["trainer"] |= {"batch_size": 4, "micro_batch_size": 2, "max_steps": 4}
    real = AdapterTrainer.training_step

    def step(self: AdapterTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        with record_function(PASS):
            return real(self, *args, **kwargs)

    monkeypatch.setattr(AdapterTrainer, "training_step", step)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        assert _run(make_trial(recipe)) == 0
    events = profiled.events()
    assert events is not None
    passes = [event.time_range for event in events if event.name == PASS]
    waits = [
        event.name
        for event in events
        if event.name in WAITS and any(one.start <= event.time_range.start <= one.end for one in passes)
    ]
    assert len(passes) == 8
    assert waits == []


class _NotYet:
    """The event of a card that has not done a step before it is waited for."""

    def query(self) -> bool:
        return False

    def synchronize(self) -> None:
        return None


@pytest.fixture
def slow_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses come a step late, as from a card."""
    not_yet: Any = _NotYet()
    monkeypatch.setattr(LateLosses, "put", lambda self, loss: self._steps.append((loss, not_yet)))


@pytest.mark.usefixtures("slow_card")
@pytest.mark.slow
def test_losses_that_come_late_change_no_bit(
    recipe: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after step 4, gone on from the checkpoint of step 3: the numbers of a trial that is not late."""
    recipe["trainer"] |= {"micro_batch_size": 2, "lora_dropout": 0.3, "checkpoint_every_s": 0}
    late, at_once = make_trial(recipe, "0001"), make_trial(recipe, "0002")
    die_after(monkeypatch, 4, lambda: _run(late))
    totals = read_json(late.checkpoints / read_json(late.checkpoint_pointer)["folder"] / "totals.json")
    assert len(totals["losses"]) == 3
    assert _run(late) == 0
    monkeypatch.undo()
    assert _run(at_once) == 0
    assert _numbers(late) == _numbers(at_once)


@pytest.mark.usefixtures("slow_card")
@pytest.mark.parametrize("steps", [1, 4])
def test_divergence_is_seen_a_step_late_and_never_missed(
    steps: int, recipe: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first loss is above the bound: the trial ends after the second step, or at its only one."""
    recipe["trainer"] |= {"max_steps": steps, "divergence_loss": 0.5, "checkpoint_every_s": 1000}
    began = list[int]()
    real = StepWatch.on_step_begin

    def on_step_begin(self: StepWatch, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        began.append(state.global_step)
        real(self, args, state, control, **kwargs)

    monkeypatch.setattr(StepWatch, "on_step_begin", on_step_begin)
    paths = make_trial(recipe)
    assert _run(paths) == 1
    failure = Failure.read(paths.failure(1))
    assert (failure.cause, failure.message[:14]) == ("diverged", "loss at step 1")
    assert len(began) == min(steps, 2)


def test_losses_of_a_card_are_read_in_order() -> None:
    """Of three that are not there, the newest that need not be waited for are left."""
    late = LateLosses()
    not_yet: Any = _NotYet()
    late._steps.extend((torch.tensor(float(step)), not_yet) for step in range(3))
    assert list(late.read(left=1)) == [0, 1]
    assert list(late.read(left=1)) == []
    late.put(torch.tensor(3.0))
    assert list(late.read(left=1)) == [2, 3]


def test_batches_are_made_ahead_by_one_thread() -> None:
    """Two more than were asked for, in order, in another thread, to the end."""
    made, threads = list[int](), set[int]()

    def source() -> Iterator[int]:
        for number in range(5):
            threads.add(threading.get_ident())
            made.append(number)
            yield number

    ahead = Ahead(source(), 2)
    assert next(ahead) == 0
    ahead._made[-1].result()
    assert made == [0, 1, 2]
    assert [*ahead, *ahead] == [1, 2, 3, 4]
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    ahead.close()
    ahead.close()


def test_a_batch_that_cannot_be_made_fails_where_it_is_wanted(tmp_path: Path) -> None:
    """Not before, and as what it was."""

    def source() -> Iterator[int]:
        yield 1
        raise OSError(f"{tmp_path}: gone")

    ahead = Ahead(source(), 3)
    assert next(ahead) == 1
    with pytest.raises(OSError, match="gone"):
        next(ahead)
    ahead.close()


@pytest.mark.parametrize("outcome", ["done", "diverged"])
def test_no_thread_stays_behind(outcome: str, recipe: dict[str, Any], make_trial: MakeTrial) -> None:
    """Whether the trial is done or fails."""
    recipe["trainer"]["divergence_loss"] = 0.5 if outcome == "diverged" else 100.0
    assert _run(make_trial(recipe)) == (outcome == "diverged")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]
