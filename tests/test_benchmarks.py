"""The benchmark measures what it says."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.beliefs import believing, ranked
from benchmarks.fidelity.study import TABLES, expression
from benchmarks.optimiser import names_of, not_done, parser, wanted
from benchmarks.page import write_page
from benchmarks.peers import COMPARED, make_peer, peer_version
from benchmarks.problems import (
    HALVES,
    PROBLEMS,
    Params,
    cliffs,
    conditional,
    levels,
    make,
    mixed,
    noisy,
    qlora,
)
from benchmarks.problems.library import ACKLEY_OPTIMUM, dtlz2_largest
from benchmarks.problems.problem import front_volume, random_columns
from benchmarks.problems.tables import table
from benchmarks.records import ROOT, append, file_of, forget, in_process, read_records, read_runs
from benchmarks.run import run
from benchmarks.scaling import attach_random
from benchmarks.scores import Results, Spread, lead, spread
from benchmarks.table import belief_table, lead_table, score_table
from hpo.space.space import parse_space
from jobs.recipes.recorded import load


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


def test_halves_have_the_same_kinds() -> None:
    """At least ten problems each, nothing in both, together all."""
    assert all(len(half) >= 10 for half in HALVES.values())
    assert sorted(name for half in HALVES.values() for name in half) == sorted(PROBLEMS)
    tuning, reporting = ({PROBLEMS[name].kind for name in half} for half in HALVES.values())
    assert tuning == reporting


def test_dtlz2_has_the_volume_outside_a_ball() -> None:
    """Two objectives: 1.21 less a quarter of the unit disc; six as the library has it."""
    assert dtlz2_largest(2) == pytest.approx(1.21 - math.pi / 4)
    assert make("dtlz2_six").largest == pytest.approx(1.6908155)


def test_everything_is_lost_beyond_the_cliff() -> None:
    """Half a percent below the edge the loss is that of the optimum, half a percent above it chance."""
    problem = make("cliff")
    rest = {"lora_rank": 32, "lora_alpha": 8, "lora_dropout": 0.1, "weight_decay": 1e-3}
    below, above = (problem.evaluate({**rest, "learning_rate": rate}) for rate in (0.995e-3, 1.005e-3))
    assert below == (pytest.approx(0.5 - 0.2 / 1.1, abs=1e-4),)
    assert above == (cliffs.CHANCE,)


@pytest.mark.parametrize(
    ("largest", "name"), [(cliffs.priced_largest, "cliff_priced"), (conditional.adapters_largest, "adapters")]
)
def test_kept_volume_is_that_of_the_enumerated_front(largest: Callable[[], float], name: str) -> None:
    """Every configuration at its best learning rate."""
    assert make(name).largest == pytest.approx(largest(), rel=1e-9)


def test_made_up_pretraining_by_hand() -> None:
    """Size 1: 16 + 8 GB in 4 bytes for 2, of which a third each fits; 14.6 h x 2.2 x 1.5 x 1.5."""
    rate = 10 ** (-2.7 - 0.8 * math.log10(8) + 0.25 * math.log10(8))
    params = {"learning_rate": rate, "warmup": 0.2, "depth": 32, "width": 1024, "micro_batch": 8}
    choices = {"number_format": "fp32", "split": "pipeline"}
    assert make("pretraining").evaluate({**params, **choices}) == pytest.approx((2.2, 72.27))
    assert make("pretraining").evaluate({**params, **choices, "split": "tensor"}) is None
    assert make("pretraining").evaluate({**params, **choices, "learning_rate": 0.0051}) is None


def test_no_random_pretraining_has_more_than_the_largest_hypervolume() -> None:
    """The kept constant bounds what 20,000 random configurations reach; about a quarter of them fail."""
    values, fails = mixed.columns_values(random_columns(mixed.SPACE, 20_000, seed=1))
    assert 0.2 < fails.mean() < 0.3
    assert 0.85 < front_volume(values[~fails], mixed.REFERENCE) / mixed.LARGEST < 1.0


def test_front_of_two_spheres_is_the_segment_between_them() -> None:
    """f1 = t^2 D and f2 = (1 - t)^2 D: at the middle D / 4 each, and 2,000 points have all of the volume."""
    problem = make("tails")
    shares = np.linspace(0, 1, 2001)
    centres = (noisy.ONE, noisy.OTHER)
    points = [centres[0] + share * (centres[1] - centres[0]) for share in shares]
    rows = [problem.evaluate({f"x{i}": own for i, own in enumerate(point.tolist())}) for point in points]
    assert rows[1000] == pytest.approx((noisy.APART / 4, noisy.APART / 4))
    assert problem.score([row for row in rows if row is not None]) == pytest.approx(1.0, abs=1e-3)


def test_one_told_value_in_twelve_is_wrong() -> None:
    """Of 2,000: a standard error of 0.6 percent; the truth is what is scored."""
    problem = make("outliers")
    told = [problem.observe((0.9,), 0, number)[0] for number in range(2000)]
    assert 0.06 < np.mean([value == noisy.WRONG for value in told]) < 0.1
    assert np.median(told) == pytest.approx(0.9, abs=0.01)
    assert problem.score([(0.9,)]) == pytest.approx(0.1)


def test_smallest_of_the_many_levels_is_a_configuration() -> None:
    """Zero, at integers."""
    problem = make("levels")
    assert all(own.problem(levels.OPTIMUM[name]) is None for name, own in problem.space.items())
    assert problem.evaluate(levels.OPTIMUM) == (0.0,)


def test_inactive_parameters_are_not_needed() -> None:
    """The best of adam; lora at rank 1 of two modules in 16 bits: 0.6 + 0.6 x 2^-0.35, 14 GB and 0.03."""
    adam: Params = {"optimiser": "adam", "learning_rate": 1e-3, "weight_decay": 1e-4, "beta2": 0.98}
    assert make("optimisers").evaluate({**adam, "schedule": "cosine", "warmup": 0.1}) == (pytest.approx(0.3),)
    lora: Params = {"method": "lora", "rank": 1, "modules": "qv", "bits": 16, "learning_rate": 10**-3.5}
    assert make("adapters").evaluate(lora) == pytest.approx((0.6 + 0.6 * 2**-0.35, 14.03))


def test_table_gives_its_nearest_row(tmp_path: Path) -> None:
    """Failures are empty cells; the reference is a tenth of the front's range beyond it, 0.1 and 0.8."""
    described = "space: {rate: 'interval(0, 1)', kind: 'choice(a, b)'}\nobjectives: [loss, cost]\n"
    (tmp_path / "small.yaml").write_text(described)
    rows = ["rate,kind,loss,cost,loss_error", "0.0,a,1,10,0.1", "0.5,a,2,2,0.3", "0.5,b,,,", "1.0,b,3,3,0.2"]
    (tmp_path / "small.csv").write_text("\n".join(rows) + "\n")
    problem = table("small", tmp_path)
    assert problem.evaluate({"rate": 0.2, "kind": "a"}) == (1.0, 10.0)
    assert problem.evaluate({"rate": 0.7, "kind": "b"}) is None
    assert problem.evaluate({"rate": 0.9, "kind": "b"}) == (3.0, 3.0)
    assert problem.reference == pytest.approx((2.1, 10.8))
    assert problem.largest == pytest.approx(1.1 * 0.8 + 0.1 * 8.0)
    told = [problem.observe((1.0, 10.0), 0, number) for number in range(1000)]
    assert np.std([row[0] for row in told]) == pytest.approx(0.2, rel=0.1)
    assert {row[1] for row in told} == {10.0}


