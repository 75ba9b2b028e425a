"""What `plan` says of a whole search space on a card, and of how long its trials train."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
from controlled_site import LIMITS
from rich.console import Console

from hpo.commands.plan import cost_lines, plan
from hpo.errors import InputError
from hpo.forecasts.cards import CardRates
from hpo.forecasts.coverage import Coverage, coverage
from hpo.forecasts.memory import CardMemory, Forecaster
from hpo.forecasts.time import Pace, pace, pace_line, training_cells
from hpo.ports import SiteLimits
from hpo.records import Metric
from hpo.space.space import parse_space
from hpo.study.state import Study, Trial, TrialState
from jobs.kinds.base import Unforetold
from jobs.memory.peak import chance

CARD = 100.0
RECIPE = {"trainer": {"rank": 1, "kind": "a", "epochs": 1}}
SPACE = {"rank": "range(1, 100)", "kind": "choice(a, b)", "epochs": "choice(1, 3)"}


@dataclass
class Kind(Unforetold):
    """As many bytes as its rank, with kind b twice that; 100 tokens an epoch, at 10 operations each."""

    base: float = 0.0

    def peak_memory(
        self, recipe: Mapping[str, Any], cache: str, card: float | None = None, factor: float = 1.0
    ) -> Mapping[str, float]:
        own = recipe["trainer"]
        least = self.base + own["rank"] * (2 if own["kind"] == "b" else 1)
        return {"total": least, "least": least, "chance": chance(least, card or 1.0)}

    def training_effort(
        self, recipe: Mapping[str, Any], cache: str, card: float | None = None, factor: float = 1.0
    ) -> Mapping[str, float]:
        tokens = 100.0 * recipe["trainer"]["epochs"]
        return {"tokens": tokens, "flops": 10 * tokens, "most": 0.0}

    @property
    def memory_keys(self) -> tuple[str, ...]:
        return ("trainer.rank", "trainer.kind")


def forecaster(base: float = 0.0, rates: CardRates | None = None) -> Forecaster:
    return Forecaster(Kind(base), parse_space(SPACE), RECIPE, "/no/cache", CARD / 2**30, rates)  # type: ignore[arg-type]


def test_a_space_is_told_by_shares_and_by_what_decides() -> None:
    """Nine in ten chances to fit 100 bytes has what is foretold to take 88: exp(-0.1 x 1.2816) of them.

    So kind a fits up to rank 87, kind b up to 43, and from 114 bytes on, rank 57 of kind b, nothing does.
    """
    found = coverage(forecaster(), CardMemory(CARD, 1.0, 0), Pace(100.0))
    assert found is not None
    assert 200 <= found.points <= 256  # of 400, some of them drawn twice
    assert found.fits == pytest.approx((87 + 43) / 200, abs=0.02)
    assert found.hopeless == pytest.approx((0 + 44) / 200, abs=0.02)
    by_kind, by_rank = found.limits
    shares = [int(share) for share in re.findall(r"(\d+)%", by_kind)]
    assert re.sub(r"\d+%", "", by_kind) == "kind: a , b "
    assert shares == pytest.approx([87, 43], abs=2)
    assert by_rank == "rank: up to 43 whatever the others are, up to 87 at best"
    assert found.seconds == pytest.approx(20, rel=0.05)  # 10 s an epoch, of 1 or 3
    assert found.longest == 30


def test_where_everything_fits_or_nothing_no_parameter_decides() -> None:
    """One line says it."""
    wide = coverage(forecaster(), CardMemory(1e4, 1.0, 0), Pace(None))
    assert wide is not None
    assert next(wide.lines()).startswith("of the search space 100% fits (")
    assert len(list(wide.lines())) == 1
    none = coverage(forecaster(base=1e6), CardMemory(CARD, 1.0, 0), Pace(100.0))
    assert none is not None
    assert next(none.lines()).startswith("of the search space 100% does not fit (")
    assert len(list(none.lines())) == 1


def test_lines_name_shares_limits_and_times() -> None:
    """Shares that are nothing are left out; a longest training that is the mean too."""
    told = Coverage(0.5, 0.25, 64, 3600.0, 7200.0, ["rank: up to 4"])
    assert list(told.lines()) == [
        "of the search space 50% fits, 25% may fit, 25% does not fit (64 configurations spread over it)",
        "  rank: up to 4",
        "  training takes 1h00m on average, the longest 2h00m",
    ]
    assert list(Coverage(1.0, 0.0, 1, 60.0, 60.0, []).lines()) == [
        "of the search space 100% fits",
        "  training takes 1m00s on average",
    ]


def test_without_a_card_nothing_is_told() -> None:
    """Neither of a kind that foretells nothing."""
    assert coverage(forecaster(), CardMemory(None, 1.0, 0), Pace(100.0)) is None
    silent = Forecaster(Unforetold(), parse_space(SPACE), RECIPE, "/no/cache", None)  # type: ignore[arg-type]
    assert coverage(silent, CardMemory(CARD, 1.0, 0), Pace(100.0)) is None


def test_the_given_rate_holds_until_trials_have_shown_theirs() -> None:
    """Two trials of one epoch and one of three, which read half the tokens foretold, at 5, 4 and 3 a second.

    So the next one of an epoch reads 50 tokens, at 10 operations each, at the median of 40 a second: 12.5 s.
    """
    own, memory = forecaster(rates=CardRates.given(1e-12)), CardMemory(CARD, 1.0, 0)
    study = Study(uid="000000", name="study")
    first = pace(own, study, memory)
    assert (first.flops_per_s, first.headroom, first.trials) == (1.0, 1.0, 0)
    one = own.effort(own.applied({"rank": 1, "kind": "a", "epochs": 1}), memory)
    assert training_cells(one, first) == {"training": "16m40s"}  # 1,000 operations at one a second
    assert "cluster.gpu_tflops" in pace_line(first)
    for number, (epochs, rate) in enumerate([(1, 5.0), (1, 4.0), (3, 3.0)]):
        name = f"{number:04d}"
        trial = Trial(name, number, {"rank": 1, "kind": "a", "epochs": epochs}, "sobol", "0000", "")
        trial.state = TrialState.COMPLETED
        tokens = 50.0 * epochs
        trial.metrics = {"tokens": Metric(tokens), "train_seconds": Metric(tokens / rate)}
        study.trials[name] = trial
    shown = pace(own, study, memory)
    assert shown == Pace(40.0, 0.5, 3, 4.0)
    assert shown.seconds(one) == pytest.approx(12.5)
    assert pace_line(shown).startswith("training: at the pace of 3 trials, 4 tokens/s")
    assert Pace(None).seconds(one) is None
    assert training_cells(None, shown) == {}


def test_a_card_that_could_be_faster_is_told_from_there_to_what_was_shown() -> None:
    """60 operations at one a second, by what was shown, take a minute; at four a second a quarter of it."""
    rates = CardRates(shown=1.0, best=4.0, about="for Xs")
    known = pace(forecaster(rates=rates), Study(uid="000000", name="study"), CardMemory(CARD, 1.0, 0))
    assert training_cells({"tokens": 10.0, "flops": 60.0, "most": 0.0}, known) == {"training": "15s to 1m00s"}
    assert pace_line(known).startswith("training: a forecast for Xs, which no trial has shown yet")
    found = coverage(forecaster(rates=rates), CardMemory(CARD, 1.0, 0), known)
    assert found is not None
    assert found.seconds is not None
    assert found.times == pytest.approx((found.seconds / 4, found.seconds))
    assert " to " in list(found.lines())[-1]


def test_a_bound_is_told_as_one() -> None:
    """Until trials have shown how many tokens there are."""
    effort = {"tokens": 10.0, "flops": 60.0, "most": 1.0}
    assert training_cells(effort, Pace(1.0)) == {"training": "at most 1m00s"}
    assert training_cells(effort, Pace(1.0, 1.0, 2, 1.0)) == {"training": "1m00s"}


def test_plan_tells_what_fits_a_v100_and_what_arms_add(tmp_path: Path) -> None:
    """The published study of LoRA fronts at full scale, neither model nor data here: 5 trials and twice 3."""
    console = Console(file=io.StringIO(), width=200)
    overrides = ["experiment=lora_pareto_2", "cluster=v100_16gb", f"study.root={tmp_path}"]
    assert plan([*overrides, f"cache={tmp_path / 'cache'}"], None, console) == 0
    file = console.file
    assert isinstance(file, io.StringIO)
    text = file.getvalue()
    assert "GPU memory: for cards of 15.77 GiB (cluster.gpu_memory_gb)" in text
    assert "training: a forecast for V100s at 5 TFLOP/s, by the published hours of" in text
    assert "to 41.7 TFLOP/s, a third of its peak" in text
    assert "of the search space 100% fits (64 configurations spread over it)" in text
    assert "training takes " in text
    by_trials = re.search(r"by the forecast they train for [\d.]+ to ([\d.]+) GPU-hours", text)
    by_arms = re.findall(
        r"then arm (\w+): 3 more trials by (\w+), 3 at a time, [\d.]+ to ([\d.]+) GPU-hours", text
    )
    assert by_trials is not None
    assert [arm[:2] for arm in by_arms] == [("random", "random"), ("proposed", "bo")]
    for _, _, hours in by_arms:
        assert float(hours) / 3 == pytest.approx(float(by_trials[1]) / 5, rel=0.01)


def test_a_budget_of_hours_is_told_in_trainings() -> None:
    """Two trainings of three hours at a time for a day: 16; of 40 GPU-hours, with two GPUs each, 40 / 6."""
    study = Study(uid="000000", name="study")
    site = cast(
        SiteLimits, {"default_minutes": 240, "minutes": 0, "nodes": 1, "warning_s": 0, "array_size": 9}
    )

    def told(training: tuple[float, ...] = (3 * 3600.0,), **budget: Any) -> str:
        limits = replace(LIMITS, trials=100, batch_size=2, **budget)
        return list(cost_lines(study, limits, site, 2, training))[1]

    assert told() == "by the forecast they train for 600 GPU-hours"
    assert told(wall_hours=24.0) == "by the forecast budget.wall_hours is good for 16 trainings"
    assert told((1800.0, 3 * 3600.0)) == "by the forecast they train for 100 to 600 GPU-hours"
    assert told(gpu_hours=40.0) == "by the forecast budget.gpu_hours is good for 6.7 trainings"


def test_an_arm_that_cannot_be_composed_is_told_by_plan(tmp_path: Path) -> None:
    """As `tune` would, by the arm and the key."""
    overrides = ["experiment=lora_pareto_2", f"study.root={tmp_path}", "arms.random=['budget.trails=3']"]
    with pytest.raises(InputError) as caught:
        plan([*overrides, "cluster=local"], None, Console(file=io.StringIO()))
    assert caught.value.problems[0][0] == "arms.random: budget.trails"
