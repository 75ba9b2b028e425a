"""The benchmark measures what it says."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks import qlora
from benchmarks.optimiser import names_of, not_done, parser, wanted
from benchmarks.page import write_page
from benchmarks.peers import PEERS, make_peer, peer_version
from benchmarks.problems import ACKLEY_OPTIMUM, PROBLEMS, make
from benchmarks.records import append, file_of, forget, in_process, read_records, read_runs
from benchmarks.run import run
from benchmarks.scaling import attach_random
from benchmarks.table import Results, Spread, comparison, is_level, score_table, spread, trials_to_reach


def test_score_of_points_on_the_true_front_nears_one() -> None:
    """ZDT1's front is 1 - sqrt(x): 2,000 points on it miss less than a thousandth of its hypervolume."""
    front = [(x / 2000, 1 - (x / 2000) ** 0.5) for x in range(2001)]
    assert make("zdt1").score(front) == pytest.approx(1.0, abs=1e-3)


def test_score_of_one_objective_is_the_regret() -> None:
    """The distance to the known optimum, of the smallest value."""
    assert make("hartmann6").score([(-3.0,), (-1.0,)]) == pytest.approx(0.32237, abs=1e-4)


def test_curve_keeps_its_score_over_a_failure() -> None:
    """A failed trial counts as a trial and changes nothing."""
    assert make("ackley10_integers").curve([(5.0,), None, (2.0,), (3.0,)]) == [5.0, 5.0, 2.0, 2.0]


@pytest.mark.parametrize("name", PROBLEMS)
def test_problem_gives_as_many_values_as_it_has_objectives(name: str) -> None:
    """In the middle of the space, where no problem fails, and told values have noise only where it says."""
    problem = make(name)
    params = {key: own.from_unit(0.5) for key, own in problem.space.items()}
    values = problem.evaluate(params)
    assert values is not None
    assert len(values) == len(problem.objectives) == (len(problem.reference) or 1)
    assert (problem.observe(values, 0, 0) == values) is not bool(problem.noise)


def test_moved_ackley_is_zero_at_its_optimum() -> None:
    """The optimum belongs to the space, integers and all."""
    problem = make("ackley10_integers")
    params = dict(zip(problem.space, ACKLEY_OPTIMUM, strict=True))
    assert all(own.problem(params[name]) is None for name, own in problem.space.items())
    assert problem.evaluate(params) == (pytest.approx(0.0, abs=1e-9),)


def test_about_15_percent_of_the_qlora_volume_fails() -> None:
    """By 20,000 random configurations: a standard error of a quarter of a percent."""
    loss, seconds, fails = qlora.columns_values(qlora.random_columns(20_000, seed=0))
    assert 0.12 < fails.mean() < 0.18
    assert loss.min() > 0
    assert np.mean(seconds) > 1.15 * np.median(seconds)  # skewed


def test_the_best_learning_rate_moves_with_alpha_over_rank() -> None:
    """At alpha / rank 16 times as large, the best learning rate is a quarter."""
    rates = np.geomspace(1e-5, 5e-3, 400)

    def best(alpha: int) -> float:
        rest = {"lora_rank": 8, "lora_dropout": 0.1, "target_modules": "all", "quantisation": "nf4"}
        columns = {name: np.full(400, value) for name, value in (rest | {"batch_size": 16}).items()}
        columns |= {"learning_rate": rates, "lora_alpha": np.full(400, alpha)}
        return float(rates[np.argmin(qlora.columns_values(columns)[0])])

    assert best(8) / best(128) == pytest.approx(4, rel=0.05)


def test_no_random_front_has_more_than_the_largest_hypervolume() -> None:
    """The kept constant bounds what 20,000 random configurations reach, and not by much."""
    loss, seconds, fails = qlora.columns_values(qlora.random_columns(20_000, seed=1))
    rows = list(zip(loss[~fails].tolist(), seconds[~fails].tolist(), strict=True))
    assert 0.95 < make("qlora").score(rows) < 1.0


def test_run_is_a_function_of_its_seed() -> None:
    """The same seed gives the same curve, another one another."""
    first, again, other = (run("hartmann6", "sobol", seed, 12, 4) for seed in (0, 0, 1))
    assert first.curve == again.curve
    assert first.curve != other.curve
    assert len(first.curve) == 12
    assert len(first.ask_cpu_s) == 1


@pytest.mark.parametrize("peer", [name for name in PEERS if name not in ("ours", "smac", "ax", "optuna_gp")])
def test_peer_proposes_points_of_the_space(peer: str) -> None:
    """Asked, told, told of a failure and attached, each on the problem with every kind of parameter."""
    if not peer_version(peer):
        pytest.skip("its package is not installed")
    problem = make("qlora")
    optimiser = make_peer(peer, problem, 0)
    attach_random(problem, optimiser, 12)
    first, second = optimiser.ask(2)
    optimiser.tell(first, (1.0, 500.0))
    optimiser.tell_failure(second)
    for asked in (first, second, *optimiser.ask(1)):
        assert [key for key, own in problem.space.items() if own.problem(asked.params[key])] == []