def test_beliefs_are_the_best_and_the_worst_that_work() -> None:
    """Of 200 random configurations, none of which is better; every parameter has one."""
    problem = make("qlora")
    best = problem.evaluate(ranked("qlora")[0])
    assert best is not None
    assert all(own.usual is not None for own in believing("qlora", "worst").space.values())
    assert {name: own.usual for name, own in believing("qlora", "best").space.items()} == ranked("qlora")[0]
    others = [problem.evaluate(params) for params in ranked("qlora")]
    assert not any(row[0] < best[0] and row[1] < best[1] for row in others if row)


def test_moved_ackley_is_zero_at_its_optimum() -> None:
    """The optimum belongs to the space, integers and all."""
    problem = make("ackley10_integers")
    params = dict(zip(problem.space, ACKLEY_OPTIMUM, strict=True))
    assert all(own.problem(params[name]) is None for name, own in problem.space.items())
    assert problem.evaluate(params) == (pytest.approx(0.0, abs=1e-9),)


def test_about_15_percent_of_the_qlora_volume_fails() -> None:
    """By 20,000 random configurations: a standard error of a quarter of a percent."""
    loss, seconds, fails = qlora.columns_values(random_columns(qlora.SPACE, 20_000, seed=0))
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
    loss, seconds, fails = qlora.columns_values(random_columns(qlora.SPACE, 20_000, seed=1))
    rows = list(zip(loss[~fails].tolist(), seconds[~fails].tolist(), strict=True))
    assert 0.95 < make("qlora").score(rows) < 1.0


