"""A model that cannot be had, wherever its numbers fail: the study goes on without it and says why."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from threadpoolctl import threadpool_info
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from hpo.errors import FitError
from hpo.optimizer import Optimizer, Origin

LINE = {"x": "interval(0, 1)"}


def refuse(*_: object, **__: object) -> None:
    raise LinAlgError("not positive definite")


def told(strategy: str, results: int, **settings: Any) -> Optimizer:
    """Noisy results at evenly spread places; a parabola, lowest at 0.3."""
    optimizer = Optimizer(LINE, {"y": "min"}, strategy=strategy, **settings)
    for index in range(results):
        x = (index + 0.5) / results
        optimizer.tell({"x": x}, {"y": ((x - 0.3) ** 2, 0.1)})
    return optimizer


def replicating() -> Optimizer:
    """The next trial but one in four, number 3 of 0, 1, 2, 3, may be a replicate."""
    return told("bo", 3, initial=2, replicates=3)


@pytest.mark.parametrize("function", ["cholesky_ex", "solve_triangular"])
def test_bo_goes_on_with_sobol_where_replicates_cannot_be_judged(
    monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    optimizer = replicating()
    monkeypatch.setattr(torch.linalg, function, refuse)
    [proposal] = optimizer.propose()
    assert proposal.origin is Origin.SOBOL
    assert proposal.note.startswith("the fit failed: ")


@pytest.mark.parametrize("function", ["cholesky_ex", "solve_triangular"])
def test_bamsoo_goes_on_without_bounds_and_says_why(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    """`cholesky_ex` fails when the bounds are built, `solve_triangular` when one is evaluated."""
    optimizer = told("bamsoo", 3)
    monkeypatch.setattr(torch.linalg, function, refuse)
    proposals = optimizer.propose(2)
    assert [proposal.origin for proposal in proposals] == [Origin.PARTITION] * 2
    assert all("the fit failed: " in proposal.note for proposal in proposals)


def test_bamsoo_without_bounds_evaluates_what_soo_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.linalg, "cholesky_ex", refuse)
    proposals = [told(strategy, 3).ask(3) for strategy in ("soo", "bamsoo")]
    assert proposals[0] == proposals[1]


@pytest.mark.parametrize("strategy", ["bo", "bamsoo"])
@pytest.mark.parametrize("function", ["cholesky_ex", "solve_triangular"])
def test_posteriors_are_worked_out_on_one_thread(
    monkeypatch: pytest.MonkeyPatch, strategy: str, function: str
) -> None:
    """Of torch and of every BLAS; afterwards torch has as many as before."""
    real, threads = getattr(torch.linalg, function), list[int]()

    def watch(*args: object, **options: object) -> object:
        threads.append(torch.get_num_threads())
        threads.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return real(*args, **options)

    monkeypatch.setattr(torch.linalg, function, watch)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        (replicating() if strategy == "bo" else told("bamsoo", 3)).ask()
        assert set(threads) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_diagnostics_of_a_fit_that_fails_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer = told("bo", 5)  # a history of its own: fits are remembered
    monkeypatch.setattr("hpo.models.fit.psd_safe_cholesky", refuse)
    with pytest.raises(FitError, match="could not be factorised"):
        optimizer.diagnostics()
