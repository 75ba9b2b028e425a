"""A card that is too small halves the micro-batch; logits that never exist whole give the same loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from hpo.paths import TrialPaths
from hpo.records import Failure, TrialResult
from jobs import run_trial
from jobs.memory.sizing import Sizing
from jobs.models.loss import chunked, token_losses
from jobs.recipes.recipe import parse
from jobs.training import trainer

MakeTrial = Callable[..., TrialPaths]
pytestmark = pytest.mark.usefixtures("keep_handlers")


def _run(paths: TrialPaths) -> int:
    return run_trial.main(str(paths.folder.parent.parent), "000", paths.folder.name)


def _card_for(rows: int, monkeypatch: pytest.MonkeyPatch, *, from_call: int = 0) -> list[int]:
    """A card on which at most so many rows fit into a forward pass, from a certain one on; rows of each."""
    seen: list[int] = []

    def losses(model: Any, inputs: Any, precision: Any) -> Any:
        seen.append(len(inputs["input_ids"]))
        if seen[-1] > rows and len(seen) > from_call:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")
        return token_losses(model, inputs, precision)

    monkeypatch.setattr(trainer, "token_losses", losses)
    return seen


@pytest.mark.parametrize("from_call", [0, pytest.param(3, marks=pytest.mark.slow)])
def test_micro_batch_is_halved_and_the_batch_kept(
    from_call: int, recipe: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first step, or in the middle of the training: the losses of a run with two a pass."""
    recipe["trainer"] |= {"batch_size": 8, "micro_batch_size": None, "max_steps": 5, "lora_dropout": 0.0}
    small = make_trial(recipe, "0001")
    with monkeypatch.context() as patch:
        seen = _card_for(2, patch, from_call=from_call)
        assert _run(small) == 0
    assert seen[from_call : from_call + 3] == [8, 4, 2]
    recipe["trainer"]["micro_batch_size"] = 2
    given = make_trial(recipe, "0002")
    assert _run(given) == 0
    one, other = (TrialResult.read(paths.metrics) for paths in (small, given))
    assert one.details["micro_batch"] == 2
    for name in ("eval_loss", "train_loss"):
        assert one.metrics[name].value == pytest.approx(other.metrics[name].value, rel=1e-5)
    assert one.metrics["tokens"] == other.metrics["tokens"]


