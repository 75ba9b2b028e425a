"""Ends foretold from rungs, what proposals learn from them, and what finishing is worth."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gpytorch.mlls import ExactMarginalLogLikelihood

from hpo.errors import FitError, InputError
from hpo.models.early import curves as curves_module
from hpo.models.early.curves import CurveModel, StepKernel, fit_step, spline, step_closure
from hpo.models.early.foretold import with_foretold
from hpo.models.early.outlook import Outlook
from hpo.models.gp import ObjectiveGP
from hpo.models.history import Curve
from hpo.optimizer import Optimizer

SPACE = {"x": "interval(0, 1)", "y": "interval(0, 1)"}
NOISE = 0.02


def falling(count: int, seed: int, *, shares: tuple[float, ...] = (0.25, 0.5)) -> list[Curve]:
    """Curves whose value at each share is half of the one before, plus 0.2 x and noise."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        point = (float(draw.random()), float(draw.random()))
        value, rungs = float(draw.uniform(1, 3)), []
        for share in (*shares, 1.0):
            rungs.append((share, (value,), (0.0,)))
            value = 0.5 * value + 0.2 * point[0] + NOISE * float(draw.standard_normal())
        found.append(Curve(point, tuple(rungs)))
    return found


def cut(curve: Curve, rungs: int) -> Curve:
    """The curve as it is after so many rungs."""
    return replace(curve, rungs=curve.rungs[:rungs])


def test_ends_are_foretold_with_intervals_that_hold() -> None:
    """Of 40 other curves, from the first rung and from the second, 90% intervals hold 80 to 100%."""
    model, others = CurveModel(falling(20, 0), ()), falling(40, 1)
    for rungs, widest in ((1, 0.2), (2, 0.15)):
        ends = model.foretold([cut(curve, rungs) for curve in others])
        pairs = list(zip(ends, others, strict=True))
        held = [end.lower[0] <= curve.rungs[-1][1][0] <= end.upper[0] for end, curve in pairs]
        assert 0.8 <= np.mean(held) <= 1.0
        assert np.median([end.upper[0] - end.lower[0] for end in ends]) < widest
        errors = [end.means[0] - curve.rungs[-1][1][0] for end, curve in pairs]
        assert abs(np.mean(errors)) < NOISE


def test_the_closure_of_a_step_is_gpytorchs_likelihood_and_its_slopes_those_of_autograd() -> None:
    """A second method, as for the objectives; two rows are of one trial."""
    draw = np.random.default_rng(0)
    inputs = torch.from_numpy(np.vstack([rows := draw.random((9, 3)), rows[:1]]))
    outcomes = torch.from_numpy(draw.standard_normal((10, 1)))
    process = ObjectiveGP(inputs, outcomes, choices=(1,))
    process.covar_module = StepKernel(2, (1,), 0.8).double()
    mll, gaps = ExactMarginalLogLikelihood(process.likelihood, process), []
    moved = [each for name, each in process.named_parameters() if "constant" not in name]
    for step in (0.0, 0.4):
        with torch.no_grad():
            for parameter in moved:
                parameter.copy_(torch.linspace(-1.1, step, parameter.numel()).reshape(parameter.shape))
        value, _ = step_closure(process)()
        slopes = [parameter.grad.clone() for parameter in moved if parameter.grad is not None]
        total = -mll(process(*process.train_inputs), process.train_targets) * 10
        expected = torch.autograd.grad(total, moved)
        assert torch.cat([own.flatten() for own in slopes]).tolist() == pytest.approx(
            torch.cat([own.flatten() for own in expected]).tolist(), rel=1e-9, abs=1e-9
        )
        gaps.append(float(total.detach() - value))
    assert gaps[0] == pytest.approx(gaps[1], abs=1e-9)


def test_trials_that_went_no_further_say_how_others_do() -> None:
    """A step needs only those that made it: the first is known from 20 trials, the last from five."""
    curves = falling(20, 2)
    model = CurveModel([*curves[:5], *(cut(curve, 2) for curve in curves[5:])], ())
    [end] = model.foretold([cut(curves[7], 1)])
    assert end.lower[0] < curves[7].rungs[-1][1][0] < end.upper[0]
    with pytest.raises(FitError, match="from one rung to the next: 3, needed 4"):
        CurveModel([*curves[:3], cut(curves[7], 2)], ()).foretold([cut(curves[7], 2)])


def test_ends_together_are_ends_one_by_one() -> None:
    """Trials at different rungs, over more rows than are worked on at once."""
    curves = falling(60, 3)
    model = CurveModel(curves, ())
    others = [cut(curve, 1 + place % 2) for place, curve in enumerate(falling(40, 4))]
    alone = np.array([end.draws for curve in others for end in model.foretold([curve])])
    assert np.array([end.draws for end in model.foretold(others)]) == pytest.approx(alone, rel=1e-9)


