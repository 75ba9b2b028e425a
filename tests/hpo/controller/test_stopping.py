"""Rungs as the controller sees them: journalled, judged, marked; trials that end there, and go on again."""

from __future__ import annotations

import math
import random
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pytest
from controlled_site import LIMITS, Site
from rich.console import Console

from hpo.commands import manage
from hpo.commands.status import to_json
from hpo.controller.controller import Controller
from hpo.controller.stopping import thaw
from hpo.display.event_lines import event_line
from hpo.exports.table import rows as table_rows
from hpo.fidelity.asha import goes_on
from hpo.fidelity.gain import Worth
from hpo.pareto import Row, crowding, dominates, layers
from hpo.records import Metric, RungRecord, StoppedResult, append_jsonl, write_json
from hpo.study.journal import load_study
from hpo.study.snapshot import pareto_trials, take
from hpo.study.state import TrialState

THIRD = 1 / 3


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Trials that measure at rungs, four in flight; of two one goes on."""
    return Site(tmp_path, replace(LIMITS, measures=True, reduction=2, refill=1))


def reach(
    site: Site, trial: str, loss: float, rung: float = THIRD, attempt: int = 1, error: float = 0.1
) -> None:
    """A trial measures at a rung."""
    record = RungRecord(trial, attempt, rung, rung, 8, {"loss": Metric(loss, error)})
    append_jsonl(site.paths.trial(trial).rungs, record.to_json())


def end_early(site: Site, trial: str, attempt: int = 1) -> None:
    """An attempt sees the marker and ends, and with it its tasks."""
    site.begin(trial, attempt, seconds=40.0)
    result = StoppedResult(trial, attempt, THIRD, 9, {"loss": Metric(2.0)})
    write_json(site.paths.trial(trial).stopped(attempt), result.to_json())
    tasks = site.scheduler.tasks
    for task in [key for key, own in tasks.items() if own["arguments"][2] == trial]:
        tasks.pop(task)


def marked(site: Site) -> list[str]:
    """The trials that are asked to end."""
    return sorted(path.parent.name for path in site.paths.trials.glob("*/stop"))


def second_is_behind(site: Site) -> Controller:
    """A controller that has just asked the second of its trials to end, behind the first at a rung."""
    controller: Controller = site.controller()
    controller.step()
    reach(site, "0000", 1.0)
    reach(site, "0001", 2.0)
    controller.step(poll=False)
    return controller


def test_the_trials_behind_at_a_rung_are_asked_to_end_once(site: Site) -> None:
    """Three at once: the better two go on; a later one that is better too goes on, a worse one does not."""
    controller = site.controller()
    controller.step()
    for trial, loss in (("0000", 2.0), ("0001", 1.0), ("0002", 3.0)):
        reach(site, trial, loss)
    controller.step(poll=False)
    assert marked(site) == ["0002"]
    reach(site, "0003", 0.5)
    controller.step(poll=False)
    controller.step(poll=False)
    assert marked(site) == ["0002"]
    assert [event["stop"] for event in site.events("rung_reached")] == [False, False, True, False]
    assert load_study(site.paths.journal) == controller.study


def test_a_stopped_trial_frees_its_place_at_once(site: Site) -> None:
    """It is tried, has no metrics of the full length, and the next trial goes out in the same pass."""
    controller = second_is_behind(site)
    end_early(site, "0001")
    controller.step(poll=False)
    study = controller.study
    assert (study.trials["0001"].state, study.trials["0001"].metrics) == (TrialState.STOPPED, {})
    assert (study.spent, len(study.in_flight), "0004" in study.trials) == (5, 4, True)
    assert study.ends[-1].useful_seconds == 40.0
    assert load_study(site.paths.journal) == study


def test_a_result_wins_over_the_marker_and_over_a_stop(site: Site) -> None:
    """Whether it came before the controller looked, or after the marker."""
    controller = site.controller()
    controller.step()
    ready = {own["arguments"][2]: own["arguments"] for own in site.scheduler.tasks.values()}
    reach(site, "0000", 1.0)
    reach(site, "0001", 2.0)
    site.finish(ready["0001"])
    controller.step(poll=False)
    assert marked(site) == []
    reach(site, "0002", 3.0)
    controller.step(poll=False)
    assert marked(site) == ["0002"]
    site.finish(ready["0002"])
    end_early(site, "0002")
    controller.step(poll=False)
    assert [trial.id for trial in controller.study.in_state(TrialState.COMPLETED)] == ["0001", "0002"]
    assert len(controller.study.trials["0001"].rungs) == 1


def test_a_controller_that_was_killed_before_the_marker_makes_it_later(site: Site) -> None:
    """The decision is in the journal: the next controller marks what is not marked, and decides no more."""
    second_is_behind(site)
    site.paths.trial("0001").stop.unlink()
    site.die()
    site.controller().step(poll=False)
    assert marked(site) == ["0001"]
    assert len(site.events("rung_reached")) == 2


def test_a_preempted_trial_stays_asked_and_a_later_rung_changes_nothing(site: Site) -> None:
    """Its next attempt finds the marker; a rung that it had reached meanwhile is told of, not judged anew."""
    controller = second_is_behind(site)
    site.fail("0001", 1, "preempted")
    controller.step()
    reach(site, "0001", 0.1, rung=0.5, attempt=2)
    controller.step()
    assert (marked(site), controller.study.trials["0001"].stopping) == (["0001"], True)
    end_early(site, "0001", attempt=2)
    controller.step(poll=False)
    assert controller.study.trials["0001"].state is TrialState.STOPPED


def test_a_thawed_trial_goes_on_and_is_not_stopped_at_the_same_rung(site: Site) -> None:
    """Another attempt, submitted in the next pass; its result counts as any other's."""
    controller = second_is_behind(site)
    end_early(site, "0001")
    controller.step(poll=False)
    thaw(controller.journal, site.paths, controller.study.trials["0001"])
    controller.step()
    assert (marked(site), controller.study.trials["0001"].state) == ([], TrialState.OPEN)
    site.run_all()
    controller.step()
    thawed = controller.study.trials["0001"]
    assert (thawed.state, thawed.thawed, thawed.cause) == (TrialState.COMPLETED, 1, None)
    assert load_study(site.paths.journal) == controller.study


