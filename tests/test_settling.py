"""The benchmark of stopping rules asks those of the controller and of peers."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.peers import peer_version
from benchmarks.problems import Params, Values, make
from benchmarks.records import RESULTS, ROOT, append, read_records
from benchmarks.settling.__main__ import FILE, done, made, options_of, wanted
from benchmarks.settling.cases import CASES, Errors, recorded
from benchmarks.settling.rules import Improvement, Terminator, stop, two_scores
from benchmarks.settling.table import Outcome, bold_stop, cell, outcome, table
from benchmarks.settling.trace import RULE, settle_stop, tell, traced
from hpo.optimizer import Optimizer

LITTLE, MUCH = (8, 0.01, 0.02), (8, 0.03, 0.02)


def test_five_batches_that_promise_less_than_the_noise_end_the_study() -> None:
    """Looks before the batches 2 to 6 (from 0): after the last of them is out there are 7 batches of 4."""
    assert settle_stop([None, None, *[LITTLE] * 8], 4, 40) == 28


def test_one_look_that_promises_more_starts_the_count_again() -> None:
    """Before batch 4: the next five looks are those before 5 to 9, so there are ten batches."""
    assert settle_stop([None, None, LITTLE, LITTLE, MUCH, *[LITTLE] * 7], 4, 48) == 40


def test_a_gain_below_the_least_ends_it_however_well_the_front_is_known() -> None:
    """A twentieth of a per cent is below the 0.1% of `budget.least_gain`, and above a noise of none."""
    assert settle_stop([(8, 0.0005, 0.0)] * 6, 4, 24) == 20


def test_a_study_that_never_settles_goes_to_its_end() -> None:
    """Five looks in a row come too late when the last batch is out."""
    assert settle_stop([MUCH, *[LITTLE] * 5], 4, 24) == 24


class _AfterThree:
    """Ends a study from the third trial on."""

    def __init__(self) -> None:
        self.told = 0

    def tell(self, params: Params, values: Values | None, errors: Errors) -> None:
        self.told += 1

    def over(self) -> bool:
        return self.told >= 3


def test_rules_are_asked_after_whole_batches() -> None:
    """The third trial is in the second batch of two."""
    assert stop(_AfterThree(), [{}] * 8, [(1.0,)] * 8, [(None,)] * 8, 2) == 4


def test_saved_are_the_seconds_after_the_stop_and_missed_is_what_they_brought() -> None:
    """Of 10 seconds 7 come after two trials, in which the regret falls from 3 to 1."""
    trace = {"seconds": [1.0, 2.0, 3.0, 4.0], "curve": [5.0, 3.0, 2.0, 1.0]}
    assert outcome(trace, 2) == Outcome(stop=2, saved=0.7, missed=2.0)


def test_cell_has_every_stop_and_the_means() -> None:
    """Half and none saved are 25% on average."""
    assert cell([Outcome(20, 0.5, 0.2), Outcome(40, 0.0, 0.0)]) == "20 40: 25%, 0.1"
    assert cell([]) == ""


def test_table_has_what_a_rule_did_in_its_own_column() -> None:
    """Problems and rules without a record leave no row, and an empty cell."""
    run = {"problem": "branin", "peer": "ours", "seed": 0, "seconds": [1.0, 1.0], "curve": [0.5, 0.25]}
    run |= {"looks": [None, None], "batch": 1, "trials": 2}
    ax = {"problem": "branin", "peer": "ax", "seed": 0, "stops": {"Ax, 5 trials": 1}, "batch": 1, "trials": 2}
    of_longer_runs = ax | {"trials": 8, "stops": {"Ax, 5 trials": 7}}
    before = run | {"curve": [9.0, 9.0], "stops": {RULE: 1}}
    lines = table([before, run | {"stops": {RULE: 2}}, ax, of_longer_runs]).splitlines()
    assert lines[2:] == ["| branin | 0.25 | 2: 0%, 0 | 2: 0%, 0 |  |  | 1: 50%, 0.25 |  |"]


def test_bolder_settings_follow_from_the_looks() -> None:
    """After three looks in a row below a per cent no batch goes out; a tenth is not below."""
    looks = [[8, gain, 0.0] for gain in (0.1, 0.009, 0.1, 0.009, 0.009, 0.009, 0.009)]
    assert bold_stop({"looks": looks, "batch": 4, "trials": 28}) == 24
    assert bold_stop({"looks": looks[:5], "batch": 4, "trials": 20}) == 20


@pytest.mark.parametrize("timed", [False, True])
def test_the_best_of_a_table_is_its_known_optimum(timed: bool) -> None:
    """All configurations of the table together have a regret of 0, or all of the hypervolume."""
    from benchmarks.fidelity.study import TABLES
    from jobs.recipes.recorded import load

    problem = recorded("demo", timed=timed).problem
    rows = [problem.evaluate(trial.params) for trial in load(TABLES / "demo.jsonl.gz").trials]
    assert problem.score([row for row in rows if row]) == pytest.approx(1.0 if timed else 0.0)


def test_a_recorded_trial_tells_the_error_of_its_loss() -> None:
    """As the table has it for the first configuration, and none of its seconds."""
    from benchmarks.fidelity.study import TABLES
    from jobs.recipes.recorded import load

    first = load(TABLES / "demo.jsonl.gz").trials[0]
    error = first.measured[-1].metrics["eval_loss"].standard_error
    assert recorded("demo", timed=True).errors(first.params) == (error, None)


def test_a_failed_trial_is_told_and_takes_no_seconds() -> None:
    """Some of the first eight points do; there is no look before eight results, and the optimiser is told."""
    case = CASES["qlora"]()
    optimizer = Optimizer(case.problem.space, dict.fromkeys(case.problem.objectives, "min"))
    tell(optimizer, case, {name: own.from_unit(0.5) for name, own in case.problem.space.items()}, None, 0)
    assert (len(optimizer.history.failures), len(optimizer.history.observations)) == (1, 0)
    record = traced({"problem": "qlora", "peer": "ours", "seed": 0, "trials": 8, "batch": 8})
    failed = [row is None for row in record["told"]]
    assert failed == [seconds == 0.0 for seconds in record["seconds"]]
    assert any(failed)
    assert record["looks"] == [None]
    assert record["stops"] == {RULE: 8}


def test_two_scores_have_the_error_that_optuna_makes_of_them() -> None:
    """Its formula for k scores is the root of (1/k + 1/(k - 1)) times their variance."""
    one, other = two_scores(2.0, 0.3)
    assert (one + other) / 2 == pytest.approx(2.0)
    assert ((1 / 2 + 1) * ((one - other) / 2) ** 2) ** 0.5 == pytest.approx(0.3)


@pytest.mark.parametrize(("error", "over"), [(1e6, True), (0.0, False)])
def test_the_terminator_ends_a_study_within_its_error(error: float, over: bool) -> None:
    """Twenty values of a slope: an error of a million is above every regret, none below every one."""
    pytest.importorskip("optuna", reason="Optuna is not installed (make benchmark)")
    rule = Terminator(make("levy4"), "regret", 0)
    for number in range(20):
        rule.tell({f"x{i}": number / 4 - 2 for i in range(4)}, (float(number),), (error,))
    assert rule.over() is over


@pytest.mark.parametrize("problem", ["levy4", "branin_currin"])
def test_ax_ends_a_study_that_stands_still(problem: str) -> None:
    """Once the last of twenty trials brought nothing, and while it was the best by far, not."""
    pytest.importorskip("ax", reason="Ax is not installed (make benchmark)")
    known = make(problem)
    rule = Improvement(known, 0)
    objectives = len(known.objectives)
    for number in range(20):
        params = {name: own.from_unit((number + 0.5) / 20) for name, own in known.space.items()}
        rule.tell(params, (10.0 + (number % 4),) * objectives, (None,) * objectives)
    assert rule.over()
    rule.tell({name: own.from_unit(0.01) for name, own in known.space.items()}, (1.0,) * objectives, ())
    assert not rule.over()


def test_peers_of_one_objective_are_not_asked_about_two() -> None:
    """Optuna's terminator takes no study of several objectives."""
    asked = wanted(options_of(["--problems", "branin", "zdt1", "--seeds", "1"]))
    assert [(own["problem"], own["peer"]) for own in asked] == [
        *(("branin", peer) for peer in ("ours", "optuna", "ax")),
        *(("zdt1", peer) for peer in ("ours", "ax")),
    ]