def test_card_too_small_for_one_example_is_infeasible(
    recipe: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure says so, with the cause that teaches the search."""
    paths = make_trial(recipe)
    _card_for(0, monkeypatch)
    assert _run(paths) == 1
    failure = Failure.read(paths.failure(1))
    assert failure.cause == "gpu_out_of_memory"
    assert "one example" in failure.message


def test_next_smaller_micro_batch_divides_the_batch(recipe: dict[str, Any]) -> None:
    """By hand; after one example, activations are made again where that is left open."""

    def steps(**settings: Any) -> list[tuple[int, bool]]:
        recipe["trainer"] |= settings
        trainer, found = parse(recipe).trainer, list[tuple[int, bool]]()
        sizing: Sizing | None = Sizing(settings["batch_size"], checkpointing=False)
        while sizing and (sizing := sizing.smaller(trainer)):
            found.append((sizing.micro_batch, sizing.checkpointing))
        return found

    assert steps(batch_size=12, gradient_checkpointing=False) == [(6, False), (3, False), (1, False)]
    assert steps(batch_size=7, gradient_checkpointing="auto") == [(1, False), (1, True)]


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_chunked_loss_and_gradients_are_those_of_the_whole(frozen: bool, bias: bool) -> None:
    """To 1e-6, over chunks that do not divide the rows, with losses that count for more or less."""
    torch.manual_seed(0)
    head: Any = torch.nn.Linear(32, 500, bias=bias).requires_grad_(not frozen)
    targets = torch.randint(500, (130,))
    hidden: Any = torch.randn(130, 32, requires_grad=True)
    shares = torch.rand(130)
    whole = F.cross_entropy(head(hidden).float(), targets, reduction="none")
    (shares * whole).sum().backward()
    wanted = (hidden.grad.clone(), head.weight.grad)
    hidden.grad = head.weight.grad = None
    pieces = chunked(head, hidden, targets, size=32)
    (shares * pieces).sum().backward()
    assert torch.allclose(pieces, whole, atol=1e-6, rtol=0)
    assert torch.allclose(hidden.grad, wanted[0], atol=1e-6, rtol=0)
    if not frozen:
        assert torch.allclose(head.weight.grad, wanted[1], atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        assert torch.equal(chunked(head, hidden, targets, size=32), pieces)


@pytest.mark.parametrize("frozen", [True, False])
def test_logits_never_exist_whole(frozen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more rows of them at once than a piece has, forward and backward."""
    most = 0
    real = F.linear

    def linear(rows: torch.Tensor, *rest: Any) -> torch.Tensor:
        nonlocal most
        most = max(most, len(rows))
        return real(rows, *rest)

    monkeypatch.setattr(F, "linear", linear)
    head = torch.nn.Linear(8, 50, bias=False).requires_grad_(not frozen)
    hidden = torch.randn(130, 8, requires_grad=True)
    chunked(head, hidden, torch.randint(50, (130,)), size=32).sum().backward()
    assert most == 32


def test_half_precision_gradients_are_scaled_as_by_autograd() -> None:
    """Under autocast, with a large loss scale: the gradients of autograd to its own precision."""
    torch.manual_seed(0)
    head = torch.nn.Linear(32, 500, bias=False, dtype=torch.bfloat16).requires_grad_(False)
    targets = torch.randint(500, (70,))
    hidden: Any = torch.randn(70, 32, requires_grad=True)
    found = []
    for size in (32, None):
        hidden.grad = None
        with torch.autocast("cpu", torch.bfloat16):
            whole = F.cross_entropy(head(hidden).float(), targets, reduction="none")
            losses = whole if size is None else chunked(head, hidden, targets, size=size)
        assert losses.dtype is torch.float32
        (2.0**16 * losses.mean()).backward()
        found.append(hidden.grad.clone())
    assert torch.allclose(found[0], found[1], rtol=0.05, atol=0.01 * float(found[1].abs().max()))


@pytest.mark.parametrize(("logit", "most"), [(0.0, 1e-3), (25.0, 1e-3), (35.0, 0.7)])
def test_gradients_in_float16_lose_nothing_of_predictions_that_are_nearly_sure(
    logit: float, most: float
) -> None:
    """128,256 words, flat, and sure to 6e-4 and 4e-6; a loss scale of 65,536 over 2,048 tokens.

    At last only the rounding of the result to float16 is left, which whole logits suffer as well.
    """
    torch.manual_seed(0)
    words, targets = 128_256, torch.tensor([5, 70_000, 128_255])
    head = torch.nn.Linear(64, words, bias=False).requires_grad_(False)
    torch.nn.init.normal_(head.weight, std=0.02)
    head.half()
    toward = head.weight[targets].float()
    start = toward * (logit / toward.square().sum(1, keepdim=True)) + 0.01 * torch.randn(3, 64)
    scale = 2.0**16 / 2048

    def gradient(losses: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        hidden = start.half().requires_grad_()
        (scale * losses(hidden)).sum().backward()
        assert hidden.grad is not None
        return hidden.grad.double()

    with torch.no_grad():
        sure = torch.softmax(head(start.half()).double(), dim=-1)
        sure.scatter_add_(1, targets[:, None], -torch.ones(3, 1, dtype=torch.float64))
        true = scale * sure @ head.weight.double()
    pieces = gradient(lambda hidden: chunked(head, hidden, targets))
    whole = gradient(lambda hidden: F.cross_entropy(head(hidden).float(), targets, reduction="none"))
    apart, allowed = ((own - true).norm(dim=1) / true.norm(dim=1) for own in (pieces, whole))
    assert bool((apart <= allowed + 1e-3).all())
    assert float(apart.max()) < most