def test_run_is_a_function_of_its_seed() -> None:
    """The same seed gives the same curve, another one another."""
    first, again, other = (run("hartmann6", "sobol", seed, 12, 4) for seed in (0, 0, 1))
    assert first.curve == again.curve
    assert first.curve != other.curve
    assert len(first.curve) == 12
    assert len(first.ask_cpu_s) == 1


@pytest.mark.parametrize(
    "peer", [name for name in COMPARED if name not in ("ours", "old", "smac", "ax", "optuna_gp")]
)
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
    options = parser().parse_args(["--problems", "zdt1", "--optimisers", "random", "--seeds", "3"])
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


def test_run_of_another_checkout_imports_its_package(tmp_path: Path) -> None:
    """`hpo` is that of the checkout, `benchmarks` is that of this one."""
    (tmp_path / "hpo").mkdir()
    (tmp_path / "hpo" / "__init__.py").write_text("")
    says = "import json, benchmarks; print(json.dumps({'own': __file__, 'ours': benchmarks.__file__}))"
    (tmp_path / "hpo" / "where.py").write_text(says)
    record = in_process("hpo.where", {}, 60, tmp_path)
    assert (record["own"], record["ours"]) == (
        str(tmp_path / "hpo" / "where.py"),
        str(ROOT / "benchmarks" / "__init__.py"),
    )


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
    ahead = lead(Spread(ours, 0.03, 5), Spread(0.98, 0.04, 5), is_regret=regret)
    assert ahead.error == pytest.approx(0.05)
    assert ahead.is_level is level


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


def test_tables_compare_with_before_and_the_best_peer() -> None:
    """At 20 of 50 trials 1.0 has come to 0.4, 0.9 to 0.36, 0.8 to 0.32; random is no peer to compare with."""
    scores = {"ours": 1.0, "old": 1.1, "ax": 0.8, "optuna_gp": 0.7}
    records = [_record(peer, seed, score) for peer, score in scores.items() for seed in (0, 1)]
    results = Results([*records, _record("random", 0, 2.0), {"problem": "zdt1", "peer": "ax", "error": "x"}])
    assert score_table(results, 50).splitlines()[2].startswith("| zdt1 | 1.000 ±0.000 | 1.100 ±0.000 | 0.800")
    row = lead_table(results).splitlines()[2]
    assert row.startswith("| zdt1 | **-0.040 ±0.000** | **-0.060 ±0.000** | **-0.100 ±0.000** | ")
    assert row.endswith(" | +0.080 ±0.000 (Ax) | +0.120 ±0.000 (Ax) | +0.200 ±0.000 (Ax) | 2/2/2/2 |")


def test_beliefs_are_compared_on_the_same_runs() -> None:
    """None, a good one and a misleading one, after 20, 30 and 50 trials."""
    runs = [_record("ours", 0, 0.5), _record("right_belief", 0, 1.0), _record("wrong_belief", 0, 0.25)]
    results = Results(runs, peers=("ours", "right_belief", "wrong_belief"))
    assert belief_table(results, "ours").splitlines()[2].startswith("| zdt1 | 0.200 | 0.400 | 0.100 | 0.300")


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


@pytest.mark.parametrize("name", ["demo", "instructions"])
def test_a_table_of_fine_tunes_is_whole(name: str) -> None:
    """125 trials at nine rungs, the same configurations in both, and the best far below the untuned model."""
    table = load(TABLES / f"{name}.jsonl.gz")
    assert [trial.number for trial in table.trials] == list(range(125))
    assert table.rungs == pytest.approx([(place + 1) / 9 for place in range(9)])
    other = load(TABLES / "demo.jsonl.gz")
    assert [trial.params for trial in table.trials] == [trial.params for trial in other.trials]
    done = [trial for trial in table.trials if trial.failure is None]
    assert len(done) > 100
    assert all([own.share for own in trial.measured] == pytest.approx(table.rungs) for trial in done)
    losses = [trial.measured[-1].metrics["eval_loss"].value for trial in done]
    assert min(losses) < 0.9 * table.untuned["eval_loss"].value
    space = parse_space({key: expression(own) for key, own in table.parameters.items()})
    assert all(space.contains(dict(trial.params)) for trial in table.trials)
