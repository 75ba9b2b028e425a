"""Whole trials where they are meant to run; the same bodies on a CPU."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from killed_trial import die_after

from hpo.paths import TrialPaths
from hpo.records import TrialResult, TrialSpec, read_json, write_json
from jobs import run_merge, run_trial
from jobs.attempt.card import Card
from jobs.models.precision import FORCED
from jobs.training import loop
from jobs.training.late_losses import LateLosses
from jobs.training.loop import StepWatch
from jobs.training.trainer import AdapterTrainer

pytestmark = pytest.mark.usefixtures("keep_handlers")
MakeTrial = Callable[..., TrialPaths]
# What a card rounds otherwise from one start to the next: sums that kernels make in any order.
ROUNDING = 1e-3


def _run(paths: TrialPaths) -> int:
    return run_trial.main(str(paths.folder.parent.parent), "000", paths.folder.name)


def _values(paths: TrialPaths) -> dict[str, float]:
    return {name: one.value for name, one in TrialResult.read(paths.metrics).metrics.items()}


def test_a_trial_trains(policy: str, recipe: dict[str, Any], make_trial: MakeTrial) -> None:
    """The loss falls; what a card alone can tell is told there."""
    recipe["trainer"] |= {"max_steps": 12, "learning_rate": 0.01}
    paths = make_trial(recipe)
    assert _run(paths) == 0
    values, details = _values(paths), TrialResult.read(paths.metrics).details
    assert values["eval_loss"] < 4.0  # untrained: ln(68) = 4.2
    assert values["skipped_steps"] == 0
    if policy == "cpu":
        return
    capability = torch.cuda.get_device_capability(0)
    half = policy.endswith("7.0") or capability < (8, 0)
    assert details["compute"] == ("float16" if half else "bfloat16")
    assert details["device"] == torch.cuda.get_device_name(0)
    assert 0 < values["training_memory_gib"] <= values["peak_memory_gib"] < values["gpu_memory_gib"]
    assert values["foretold_memory_gib"] > 0


@pytest.mark.parametrize("packing", ["none", "packed"])
def test_a_killed_trial_goes_on_as_if_nothing_had_been(
    packing: str, policy: str, recipe: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the checkpoint of step 3: to the last bit on a CPU, to the rounding of kernels on a card."""
    recipe["data"]["packing"] = packing
    recipe["trainer"] |= {"lora_dropout": 0.3, "micro_batch_size": 2, "checkpoint_every_s": 0}
    undisturbed, killed = make_trial(recipe, "0001"), make_trial(recipe, "0002")
    assert _run(undisturbed) == 0
    die_after(monkeypatch, 4, lambda: _run(killed))
    assert _run(killed) == 0
    exact = 0.0 if policy == "cpu" else ROUNDING
    for name in ("eval_loss", "train_loss", "tokens", "skipped_steps"):
        assert _values(killed)[name] == pytest.approx(_values(undisturbed)[name], rel=exact, abs=0), name


@pytest.mark.gpu
def test_an_overflow_costs_steps_and_no_more(
    card: torch.device, recipe: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss scale of 2^40 overflows float16: steps are skipped and counted, and the trial goes on."""
    monkeypatch.setenv(FORCED, "7.0")
    real = StepWatch.on_step_begin

    def on_step_begin(self: StepWatch, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 0:
            self._trainer.accelerator.scaler._init_scale = 2.0**40
        real(self, args, state, control, **kwargs)

    monkeypatch.setattr(StepWatch, "on_step_begin", on_step_begin)
    recipe["trainer"] |= {"max_steps": 40, "learning_rate": 0.01}
    paths = make_trial(recipe)
    assert _run(paths) == 0
    assert 1 <= _values(paths)["skipped_steps"] < 40
    assert _values(paths)["eval_loss"] < 4.1


@pytest.mark.gpu
def test_the_card_itself_running_out_halves_the_micro_batch(
    card: torch.device, recipe: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of 64 MiB beyond what the model holds: fewer examples a pass, the loss of the whole batch."""
    rows = [{"prompt": f"{n}:", "completion": "ok" * 110} for n in range(80)]
    Path(recipe["data"]["path"]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe["trainer"] |= {"batch_size": 64, "max_steps": 2, "gradient_checkpointing": False}
    whole = torch.cuda.get_device_properties(card).total_memory
    real = loop._fits

    def fits(trainer: AdapterTrainer, *args: Any, **kwargs: Any) -> bool:
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(card) + 64 * 2**20) / whole)
        return real(trainer, *args, **kwargs)

    free, small = make_trial(recipe, "0001"), make_trial(recipe, "0002")
    assert _run(free) == 0
    monkeypatch.setattr(loop, "_fits", fits)
    assert _run(small) == 0
    sizes = [TrialResult.read(paths.metrics).details["micro_batch"] for paths in (free, small)]
    assert sizes[0] == 64
    assert sizes[1] < 64
    assert _values(small)["train_loss"] == pytest.approx(_values(free)["train_loss"], rel=0.01)


