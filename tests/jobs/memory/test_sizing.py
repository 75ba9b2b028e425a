"""How a batch goes through a card: what is chosen on the node, and what trials do where it does not fit."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from hpo.paths import TrialPaths
from hpo.records import TrialResult
from jobs import run_trial
from jobs.attempt.card import Card, energy_counter, halving
from jobs.data.reading_order import largest_pass
from jobs.errors import OutOfMemory
from jobs.evaluation import validation_loss as evaluation
from jobs.memory.forecast import memory_seen, peak_memory
from jobs.memory.peak import CONTEXT, Architecture, chance
from jobs.memory.sizing import CPU_TOKENS, USABLE, Model, Sizing, choose_sizing, foretold, load_of
from jobs.models.loss import token_losses
from jobs.recipes.recipe import TrainerRecipe, parse
from jobs.training import trainer

MakeTrial = Callable[..., TrialPaths]
LLAMA_8B = Model(Architecture(4096, 14336, 32, 4096, 1024, 128256, tied=False), "llama")


def _trainer(recipe: dict[str, Any], **settings: Any) -> TrainerRecipe:
    recipe["trainer"] |= {"lora_rank": 16, **settings}
    return parse(recipe).trainer


def _of(length: int) -> Callable[[int], int]:
    """Tokens of a forward pass of examples that are all so long."""
    return lambda examples: examples * length


def _run(paths: TrialPaths) -> int:
    return run_trial.main(str(paths.folder.parent.parent), "000", paths.folder.name)


@pytest.mark.parametrize(
    ("gibibytes", "expected"),
    [(15.77, Sizing(1, False)), (31.73, Sizing(4, False)), (79.1, Sizing(8, False)), (9.0, Sizing(2, True))],
)
def test_micro_batch_follows_from_the_card(
    gibibytes: float, expected: Sizing, recipe: dict[str, Any]
) -> None:
    """Llama-3-8B, 16 examples of 512 tokens a step, logits 512 rows at a time.

    Weights, adapters, context and those logits take 8.4 GB; an example with kept activations 5.5 GB, without
    0.14 GB. Used are 15.6 GB of 15.77 GiB: one example; 31.3 GB: four; 78.1 GB: twelve, of which eight
    divide 16; and 8.9 GB of 9 GiB: three without kept activations, of which two divide 16.
    """
    own = _trainer(recipe, batch_size=16)
    chosen = choose_sizing(own, LLAMA_8B, _of(512), gibibytes * 2**30)
    assert chosen == expected
    peak = foretold(own, LLAMA_8B, chosen.checkpointing, chosen.micro_batch * 512)
    assert peak.total <= USABLE * gibibytes * 2**30


def test_short_examples_go_together_though_the_longest_are_long(recipe: dict[str, Any]) -> None:
    """16 examples of 512 tokens at most, on 16 GB: alone with kept activations, as in the test above.

    Of 60 on average a pass of one takes as long as of 512 tokens; all 16, 960 tokens, with activations made
    again, take 960 x 4/3 for 16 examples, 80 each.
    """
    own, card = _trainer(recipe, batch_size=16), 15.77 * 2**30
    assert choose_sizing(own, LLAMA_8B, _of(512), card, length=512) == Sizing(1, False)
    assert choose_sizing(own, LLAMA_8B, _of(512), card, length=60) == Sizing(16, True)


def test_the_preset_qv_is_two_layers_where_a_model_has_them_apart(recipe: dict[str, Any]) -> None:
    """q_proj and v_proj of Llama; of GPT-NeoX the fused layer, which holds k_proj too."""
    own = _trainer(recipe, target_modules="qv")
    assert load_of(own, "llama").targets == ("q_proj", "v_proj")
    assert sorted(load_of(own, "gpt_neox").targets) == ["k_proj", "q_proj", "v_proj"]


def test_what_the_user_fixes_is_kept(recipe: dict[str, Any]) -> None:
    """On any card; and where nothing should fit, the smallest is tried."""
    own = _trainer(recipe, batch_size=16, micro_batch_size=4, gradient_checkpointing=False)
    for gibibytes in (4, 16, 80):
        assert choose_sizing(own, LLAMA_8B, _of(512), gibibytes * 2**30) == Sizing(4, False)
    free = _trainer(recipe, micro_batch_size="auto", gradient_checkpointing="auto")
    assert choose_sizing(free, LLAMA_8B, _of(512), 4 * 2**30) == Sizing(1, True)


def test_peaks_of_finished_trials_make_the_next_choice_smaller(recipe: dict[str, Any]) -> None:
    """Twice the memory that was foretold: a card that was good for four examples is good for one."""
    own, card = _trainer(recipe, batch_size=16), 31.73 * 2**30
    assert choose_sizing(own, LLAMA_8B, _of(512), card, factor=1.0) == Sizing(4, False)
    assert choose_sizing(own, LLAMA_8B, _of(512), card, factor=2.0) == Sizing(1, False)


def test_a_cpu_gets_so_many_tokens_a_forward_pass(recipe: dict[str, Any]) -> None:
    """2,048: of 300 tokens 6 examples would do, of which 4 divide 16; a long example goes alone."""
    own = _trainer(recipe, batch_size=16)
    assert choose_sizing(own, None, _of(300), None) == Sizing(4, False)
    assert choose_sizing(own, LLAMA_8B, _of(CPU_TOKENS // 16), None) == Sizing(16, False)
    assert choose_sizing(own, None, _of(CPU_TOKENS + 1), None) == Sizing(1, False)


def test_the_largest_forward_pass_is_that_of_the_examples_read() -> None:
    """By hand: (3, 4), (9, 1), (5, 5) padded are 8, 18 and 10 tokens, end to end 7, 10 and 10."""
    lengths = [3, 4, 9, 1, 5, 5]
    assert largest_pass(lengths, 2, padded=True) == 18
    assert largest_pass(lengths, 2, padded=False) == 10
    assert [largest_pass(lengths, size, padded=True) for size in (1, 3, 6)] == [9, 27, 54]


def test_a_model_of_unknown_sizes_begins_with_the_whole_batch(recipe: dict[str, Any]) -> None:
    """There is nothing to go by; halving finds what fits."""
    assert Model.of({"model_type": "mamba", "d_model": 768}) is None
    assert choose_sizing(_trainer(recipe, batch_size=16), None, _of(512), 2**34) == Sizing(16, False)


def test_what_is_foretold_of_a_recipe_names_the_choice_and_the_chance(
    recipe: dict[str, Any], cache: Path
) -> None:
    """On a card that is exactly as large as the least that the recipe needs the chance is even."""
    free = peak_memory(recipe, cache)
    assert free is not None
    least = free["least"]
    known = peak_memory(recipe, cache, card=1e12)
    assert known is not None
    assert (known["micro_batch"], known["checkpointing"], known["least"]) == (4.0, 0.0, least)
    assert known["total"] == pytest.approx(free["total"])  # the most that it may choose
    even = peak_memory(recipe, cache, card=least)
    assert even is not None
    assert even["chance"] == pytest.approx(0.5)
    assert chance(10e9, 11e9) == pytest.approx(0.8297, abs=1e-4)  # ln 1.1 / 0.1 = 0.953 deviations
    doubled = peak_memory(recipe, cache, card=least, factor=2.0)
    assert doubled is not None
    assert doubled["least"] == pytest.approx(CONTEXT + 2 * (least - CONTEXT))


def test_finished_trials_tell_the_card_and_the_factor() -> None:
    """The smallest card, and the median ratio without the context of 0.45 GB; a CPU tells none."""
    assert memory_seen([{"eval_loss": 1.0}]) == {"factor": 1.0, "trials": 0}
    context = CONTEXT / 2**30
    trials = [
        {
            "gpu_memory_gib": size,
            "foretold_memory_gib": 10 + context,
            "training_memory_gib": 10 * ratio + context,
        }
        for size, ratio in ((32.0, 1.1), (16.0, 1.3), (32.0, 0.9))
    ]
    seen = memory_seen([*trials, {"gpu_memory_gib": 40.0}])
    assert seen["trials"] == 3
    assert seen["card"] == 16.0 * 2**30
    assert seen["factor"] == pytest.approx(1.1)


def test_evaluation_halves_its_batch_where_memory_runs_out() -> None:
    """8 do not fit, 4 do; with none there is an end, told by the error of a card that is too small."""
    tried = []

    def compute(size: int) -> str:
        tried.append(size)
        if size > fitting:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return "done"

    fitting = 3
    assert halving(compute, 8, "a test") == ("done", 2)
    assert tried == [8, 4, 2]
    fitting = 0
    with pytest.raises(OutOfMemory, match="one sequence a forward pass"):
        halving(compute, 8, "a test")


@pytest.mark.usefixtures("keep_handlers")
def test_validation_goes_on_with_smaller_batches(
    recipe: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of 11 examples: every one counts once, and the loss is that of whole batches."""
    recipe["evaluation"]["batch_size"] = 4
    seen: list[int] = []

    def losses(model: Any, batch: Any, precision: Any) -> Any:
        seen.append(len(batch["labels"]))
        if len(seen) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")
        return token_losses(model, batch, precision)

    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "token_losses", losses)
        paths = make_trial(recipe, "0001")
        assert _run(paths) == 0
    assert seen == [4, 4, 2, 2, 2, 1]
    other = make_trial(recipe, "0002")
    assert _run(other) == 0
    first, second = (TrialResult.read(one.metrics).metrics["eval_loss"].value for one in (paths, other))
    assert first == pytest.approx(second, rel=1e-6)


