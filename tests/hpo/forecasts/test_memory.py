"""What is foretold of whether configurations fit the card, and what the search makes of it."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import save_file

from hpo.controller.proposer import SearchProposer
from hpo.forecasts.memory import CardMemory, Forecaster, memory_cells, memory_line
from hpo.models.feasibility_prior import GridAxis, interpolated, prior_at_points
from hpo.objectives import parse_objectives
from hpo.ports import TrialKind
from hpo.records import Metric, Params
from hpo.space.space import SearchSpace, parse_space
from hpo.study.state import Study, Trial, TrialState
from jobs.kinds.qlora import Qlora

CONF = Path(__file__).resolve().parents[3] / "conf"
GIB = 2**30
SPACE = {
    "learning_rate": "tag(log, interval(1e-5, 1e-3))",
    "lora_rank": "range(8, 64, step=8)",
    "quantisation": "choice(nf4, none)",
}


@pytest.fixture
def recipe(tmp_path: Path) -> dict[str, Any]:
    """Llama-3-8B as its configuration tells it: 4-bit it trains in 8 GiB, in half precision hardly in 16."""
    files = {"model": "smollm2_135m", "data": "demo", "trainer": "qlora", "evaluation": "loss"}
    made = {
        group: yaml.safe_load((CONF / group / f"{name}.yaml").read_text()) for group, name in files.items()
    }
    config = {
        "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({"none": np.zeros(1)}, tmp_path / "model.safetensors")
    made["model"] |= {"name": "llama", "path": str(tmp_path)}
    return made


def forecaster(recipe: dict[str, Any], gib: float | None, space: dict[str, str] | None = None) -> Forecaster:
    return Forecaster(Qlora(), parse_space(space or SPACE), recipe, "/no/cache", gib)


def study(space: SearchSpace, card_gib: float | None = None, ratio: float | None = None) -> Study:
    """Twelve finished trials: the loss falls with the rank, and most with the base that is not quantised."""
    made = Study(uid="000000", name="study")
    for number in range(12):
        params: Params = {
            "learning_rate": 10 ** (-5 + 2 * (number * 5 % 12) / 12),
            "lora_rank": 8 * (1 + number * 3 % 8),
            "quantisation": "nf4",
        }
        trial = Trial(f"{number:04d}", number, dict(params), "sobol", "0000", "", state=TrialState.COMPLETED)
        trial.metrics = {"eval_loss": Metric(2.0 - int(params["lora_rank"]) / 64)}
        if card_gib is not None:
            trial.metrics["gpu_memory_gib"] = Metric(card_gib)
        if ratio is not None:
            context = 0.45e9 / GIB
            trial.metrics["foretold_memory_gib"] = Metric(5.0 + context)
            trial.metrics["training_memory_gib"] = Metric(5.0 * ratio + context)
        made.trials[trial.id] = trial
    return made


def test_an_outlook_tells_what_fits_from_what_does_not(recipe: dict[str, Any]) -> None:
    """At two deviations either way it ends: of the model's error, a tenth."""
    own = forecaster(recipe, 12.0)
    fit_probability = own.fit_probability(Study())
    assert fit_probability is not None
    assert fit_probability.names == ("lora_rank", "quantisation")
    for quantisation, expected in (("nf4", 0.97725), ("none", 0.02275)):
        params: Params = {"lora_rank": 8, "quantisation": quantisation, "learning_rate": 1e-4}
        assert fit_probability(params) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("gib", "space"),
    [
        (None, SPACE),  # the card is not known
        (80.0, SPACE),  # everything fits
        (2.0, SPACE),  # nothing does
        (16.0, {"learning_rate": SPACE["learning_rate"]}),  # nothing that matters is tuned
    ],
)
def test_no_outlook_where_it_would_not_tell_points_apart(
    gib: float | None, space: dict[str, str], recipe: dict[str, Any]
) -> None:
    assert forecaster(recipe, gib, space).fit_probability(Study()) is None


def test_finished_trials_tell_the_card_and_correct_the_forecast(recipe: dict[str, Any]) -> None:
    """The journal's metrics alone: the same study gives the same. What the user names comes first."""
    own = forecaster(recipe, None)
    there = study(own.space, card_gib=15.5, ratio=1.25)
    assert own.memory(there) == CardMemory(15.5 * GIB, pytest.approx(1.25), 12)  # type: ignore[arg-type]
    assert forecaster(recipe, 16.0).memory(there).card == 16.0 * GIB
    plain = own.peak(recipe, CardMemory(None, 1.0, 0))
    corrected = own.peak(recipe, own.memory(there))
    assert plain is not None
    assert corrected is not None
    assert corrected["least"] - 0.45e9 == pytest.approx(1.25 * (plain["least"] - 0.45e9))


def proposer(recipe: dict[str, Any], gib: float | None) -> SearchProposer:
    own = forecaster(recipe, gib)
    objectives = parse_objectives({"eval_loss": "min"})
    return SearchProposer(own.space, objectives, {"name": "bo"}, recipe, 0, [], "/no/cache", own)