@pytest.mark.gpu
@pytest.mark.parametrize("optimiser", ["paged_adamw_32bit", "paged_adamw_8bit", "adamw_torch_fused"])
def test_optimisers_of_cards(
    optimiser: str, card: torch.device, recipe: dict[str, Any], make_trial: MakeTrial
) -> None:
    """Each trains, and its states are kept and read again."""
    recipe["trainer"] |= {"max_steps": 8, "learning_rate": 0.01, "checkpoint_every_s": 0}
    recipe["trainer"]["args"]["optim"] = optimiser
    paths = make_trial(recipe)
    assert _run(paths) == 0
    assert _values(paths)["eval_loss"] < 4.1


def test_judged_by_tasks_and_samples(policy: str, recipe: dict[str, Any], make_trial: MakeTrial) -> None:
    """A small task, two prompts answered."""
    tasks = {"names": ["demo_words"], "folder": "demo", "metrics": None, "limit": 8, "fewshot": None}
    recipe["evaluation"]["tasks"] = {**tasks, "chat_template": False, "shard_documents": 4}
    recipe["evaluation"]["samples"] = {"prompts": [{"prompt": "3:"}, "12x"], "max_new_tokens": 4}
    recipe["trainer"]["max_steps"] = 2
    paths = make_trial(recipe)
    assert _run(paths) == 0
    assert 0 <= _values(paths)["demo_words_acc"] <= 1
    assert len(read_json(paths.samples)["samples"]) == 2


def test_merged_weights_compute_what_the_adapter_does(
    policy: str, recipe: dict[str, Any], make_trial: MakeTrial, tmp_path: Path
) -> None:
    """Within what rounding a merged weight costs."""
    recipe["trainer"]["max_steps"] = 2
    trained = make_trial(recipe, "0001")
    assert _run(trained) == 0
    paths = make_trial({**recipe, "merge": {"into": str(tmp_path / "model")}}, "0002")
    spec = TrialSpec.read(paths.spec).to_json() | {"adapter": str(trained.adapter)}
    write_json(paths.spec, spec)
    assert run_merge.main(str(paths.folder.parent.parent), "000", "0002") == 0
    assert _values(paths)["logit_difference"] < 0.05


@pytest.mark.gpu
def test_energy_of_a_trial_is_counted(
    card: torch.device, recipe: dict[str, Any], make_trial: MakeTrial
) -> None:
    """By the card's own counter."""
    if Card.of(card).counter is None:
        pytest.skip("no energy counter: nvidia-ml-py is not installed, or the card has none")
    recipe["trainer"]["max_steps"] = 40
    paths = make_trial(recipe)
    assert _run(paths) == 0
    assert _values(paths)["gpu_energy_wh"] > 0


@pytest.mark.gpu
@pytest.mark.parametrize("packing", ["none", "packed"])
def test_a_micro_batch_waits_for_nothing(
    packing: str,
    card: torch.device,
    recipe: dict[str, Any],
    make_trial: MakeTrial,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CUDA itself raises where the host would wait, once kernels are loaded; batches are there already."""
    recipe["data"]["packing"] = packing
    recipe["trainer"] |= {"micro_batch_size": 2, "max_steps": 4}
    real = AdapterTrainer.training_step
    passes = list[bool]()

    def step(self: AdapterTrainer, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        passes.append(inputs["input_ids"].is_cuda)
        torch.cuda.set_sync_debug_mode("error" if len(passes) > 2 else "default")
        try:
            return real(self, model, inputs, *args, **kwargs)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(AdapterTrainer, "training_step", step)
    assert _run(make_trial(recipe)) == 0
    assert passes == [True] * 8


@pytest.mark.gpu
def test_losses_are_not_waited_for(card: torch.device) -> None:
    """While the card is busy the newest is left; asked for, it comes."""
    late = LateLosses()
    for number in range(2):
        torch.cuda._sleep(200_000_000)  # about a tenth of a second
        late.put(torch.full((), float(number), dtype=torch.float64, device=card))
    began = time.monotonic()
    assert list(late.read(left=2)) == []
    assert time.monotonic() - began < 0.05
    assert list(late.read(left=1)) == [0.0]
    assert list(late.read(left=0)) == [1.0]


@pytest.mark.gpu
def test_two_trials_share_a_card(card: torch.device, recipe: dict[str, Any], make_trial: MakeTrial) -> None:
    """Two processes at once, as `cluster.gres` may arrange: both end with the result of one alone."""
    alone, *both = (make_trial(recipe, name) for name in ("0001", "0002", "0003"))
    assert _run(alone) == 0
    study = str(alone.folder.parent.parent)
    command = [sys.executable, "-m", "jobs.run_trial", study, "000"]
    running = [subprocess.Popen([*command, paths.folder.name]) for paths in both]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    for paths in both:
        assert _values(paths)["eval_loss"] == pytest.approx(_values(alone)["eval_loss"], rel=ROUNDING)