@pytest.mark.usefixtures("keep_handlers")
def test_a_card_is_measured_and_told(
    recipe: dict[str, Any],
    tiny_model: Path,
    make_trial: MakeTrial,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A trial that takes this machine for a card of 80 GiB, with a counter that rises by 1.5 Wh a look."""
    looks = iter(range(1000))
    card = Card(torch.device("cpu"), "a card", 80 * 2**30, lambda: 1.5 * next(looks))
    monkeypatch.setattr(Card, "of", lambda device, cards: card)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 3 * 2**30)
    recipe["trainer"] |= {"batch_size": 8, "checkpoint_every_s": 0, "max_steps": 2}
    seen: list[int] = []

    def losses(model: Any, inputs: Any, precision: Any) -> Any:
        seen.append(inputs["input_ids"].numel())
        return token_losses(model, inputs, precision)

    monkeypatch.setattr(trainer, "token_losses", losses)
    paths = make_trial(recipe)
    assert _run(paths) == 0
    assert "8 examples a forward pass, 8 a step, on a card with 80.0 GiB" in capfd.readouterr().out
    result = TrialResult.read(paths.metrics)
    values = {name: metric.value for name, metric in result.metrics.items()}
    assert (values["gpu_memory_gib"], values["training_memory_gib"], values["peak_memory_gib"]) == (80, 3, 3)
    assert values["skipped_steps"] == 0
    assert result.details["micro_batch"] == 8
    assert result.details["gradient_checkpointing"] is False
    # a look when the attempt begins, one with each of two checkpoints, one at the end
    assert values["gpu_energy_wh"] == pytest.approx(1.5 * 3)
    config = json.loads((tiny_model / "config.json").read_text())
    model = Model.of(config)
    assert model is not None
    peak = foretold(parse(recipe).trainer, model, False, max(seen))
    assert values["foretold_memory_gib"] == pytest.approx(peak.total / 2**30, rel=1e-12)


def test_energy_is_read_from_nvml_by_the_card_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """3,600,000 mJ are a watt-hour; without NVML, or a card that does not count, nothing is told."""
    assert energy_counter("no-such-card") is None  # the real library, on a machine without a driver
    nvml = ModuleType("pynvml")
    asked = []

    class NVMLError(Exception):
        pass

    def energy(handle: str) -> int:
        asked.append(handle)
        if len(asked) > 2:
            raise NVMLError("not supported")
        return 7_200_000

    nvml.NVMLError = NVMLError  # type: ignore[attr-defined]
    nvml.nvmlInit = lambda: None  # type: ignore[attr-defined]
    nvml.nvmlDeviceGetHandleByUUID = lambda name: name  # type: ignore[attr-defined]
    nvml.nvmlDeviceGetTotalEnergyConsumption = energy  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    counter = energy_counter("12-34")
    assert counter is not None
    card = Card(torch.device("cpu"), counter=counter)
    assert [card.drawn_wh(), card.drawn_wh(), card.drawn_wh()] == [0.0, None, None]
    assert asked == ["GPU-12-34"] * 4
