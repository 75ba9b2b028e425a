"""Studies that continue from another, and sweeps over whole studies."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hpo.cli import main
from hpo.commands.arms import arms_of
from hpo.commands.sweep import expand
from hpo.comparison.arm_gains import gains_of
from hpo.controller.compose import compose_config
from hpo.controller.groups import CONF
from hpo.errors import InputError
from hpo.objectives import parse_objectives
from hpo.records import Metric
from hpo.study.journal import load_study
from hpo.study.state import Trial, TrialState

QUICK = ("openllama_3b", "lora_pareto_4")  # the others in the slow tier
SMALL_ALREADY = ("command", "decode")  # no fine-tunes: scale=demo has nothing to change
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def trial(number: int, loss: float, seconds: float) -> Trial:
    """A completed one."""
    made = Trial(f"{number:04d}", number, {"lora_rank": number}, "random", "000", "")
    made.metrics = {"loss": Metric(loss), "seconds": Metric(seconds)}
    return made


def test_gains_are_those_counted_by_hand() -> None:
    """Pilot (1, 4) and (3, 2); an arm adds (2, 1), which extends the front, (1, 4) again and (4, 4)."""
    objectives = parse_objectives({"loss": "min", "seconds": "min"})
    pilot = [trial(0, 1, 4), trial(1, 3, 2)]
    own = [trial(0, 2, 1), trial(1, 1, 4), trial(2, 4, 4)]
    gain = gains_of(pilot, {"own": own}, objectives)["own"]
    assert gain.extending == [0]
    # front of all: (1, 4), (2, 1); reference (2 + 0.1, 4 + 0.3); the pilot alone covers 1.1 x 0.3
    assert gain.volume == pytest.approx((1.1 * 0.3 + 0.1 * (4.0 - 1.0)) / (1.1 * 0.3))


def test_an_arm_is_the_study_with_its_results_known() -> None:
    """Own name and seed, the study's results, no arms of its own; its overrides come last."""
    raw = {"study": {"name": "pilot", "seed": 3}, "arms": {"random": ["strategy=random"]}}
    assert arms_of(raw) == {
        "random": [
            "~arms",
            "study.name=pilot-random",
            "study.known=[pilot]",
            "study.enqueue=[]",
            "study.seed=1003",
            "strategy=random",
        ]
    }


@pytest.mark.parametrize("given", [["random"], {"a b": []}, {"a": "strategy=random"}])
def test_arms_of_another_shape_are_named(given: object) -> None:
    """The key, what was found and what is expected."""
    with pytest.raises(InputError, match=r"arms.*expected \{name: \[override, ...\]\}"):
        arms_of({"study": {"name": "pilot", "seed": 0}, "arms": given})


def test_a_sweep_makes_a_study_per_combination() -> None:
    """The last key changes fastest; what is searched is not swept over."""
    searched = "space.lora_rank=range(2,4)"
    made = expand(["experiment=openllama_3b,openllama_7b", "seed=1,2", searched])
    assert [own[-1] for own in made] == [
        f"study.name=openllama_{size}-seed{seed}" for size in ("3b", "7b") for seed in (1, 2)
    ]
    assert made[1][:3] == ["experiment=openllama_3b", "seed=2", searched]
    assert expand([searched]) == [[searched]]


def test_two_studies_of_one_name_are_refused() -> None:
    """Long names would end alike."""
    with pytest.raises(InputError, match=r"study.name: got x+ for two studies"):
        expand([f"study.name={'x' * 64}", "seed=1,2"])


@pytest.mark.parametrize(
    ("experiment", "scale"),
    [
        pytest.param(name, scale, marks=[] if name in QUICK else [pytest.mark.slow])
        for name in EXPERIMENTS
        for scale in ("full", "demo")
        if scale == "full" or name not in SMALL_ALREADY
    ],
)
def test_every_experiment_can_be_planned(
    experiment: str, scale: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each study, at both scales and with its arms, is without a problem; nothing is downloaded."""
    overrides = [f"experiment={experiment}", f"scale={scale}", f"study.root={tmp_path}", "cluster=local"]
    raw, problems = compose_config(overrides)
    assert not problems
    for own in [[], *([*of, "study.known=[]"] for of in arms_of(raw).values())]:
        assert main(["plan", *overrides, *own]) == 0, capsys.readouterr().err
    assert "First batch" in capsys.readouterr().out


def test_what_a_scale_changes_is_an_experiments() -> None:
    """No file of `at_scale` is left over."""
    known = {f"{experiment}_demo" for experiment in EXPERIMENTS}
    assert {path.stem for path in (CONF / "at_scale").glob("*.yaml")} <= known
    for path in (CONF / "experiment").glob("*.yaml"):
        name = (yaml.safe_load(path.read_text()) or {}).get("study", {}).get("name", path.stem)
        assert name == path.stem


SHORT = (
    "experiment=none",
    "trainer=synthetic",
    "trainer.seconds=0.1",
    "cluster=local",
    "batch.size=1",
    "batch.refill=1",
)


@pytest.mark.slow
def test_a_study_that_stops_leaves_the_others_of_its_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first one fails in every attempt; the second one runs all the same, and the end names the first."""
    swept = ["trainer.fail_error=1,0", "budget.trials=1", "controller.identical_errors=2"]
    swept += ["report.automatic=false"]
    assert main(["tune", "-m", *SHORT, f"study.root={tmp_path}", *swept]) == 1
    assert (
        len(load_study(tmp_path / "study-fail_error0" / "journal.jsonl").in_state(TrialState.COMPLETED)) == 1
    )
    assert "1 of 2 studies of the sweep stopped: study-fail_error1" in capsys.readouterr().err


def test_a_study_that_is_wrong_keeps_its_sweep_from_beginning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing of the first study is there, when the second one cannot be."""
    assert main(["tune", "-m", *SHORT, f"study.root={tmp_path}", "batch.size=1,0"]) == 2
    assert "batch.size" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
