"""Where a test runs: on the CPU, and again on a card where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from accelerate.state import AcceleratorState

from jobs.attempt.card import release_unused
from jobs.models.precision import FORCED, Precision, of_this_machine

NO_CARD = "torch sees no CUDA device on this machine"
# Of a card, and of a V100 on whatever card there is.
OWN, V100 = "own", "7.0"


def _on(place: str) -> str:
    there = torch.cuda.is_available()
    if place == "cuda" and not there:
        pytest.skip(NO_CARD)
    if place == "cpu" and there:
        pytest.skip("this machine has a card, where the same test runs")
    return place


CPU = pytest.param("cpu", marks=pytest.mark.slow)  # what is quick is tested elsewhere as well


@pytest.fixture(params=[CPU, pytest.param("cuda", marks=pytest.mark.gpu)])
def place(request: pytest.FixtureRequest) -> str:
    """Where the test runs."""
    return _on(str(request.param))


@pytest.fixture(
    params=[
        CPU,
        *(pytest.param(f"cuda {own}", marks=pytest.mark.gpu, id=f"cuda-{own}") for own in (OWN, V100)),
    ]
)
def policy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the test runs: on a card with its own policy of number formats, and again with that of a V100."""
    where, _, which = str(request.param).partition(" ")
    if which == V100:
        monkeypatch.setenv(FORCED, V100)
    return f"{_on(where)} {which}".strip()


@pytest.fixture
def precision(policy: str) -> Precision:
    """The number formats of where the test runs."""
    return of_this_machine()


@pytest.fixture(params=["float16", "bfloat16"])
def half(request: pytest.FixtureRequest, place: str) -> Precision:
    """Half precision, which the CPU is made to compute in as well."""
    compute = getattr(torch, str(request.param))
    return replace(of_this_machine(), compute=compute)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """A card; what this asks means nothing on a CPU."""
    _on("cuda")
    return torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def fresh_card() -> Iterator[None]:
    """Nothing that a test has left on the card, or told accelerate of it, reaches the next one."""
    yield
    if torch.cuda.is_available():
        AcceleratorState._reset_state(True)
        torch.cuda.set_per_process_memory_fraction(1.0)
        release_unused()
