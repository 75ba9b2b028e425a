"""From a study to the specs of its trials, in a space with conditions, derived values and constraints."""

from typing import Any

from hpo.controller.proposer import SearchProposer
from hpo.objectives import parse_objectives
from hpo.space.space import parse_space
from hpo.study.state import Study, Trial

SPACE = {
    "lora_rank": "range(2, 32, step=2)",
    "alpha_ratio": "tag(auxiliary, interval(0.5, 4))",
    "lora_alpha": "derive(round(alpha_ratio * lora_rank))",
    "optimizer": "choice(adamw, sgd)",
    "args.momentum": "interval(0, 1)",
    "conditions": {"args.momentum": "optimizer == 'sgd'"},
    "constraints": ["lora_rank + lora_alpha <= 64"],
}
RECIPE = {"trainer": {"lora_rank": 8, "lora_alpha": 16, "optimizer": "adamw"}, "args": {"momentum": 0.9}}


def test_recipes_hold_what_is_active_and_not_auxiliary() -> None:
    """An inactive parameter leaves the recipe's own value; parameters of a trial hold the auxiliary one."""
    proposer = SearchProposer(
        space=parse_space(SPACE),
        objectives=parse_objectives({"loss": "min"}),
        strategy={"name": "sobol"},
        recipe=RECIPE,
        seed=0,
        enqueue=[],
        cache="/cache",
    )
    study = Study(uid="000000", name="study")
    specs = [proposed.spec for proposed in proposer.propose(study, 16)]
    assert {spec.params["optimizer"] for spec in specs} == {"adamw", "sgd"}
    for spec in specs:
        rank, ratio = int(spec.params["lora_rank"]), float(spec.params["alpha_ratio"])
        momentum = spec.params.get("args.momentum", 0.9)
        expected: dict[str, Any] = {
            "lora_rank": rank,
            "lora_alpha": round(ratio * rank),
            "optimizer": spec.params["optimizer"],
        }
        assert spec.recipe == {"trainer": expected, "args": {"momentum": momentum}}
        assert ("args.momentum" in spec.params) == (spec.params["optimizer"] == "sgd")
        assert rank + expected["lora_alpha"] <= 64


def test_a_study_goes_on_with_other_trials() -> None:
    """What was proposed before comes back from the journal's params, absent ones included."""
    proposer = SearchProposer(
        parse_space(SPACE), parse_objectives({"loss": "min"}), {"name": "sobol"}, RECIPE, 0, [], "/cache"
    )
    study = Study(uid="000000", name="study")
    first = [proposed.spec for proposed in proposer.propose(study, 8)]
    for spec in first:
        study.trials[spec.trial] = Trial(spec.trial, spec.number, dict(spec.params), "sobol", "0000", "")
    again = [proposed.spec for proposed in proposer.propose(study, 8)]
    assert [spec.number for spec in again] == list(range(8, 16))
    assert not {str(spec.params) for spec in first} & {str(spec.params) for spec in again}


def test_earlier_studies_are_learned_from_as_the_journal_keeps_them() -> None:
    """Known results are this study's own: no initial design is left. Related ones say where to begin."""
    recipe = {"trainer": {"x": 0.0}}
    space, objectives = parse_space({"x": "interval(0, 1)"}), parse_objectives({"loss": "min"})
    proposer = SearchProposer(space, objectives, {"name": "bo"}, recipe, 0, [], "/cache")
    trials = [{"params": {"x": x / 8}, "metrics": {"loss": [(x / 8 - 0.4) ** 2, None]}} for x in range(9)]

    def origins(key: str) -> list[str]:
        study = Study(uid="0", name="s", earlier={key: [{"study": "before", "trials": trials}]})
        return [proposed.origin for proposed in proposer.propose(study, 2)]

    assert origins("known") == ["model", "model"]
    assert origins("related") == ["related", "centre"]


def test_enqueued_trials_may_leave_values_out() -> None:
    """What is missing is where the study's own Sobol sequence has it; a replay from any trial on agrees."""
    given = [{"lora_rank": 8}, {}, {"optimizer": "sgd", "lora_rank": 4}]

    def proposer(enqueue: list[Any]) -> SearchProposer:
        objectives = parse_objectives({"loss": "min"})
        return SearchProposer(parse_space(SPACE), objectives, {"name": "sobol"}, RECIPE, 7, enqueue, "/cache")

    study = Study(uid="000000", name="study")
    whole = [proposed.spec.params for proposed in proposer(given).propose(study, 4)]
    assert [params["lora_rank"] for params in (whole[0], whole[2])] == [8, 4]
    assert [parse_space(SPACE).problems(params) for params in whole] == [[]] * 4
    for number in range(2):
        study.trials[f"{number:04}"] = Trial(f"{number:04}", number, dict(whole[number]), "enqueued", "0", "")
    again = [proposed.spec.params for proposed in proposer(given).propose(study, 2)]
    assert again == whole[2:]