def test_retry_thaws_only_what_it_names(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A retry of all that failed leaves stopped trials alone."""
    controller = second_is_behind(site)
    end_early(site, "0001")
    controller.step(poll=False)
    site.die()
    monkeypatch.setattr(manage, "_own_study", lambda name, root: site.paths)
    manage.retry("study", site.paths.folder.parent, [], Console())
    assert load_study(site.paths.journal).trials["0001"].state is TrialState.STOPPED
    site.paths.controller.unlink(missing_ok=True)
    manage.retry("study", site.paths.folder.parent, ["0001"], Console())
    assert load_study(site.paths.journal).trials["0001"].state is TrialState.INTERRUPTED
    assert "1 trials get another attempt" in capsys.readouterr().out


def test_stopped_trials_are_shown_as_what_they_are(site: Site) -> None:
    """In the events, in status and in the table; the front is of full trials, and what was saved is told."""
    controller = second_is_behind(site)
    end_early(site, "0001")
    ready = next(own["arguments"] for own in site.scheduler.tasks.values() if own["arguments"][2] == "0000")
    site.finish(ready)
    controller.step(poll=False)
    lines = [event_line(event, controller.study) for event in site.events("rung_reached")]
    assert lines == ["trial 0000 at rung 0.333: loss=1", "trial 0001 at rung 0.333: loss=2, ends there"]
    snapshot = take(site.paths)
    told = to_json(snapshot)
    assert (told["trials"]["stopped"], [one["trial"] for one in told["stopped"]]) == (1, ["0001"])
    assert told["usage"]["saved"] == pytest.approx(2 * 40 / 3600)  # two thirds of it were left
    assert [trial.id for trial in pareto_trials(snapshot.study, snapshot.objectives)] == ["0000"]
    row = table_rows(snapshot)[1]
    assert (row["state"], row["rung"], row.get("loss")) == ("stopped", THIRD, None)


@pytest.mark.parametrize("line", ["{torn\n", '{"schema_version": 1}\n', ""])
def test_a_torn_or_foreign_line_is_told_of_once(site: Site, line: str) -> None:
    """The trial goes on to its end; a rung of another trial is foreign, too."""
    controller = site.controller()
    controller.step()
    reach(site, "0000", 1.0)
    path = site.paths.trial("0001").rungs
    other = RungRecord("0009", 1, THIRD, THIRD, 8, {})
    append_jsonl(path, other.to_json()) if not line else path.write_text(line + '{"next": 1}\n')
    controller.step(poll=False)
    controller.step(poll=False)
    (told,) = site.said
    assert f"{path}:1" in told
    assert [event["trial"] for event in site.events("rung_reached")] == ["0000"]
    path.write_text(path.read_text() + '{"half')  # no more is said of a torn last line
    assert marked(site) == []


def test_the_best_one_in_three_rounded_up_goes_on() -> None:
    """Fewer than three all go on; three and four by hand; of equals the first; no value is behind."""
    by_hand = {1: [True], 2: [True] * 2, 3: [True, False, False], 4: [True, True, False, False]}
    for count, expected in by_hand.items():
        rows = [(float(number),) for number in range(count)]
        assert [goes_on(rows, place, 3) for place in range(count)] == expected
    assert [goes_on([(1.0,)] * 4, place, 3) for place in range(4)] == [True, True, False, False]
    assert [goes_on([(math.nan,), (1.0,)], place, 3) for place in range(2)] == [False, True]
    rows = [(float(number),) for number in range(5)]
    assert [goes_on(rows[:4], place, 3, fewest=4) for place in range(4)] == [True] * 4
    assert [goes_on(rows, place, 3, fewest=4) for place in range(5)] == [True, True, False, False, False]


def test_of_several_objectives_ranks_decide_then_crowding() -> None:
    """Five on a front of two objectives with a crowded middle, one behind: two of six go on, the ends."""
    rows = [(0.0, 4.0), (1.9, 2.1), (2.0, 2.0), (2.1, 1.9), (4.0, 0.0), (5.0, 5.0)]
    assert [goes_on(rows, place, 3) for place in range(6)] == [True, False, False, False, True, False]
    assert crowding([(0.0, 4.0), (1.0, 2.0), (4.0, 0.0)]) == [math.inf, 2.0, math.inf]


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_layers_are_those_of_peeling(objectives: int) -> None:
    """A row's layer is one more than the deepest of the rows that dominate it; equal rows share one."""
    draw = random.Random(objectives)
    rows: list[Row] = [tuple(draw.randrange(6) for _ in range(objectives)) for _ in range(60)]
    found = layers(rows)
    for row, layer in zip(rows, found, strict=True):
        above = [own for other, own in zip(rows, found, strict=True) if dominates(other, row)]
        assert layer == max(above, default=-1) + 1
    assert layers([(math.nan, 0.0), (1.0, 1.0)]) == [2, 0]


def test_rungs_in_the_journal_hold_their_errors(site: Site) -> None:
    """What later models learn from."""
    controller = site.controller()
    controller.step()
    reach(site, "0000", 1.0)
    controller.step(poll=False)
    (rung,) = load_study(site.paths.journal).trials["0000"].rungs
    assert asdict(rung) == {
        "rung": THIRD,
        "share": THIRD,
        "metrics": {"loss": {"value": 1.0, "standard_error": 0.1}},
    }


def test_what_going_on_is_worth_decides_once_enough_have_ended(tmp_path: Path) -> None:
    """Of ten trials of loss x, seven have ended; of two at the rung the best goes on, the worst does not.

    Before that the fifth to arrive is not among the best one in three, and the first four go on anyway.
    """
    site = Site(tmp_path, replace(LIMITS, measures=True, risk=0.2, reduction=3, batch_size=10))
    controller = site.controller()
    controller.step()
    losses = {trial.id: float(trial.params["x"]) for trial in controller.study.trials.values()}
    best, *middle, behind, worst = sorted(losses, key=losses.__getitem__)
    arrive = partial(reach, site, error=1e-3)
    for trial in [*middle[3:], behind, *reversed(middle[:3])]:
        arrive(trial, losses[trial] + 1.0)
        controller.step(poll=False)
    assert marked(site) == [behind]
    notes = {str(event["note"]) for event in site.events("rung_reached")}
    assert notes == {"compared at the rung alone: trials that went from one rung to the next: 0, needed 4"}
    ready = {own["arguments"][2]: own["arguments"] for own in site.scheduler.tasks.values()}
    for trial in middle:
        site.finish(ready[trial])
    controller.step(poll=False)
    for trial in (worst, best):
        arrive(trial, losses[trial] + 1.0)
    controller.step(poll=False)
    assert marked(site) == sorted([behind, worst])
    worths = {event["trial"]: event["worth"] for event in site.events("rung_reached") if "worth" in event}
    assert worths[best]["gain"] > worths[worst]["gain"]  # type: ignore[index]
    assert load_study(site.paths.journal) == controller.study
    end_early(site, worst)
    controller.step(poll=False)
    thaw(controller.journal, site.paths, controller.study.trials[worst])
    controller.step()
    assert (marked(site), controller.study.trials[worst].state) == ([behind], TrialState.OPEN)


@pytest.mark.parametrize(
    ("worth", "ends"),
    [
        (Worth(gain=0.01, fresh=0.05, chance=0.05, left=0.5), True),
        (Worth(gain=0.03, fresh=0.05, chance=0.05, left=0.5), False),
        (Worth(gain=0.01, fresh=0.05, chance=0.2, left=0.5), False),
        (Worth(gain=0.0, fresh=0.0, chance=0.0, left=0.5), False),
    ],
)
def test_a_trial_ends_if_a_new_one_gains_more_for_what_it_costs(worth: Worth, ends: bool) -> None:
    """And its chance to be on the front is below the risk; equal gains, as of nothing, keep it."""
    assert worth.ends(0.1) is ends