def test_the_search_keeps_out_of_what_is_foretold_not_to_fit(recipe: dict[str, Any]) -> None:
    """Nobody has tried the base in half precision: without an outlook the search does, with it not."""

    def tried(gib: float | None) -> set[object]:
        own = proposer(recipe, gib)
        return {each.spec.params["quantisation"] for each in own.propose(study(own.space), 2)}

    assert "none" in tried(None)
    assert tried(16.0) == {"nf4"}


def test_a_replay_proposes_the_same_and_trials_get_the_factor(recipe: dict[str, Any]) -> None:
    """Another process, the same journal: the same proposals, with what was learned of memory in the spec."""
    there = study(parse_space(SPACE), card_gib=16.0, ratio=1.1)
    first, second = ([each.spec for each in proposer(recipe, None).propose(there, 2)] for _ in range(2))
    assert first == second
    assert [spec.memory_factor for spec in first] == [pytest.approx(1.1)] * 2


def test_between_knots_a_belief_is_linear() -> None:
    """By hand, on knots 0.25 and 0.75 of a number and two choices: values 0 and 1, 4 and 8."""
    axes = [
        GridAxis(1, torch.tensor([0.25, 0.75], dtype=torch.float64), ordered=True),
        GridAxis(0, torch.tensor([0.25, 0.75], dtype=torch.float64), ordered=False),
    ]
    table = torch.tensor([0.0, 1.0, 4.0, 8.0], dtype=torch.float64)
    X = torch.tensor([[0.2, 0.5], [0.8, 0.5], [0.8, 0.9]], dtype=torch.float64, requires_grad=True)
    values = interpolated(table, axes, X)
    assert values.tolist() == [2.0, 4.5, 8.0]
    (slope,) = torch.autograd.grad(values.sum(), X)
    assert slope.tolist() == [[0.0, 8.0], [0.0, 14.0], [0.0, 0.0]]


def test_a_prior_that_names_its_parameters_is_asked_on_a_grid_of_them() -> None:
    """Nine of 64 ranks by two choices; at every knot it is the prior itself."""

    class Prior:
        names = ("rank", "kind")
        asked = 0

        def __call__(self, params: Params) -> float:
            self.asked += 1
            return float(params["rank"]) / 64 * (1.0 if params["kind"] == "a" else 0.5)

    space = parse_space({"kind": "choice(a, b)", "lr": "interval(0, 1)", "rank": "range(1, 64)"})
    prior = Prior()
    at_points = prior_at_points(prior, space)
    assert prior.asked == 18
    rows = [{"kind": kind, "lr": 0.3, "rank": rank} for kind in "ab" for rank in (1, 20, 33, 64)]
    X = torch.tensor([space.to_unit(row) for row in rows], dtype=torch.float64)
    assert at_points(X).tolist() == pytest.approx([prior(row) for row in rows])  # it is linear
    assert prior.asked == 18 + len(rows)


def test_any_other_prior_is_asked_point_by_point() -> None:
    """A function of the user's own; and one whose parameter only exists under a condition."""
    space = parse_space(
        {"kind": "choice(a, b)", "rank": "range(1, 64)", "conditions": {"rank": "kind == 'a'"}}
    )
    prior = prior_at_points(lambda params: 0.1 if "rank" in params else 0.9, space)
    assert prior(torch.tensor([[0.25, 0.5], [0.75, 0.5]], dtype=torch.float64)).tolist() == [0.1, 0.9]


def test_plan_tells_what_is_foretold_and_what_it_goes_by() -> None:
    """With a card the choice and, if it is in doubt, the chance; without one the range."""
    peak = {"total": 10.0 * GIB, "least": 4.0 * GIB}
    assert memory_cells(None) == {}
    assert memory_cells(peak) == {"GPU memory": "4.0 to 10.0 GiB"}
    chosen = peak | {"micro_batch": 2.0, "checkpointing": 1.0, "chance": 0.6}
    assert memory_cells(chosen) == {
        "GPU memory": "10.0 GiB",
        "micro-batch": "2, checkpointed, fits by 60%",
    }
    assert memory_cells(chosen | {"checkpointing": 0.0, "chance": 0.99})["micro-batch"] == "2"
    assert "cluster.gpu_memory_gb" in memory_line(CardMemory(None, 1.0, 0), given=False)
    assert memory_line(CardMemory(15.75 * GIB, 1.08, 5), given=False) == (
        "GPU memory: for cards of 15.75 GiB (the smallest card so far); "
        "corrected by the peaks of 5 trials, 1.08 times the forecast"
    )


@pytest.mark.parametrize("name", [path.stem for path in sorted((CONF / "trainer").glob("*.yaml"))])
def test_every_trial_kind_answers_all_that_is_asked_of_one(name: str) -> None:
    """The protocol's members, and a forecast of memory that may be nothing at all."""
    target = yaml.safe_load((CONF / "trainer" / f"{name}.yaml").read_text())["_target_"]
    module, _, attribute = target.rpartition(".")
    kind = getattr(importlib.import_module(module), attribute)()
    wanted = [member for member in vars(TrialKind) if not member.startswith("_")]
    assert [member for member in wanted if not hasattr(kind, member)] == []
    assert kind.peak_memory({}, "/no/cache", 1e9, 1.0) is None
    assert kind.memory_seen([{}])["factor"] == 1.0
    assert kind.memory_seen([{}])["trials"] == 0