def test_what_a_trial_measures_fits_only_the_steps_about_its_rung(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of four: the one that it made, and the next, whose scale counts all that are there."""
    curves, fits = falling(10, 5, shares=(0.2, 0.4, 0.6)), list[int]()

    def counted(X: Any, *rest: Any) -> Any:
        fits.append(len(X))
        return fit_step(X, *rest)

    monkeypatch.setattr(curves_module, "fit_step", counted)
    for rungs, expected in ((1, [9, 9, 9]), (2, [10, 9])):
        fits.clear()
        CurveModel([*curves[1:], cut(curves[0], rungs)], ()).foretold([cut(curves[0], 1)])
        assert fits == expected


def test_ends_of_trials_further_behind_than_any_that_went_on_are_the_less_certain() -> None:
    """Those above 2 end lower the higher they are, and only those below were seen through."""
    ended: list[Curve] = []
    behind: list[Curve] = []
    for curve in falling(40, 6, shares=(0.5,)):
        (share, (value,), errors), (_, (end,), _) = curve.rungs
        bent = end if value <= 2 else 1.2 - 0.3 * (value - 2)
        whole = replace(curve, rungs=((share, (value,), errors), (1.0, (bent,), errors)))
        (ended if value <= 2 else behind).append(whole)
    model = CurveModel([*ended, *(cut(curve, 1) for curve in behind)], ())
    ends = model.foretold([cut(curve, 1) for curve in behind])
    pairs = list(zip(ends, behind, strict=True))
    held = [end.lower[0] <= curve.rungs[-1][1][0] <= end.upper[0] for end, curve in pairs]
    assert np.mean(held) >= 0.8
    widths = [end.deviations[0] for end in model.foretold([cut(curve, 1) for curve in ended])]
    assert min(widths) < 0.2 * max(end.deviations[0] for end in ends)


def test_errors_over_examples_that_all_trials_share_widen_nothing() -> None:
    """Twenty-five times the noise, told as the standard error of every value."""
    sure = falling(20, 0)
    unsure = [replace(own, rungs=tuple((*rung[:2], (0.5,)) for rung in own.rungs)) for own in sure]
    other = cut(falling(1, 1)[0], 1)
    assert (
        CurveModel(unsure, ()).foretold([other])[0].deviations
        == CurveModel(sure, ()).foretold([other])[0].deviations
    )


def test_the_covariance_of_a_bend_is_that_of_an_integrated_wiener_process() -> None:
    """3 times the integral of (s - u)(t - u) over u from 0 to min(s, t); what is below 0 has none."""
    u = (np.arange(20_000) + 0.5) / 20_000
    for s, t in ((1.0, 1.0), (0.5, 1.0), (0.3, 0.4), (-0.1, 1.0)):
        expected = 3 * np.mean((s - u) * (t - u) * (u < min(s, t)))
        known = spline(torch.tensor(s, dtype=torch.float64), torch.tensor(t, dtype=torch.float64))
        assert float(known) == pytest.approx(expected, abs=1e-6)


def test_what_diverges_does_not_spoil_the_others() -> None:
    """Two of 20 at a thousand times the loss."""
    curves, wild = falling(20, 3), []
    for curve in curves[:2]:
        rungs = tuple((share, (1000 * values[0],), errors) for share, values, errors in curve.rungs)
        wild.append(replace(curve, rungs=rungs))
    [end] = CurveModel([*wild, *curves[2:]], ()).foretold([cut(falling(1, 4)[0], 2)])
    assert end.upper[0] - end.lower[0] < 0.5


def told(count: int = 8) -> Optimizer:
    """An optimiser with finished trials, one that was stopped and one under way."""
    optimizer = Optimizer(SPACE, {"loss": "min"}, seed=3)
    for number, curve in enumerate(falling(count, 5)):
        params = dict(zip("xy", curve.point, strict=True))
        early = [(share, {"loss": values[0]}) for share, values, _ in curve.rungs]
        if number == 0:
            optimizer.tell_nothing(params)
            early = early[:2]
        elif number == 1:
            optimizer.add_pending(params)
            early = early[:1]
        else:
            optimizer.tell(params, early[-1][1])
        optimizer.tell_curve(params, early)
    return optimizer


def test_proposals_learn_from_trials_that_have_not_ended() -> None:
    """A stopped trial and one under way count as results with the error of their forecast."""
    optimizer = told()
    history, note = with_foretold(optimizer.history)
    before = optimizer.history
    assert (note, history.pending, history.spent) == ("ends foretold: 2", (), ())
    assert (history.asked, history.taken) == (before.asked, before.taken)
    fresh = set(history.observations) - set(before.observations)
    assert {own.point for own in fresh} == {*before.pending, *before.spent}
    assert all(0 < own.doubts[0] < 0.5 for own in fresh)
    [proposal] = optimizer.propose()
    assert proposal.note.endswith("ends foretold: 2")


def test_no_forecast_counts_more_than_a_result() -> None:
    """Results with a standard error of 0.5: a forecast has at least that."""
    optimizer = told()
    observations = tuple(replace(own, errors=(0.5,)) for own in optimizer.history.observations)
    history, _ = with_foretold(replace(optimizer.history, observations=observations))
    assert all(own.errors[0] >= 0.5 for own in history.observations)


def test_an_optimiser_from_json_proposes_the_same() -> None:
    """Curves are part of what it was told, in any order."""
    optimizer = told()
    again = Optimizer.from_json(optimizer.to_json())
    again._curves.reverse()
    assert again.history == optimizer.history
    assert again.ask() == optimizer.ask()


def test_without_enough_trials_rungs_are_left_aside_and_the_note_says_so() -> None:
    """The history is as it was."""
    optimizer = told(4)
    history, note = with_foretold(optimizer.history)
    assert history == optimizer.history
    assert note.startswith("rungs are left aside: trials that went from one rung to the next: 3")


@pytest.mark.parametrize("shares", [(0.5, 0.25), (0.5, 0.5), (0.0,), (1.5,)])
def test_shares_that_are_none_are_refused(shares: tuple[float, ...]) -> None:
    """And nothing is learned."""
    optimizer = Optimizer(SPACE, {"loss": "min"})
    with pytest.raises(InputError, match="shares that increase"):
        optimizer.tell_curve({"x": 0.5, "y": 0.5}, [(share, {"loss": 1.0}) for share in shares])
    assert optimizer.history.curves == ()


@pytest.mark.parametrize("rungs", [None, [0.5], [("a", {"loss": 1.0})], [(True, {"loss": 1.0})]])
def test_what_is_no_curve_is_refused(rungs: Any) -> None:
    """In one way, whatever it is."""
    optimizer = Optimizer(SPACE, {"loss": "min"})
    with pytest.raises(InputError, match="tell_curve: expected"):
        optimizer.tell_curve({"x": 0.5, "y": 0.5}, rungs)
    assert optimizer.history.curves == ()


def outlook() -> Outlook:
    """Of a front (0, 2), (1, 1), (2, 0), exactly measured, with (3, 3) behind."""
    optimizer = Optimizer({"x": "interval(0, 1)"}, {"a": "min", "b": "min"}, strategy="bo")
    for x, values in ((0.1, (0.0, 2.0)), (0.4, (1.0, 1.0)), (0.7, (2.0, 0.0)), (0.95, (3.0, 3.0))):
        optimizer.tell({"x": x}, {"a": (values[0], 1e-4), "b": (values[1], 1e-4)})
    return Outlook(optimizer.history)


@pytest.mark.parametrize(("most", "error"), [(4, 0.02), (1, 0.1)], ids=["cells", "rays"])
def test_finishing_is_worth_what_it_adds_to_the_hypervolume(
    monkeypatch: pytest.MonkeyPatch, most: int, error: float
) -> None:
    """From (2.2, 2.2) the front has 0.2 x 0.2 + ...; a trial at (0.5, 0.5) adds an area known by hand."""
    monkeypatch.setattr("hpo.models.early.outlook.MOST_WITH_CELLS", most)
    found = outlook()
    whole = 2.2 * 0.2 + 1.2 * 1.0 + 0.2 * 1.0  # steps of the staircase under 2.2
    added = 0.5 * 0.5 + 2 * 0.5 * 1.0  # the square between (0.5, 0.5) and (1, 1), and its two wings
    gain, chance = found.finishing(np.array([[0.5, 0.5]] * 8))
    assert gain == pytest.approx(added / whole, rel=error)
    assert chance == 1.0
    gain, chance = found.finishing(np.array([[0.5, 0.5], [2.5, 2.5]] * 4))
    assert (gain, chance) == (pytest.approx(added / whole / 2, rel=error), 0.5)
    assert found.finishing(np.array([[2.5, 2.5]])) == (0.0, 0.0)


def test_what_is_left_to_gain_is_beyond_the_noise_only_where_something_is_unknown() -> None:
    """A front that is known well has little noise; new points between its members may still add to it."""
    found = outlook()
    assert found.noise < 0.02
    assert found.fresh() > 0.0
    assert math.isfinite(found.fresh([(0.25,)]))


def test_of_many_objectives_no_cells_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of five they take half a minute of a controller already, with a dozen results."""
    monkeypatch.setattr("hpo.models.lognehvi.cells", None)
    names = "abcde"
    optimizer = Optimizer({"x": "interval(0, 1)"}, dict.fromkeys(names, "min"), strategy="bo")
    for k in range(8):
        own = np.abs(np.sin(np.arange(5.0) + k))
        optimizer.tell({"x": k / 8}, dict(zip(names, own.tolist(), strict=True)))
    found = Outlook(optimizer.history)
    best, worst = np.zeros((4, 5)), np.full((4, 5), 3.0)
    assert found.finishing(worst) == (0.0, 0.0)
    assert found.finishing(best)[0] > 0.0
    assert 0.0 < found.fresh() < math.inf
    assert 0.0 < found.noise < 1.0


def test_curves_that_have_ended_count_once() -> None:
    """They are results already."""
    optimizer = told()
    history, _ = with_foretold(optimizer.history)
    ended = [own for own in optimizer.history.curves if own.ended]
    assert len(ended) == 6
    assert len(history.observations) == 8