def test_what_is_done_is_not_run_again(tmp_path: Path) -> None:
    """A finished run is passed over, one of an older version is not; a torn line counts as nothing."""
    options = parser().parse_args(["--problems", "zdt1", "--peers", "random", "--seeds", "3"])
    runs = wanted(options)
    path = tmp_path / file_of("random")
    append(path, runs[0] | {"version": peer_version("random")})
    append(path, runs[1] | {"version": "0"})
    with path.open("a") as file:
        file.write('{"problem":')
    assert [own["seed"] for own in not_done(runs, tmp_path)] == [1, 2]
    forget(path, [runs[0]])
    assert [own["seed"] for own in read_runs(tmp_path)] == [1]


def test_run_in_a_process_of_its_own_says_why_it_failed() -> None:
    """The last line of what it printed is the reason."""
    record = in_process("benchmarks.none", {"problem": "zdt1", "peer": "random", "seed": 0}, 60)
    assert record["peer"] == "random"
    assert "No module named benchmarks.none" in record["error"]


def test_unknown_names_are_refused() -> None:
    """With the names there are."""
    with pytest.raises(Exception, match="expected some of a, b, got c"):
        names_of(["a", "b"])("a,c")


def test_spread_is_the_mean_and_its_standard_error() -> None:
    """1, 2, 3: deviation 1 over the root of 3."""
    assert spread([1.0, 2.0, 3.0]) == Spread(2.0, pytest.approx(3**-0.5), 3)  # type: ignore[arg-type]
    assert math.isnan(spread([1.0]).error)


@pytest.mark.parametrize(
    ("ours", "regret", "level"), [(0.94, False, True), (0.92, False, False), (0.92, True, True)]
)
def test_level_is_within_the_error_of_the_difference(ours: float, regret: bool, level: bool) -> None:
    """Errors of 0.03 and 0.04 make one of 0.05 of the difference."""
    assert is_level(Spread(ours, 0.03, 5), Spread(0.98, 0.04, 5), is_regret=regret) is level


def test_trials_to_reach_a_level() -> None:
    """The first trial that is as good; None where there is none."""
    assert trials_to_reach([0.1, 0.5, 0.9], 0.5, is_regret=False) == 2
    assert trials_to_reach([3.0, 2.0, 1.0], 1.5, is_regret=True) == 3
    assert trials_to_reach([0.1], 0.5, is_regret=False) is None


def _record(peer: str, seed: int, score: float) -> dict[str, object]:
    own = {"problem": "zdt1", "peer": peer, "version": "1", "seed": seed, "trials": 50, "batch": 4}
    return own | {
        "curve": [score * number / 50 for number in range(1, 51)],
        "ask_cpu_s": [1.0],
        "initial_cpu_s": 0.0,
        "failed": 0,
        "failed_initial": 0,
        "peak_rss_mib": 300.0,
    }


def test_tables_compare_with_the_best_peer() -> None:
    """Ours at 1.0 gets to the best peer's 0.8 after 40 of 50 trials."""
    records = [_record(peer, seed, score) for peer, score in (("ours", 1.0), ("ax", 0.8)) for seed in (0, 1)]
    results = Results([*records, _record("random", 0, 0.1), {"problem": "zdt1", "peer": "ax", "error": "x"}])
    assert "| **ours** | **1.000 ±0.000** |" in score_table(results, 50)
    row = comparison(results).splitlines()[2]
    assert (
        row
        == "| zdt1 | 0.600 ±0.000 | 0.480 ±0.000 (Ax) | yes | 1.000 ±0.000 | 0.800 ±0.000 (Ax) | yes | 40 |"
    )


def test_page_is_written_from_the_results(tmp_path: Path) -> None:
    """Text and pictures, without runs of ours and with an ask that was cut off."""
    pytest.importorskip("matplotlib")
    (tmp_path / "images").mkdir()
    append(tmp_path / "peers.jsonl", _record("ax", 0, 0.8))
    told = {"problem": "zdt1", "peer": "ax", "version": "1", "peak_rss_mib": 400.0}
    append(tmp_path / "scaling.jsonl", told | {"told": 50, "ask_cpu_s": 2.5})
    append(tmp_path / "scaling.jsonl", told | {"told": 500, "over_s": 120.0})
    written = write_page(tmp_path, tmp_path)
    assert [path.name for path in written] == ["benchmark.md", "benchmark_curves.png", "benchmark_asks.png"]
    assert "| Ax | 2.50 s, 400 MiB | over 120 |" in written[0].read_text()


def test_committed_results_are_whole() -> None:
    """Every line is a record, with a curve as long as its trials or the reason why there is none."""
    for path in sorted((Path(__file__).parent.parent / "benchmarks" / "results").glob("*.jsonl")):
        records = [json.loads(line) for line in path.read_text().splitlines()]
        assert records == read_records(path)
        assert all(len(own["curve"]) == own["trials"] for own in records if "curve" in own)