def test_what_is_done_is_not_run_again_and_peers_wait_for_the_run(tmp_path: Path) -> None:
    """A record of this version is enough; without the run a peer has nothing to judge."""
    [settings] = wanted(options_of(["--problems", "branin", "--seeds", "1", "--peers", "ours"]))
    append(tmp_path / FILE, settings | {"version": "0.0"})
    assert not done(settings, read_records(tmp_path / FILE))
    append(tmp_path / FILE, settings | {"version": peer_version("ours")})
    assert done(settings, read_records(tmp_path / FILE))
    record = made(settings | {"peer": "ax"}, [], 1.0)
    assert record["error"] == "the run is not there yet: --peers ours"


def test_every_case_has_an_optimum_and_seconds() -> None:
    """In the middle of its space nothing fails; the seconds are positive."""
    for make_case in CASES.values():
        case = make_case()
        params = {name: own.from_unit(0.5) for name, own in case.problem.space.items()}
        values = case.problem.evaluate(params)
        assert values is not None
        assert case.seconds(params, values) > 0
        assert len(case.errors(params)) == len(case.problem.objectives)


def test_the_page_has_the_table_of_the_committed_results() -> None:
    """Letter by letter, as `--table` prints it."""
    page = (ROOT / "docs" / "early_stopping.md").read_text(encoding="utf-8")
    assert table(read_records(RESULTS / FILE)) in page
