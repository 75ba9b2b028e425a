"""Trials of decoding: settings reach the model, answers are kept by shard, wrong recipes are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_llama import make_tokenizer

from hpo.paths import TrialPaths
from hpo.records import AttemptRecord, Metric, TrialResult, read_json, write_json
from jobs import run_decode
from jobs.evaluation import shards as parts_module
from jobs.kinds.decode import Decode
from jobs.prepare import decode as prepare_decode
from jobs.recipes.decode import parse

pytestmark = pytest.mark.usefixtures("keep_handlers")

MakeTrial = Callable[..., TrialPaths]
CONF = Path(__file__).resolve().parents[3] / "conf"
QUESTIONS = ["What is 2 + 3?", "And 10?", "a b c", "One more question than three: how many?"]
TOKENS = 12


class Killed(BaseException):
    """The end of a process, as far as the trial's own code can tell."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four questions and a task that generates text until a sign that the tiny model often writes."""
    made = tmp_path / "tasks"
    made.mkdir()
    rows = [{"question": question, "answer": "x"} for question in QUESTIONS]
    (made / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        "task": "ask",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": "questions.jsonl"}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["#"], "max_gen_toks": TOKENS},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    (made / "ask.yaml").write_text(yaml.safe_dump(task))
    choice = {**task, "task": "pick", "output_type": "multiple_choice", "doc_to_choice": ["a", "b"]}
    (made / "sub").mkdir()
    (made / "sub" / "pick.yaml").write_text(yaml.safe_dump(choice))
    return made


@pytest.fixture
def recipe(shipped: dict[str, Any], tiny_model: Path, folder: Path) -> dict[str, Any]:
    """The tiny model, greedy, two documents a shard."""
    trainer = yaml.safe_load((CONF / "trainer" / "decode.yaml").read_text())
    del trainer["_target_"]
    tasks = {"names": ["ask"], "folder": str(folder), "metrics": None, "limit": None, "fewshot": 0}
    tasks |= {"chat_template": False, "shard_documents": 2}
    return {
        "model": shipped["model"] | {"name": "tiny", "path": str(tiny_model)},
        "data": shipped["data"],
        "trainer": trainer | {"quantisation": "none", "do_sample": False},
        "evaluation": {"batch_size": 2, "bases": ["4bit"], "tasks": tasks},
    }


def run(paths: TrialPaths) -> int:
    """Run an attempt in this process."""
    return run_decode.main(str(paths.folder.parent.parent), "000", paths.folder.name)


def answers(paths: TrialPaths) -> list[str]:
    """Of every document, from the kept shards."""
    files = sorted(paths.evaluation.rglob("*.json"))
    return [answer for file in files for answer in read_json(file)["answers"]]


def one_by_one(model_folder: Path, stop: int, **settings: Any) -> list[list[int]]:
    """What the same model writes to each question by itself, by transformers alone; ends at a token."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    said = []
    for question in QUESTIONS:
        asked = tokenizer(question, return_tensors="pt")
        ends = {"eos_token_id": [tokenizer.eos_token_id, stop], "pad_token_id": tokenizer.pad_token_id}
        found = model.generate(**asked, **ends, max_new_tokens=TOKENS, do_sample=False, **settings)
        said.append(found[0][asked["input_ids"].shape[1] :].tolist())
    return said


def uneven(answers: list[list[int]], stop: int) -> bool:
    """Whether some of them end at the stop sign, and others do not."""
    return len({stop in tokens for tokens in answers}) == 2


def test_settings_of_sampling_are_passed_only_where_it_samples(recipe: dict[str, Any]) -> None:
    """Greedy decoding leaves them out; the rest is as the task says."""
    assert parse(recipe).trainer.decoding == {"do_sample": False, "repetition_penalty": 1.0, "num_beams": 1}
    recipe["trainer"] |= {"do_sample": True, "temperature": 0.5, "top_p": 0.9, "top_k": 7, "max_gen_toks": 9}
    assert parse(recipe).trainer.decoding == {
        "do_sample": True,
        "repetition_penalty": 1.0,
        "num_beams": 1,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 7,
        "max_gen_toks": 9,
    }


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no task": ({"evaluation": {"tasks": None}}, "evaluation.tasks", "that generates text"),
    "a task of choices": ({"tasks": {"names": ["pick"]}}, "evaluation.tasks.names", "pick (multiple_choice)"),
    "other base too": ({"evaluation": {"bases": ["4bit", "16bit"]}}, "evaluation.bases", "expected [4bit]"),
    "no adapter": ({"trainer": {"adapter": "nowhere"}}, "trainer.adapter", "adapter_config.json"),
    "no temperature": ({"trainer": {"temperature": 0}}, "trainer.temperature", "more than 0"),
    "share above 1": ({"trainer": {"top_p": 1.1}}, "trainer.top_p", "1"),
    "no beam": ({"trainer": {"num_beams": 0}}, "trainer.num_beams", "at least 1"),
    "misspelt key": ({"trainer": {"temprature": 1}}, "trainer.temprature", "unknown key"),
    "no model": ({"model": {"path": "./no/model"}}, "model.path", "no/model"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_recipe_is_told_before_anything_starts(case: str, recipe: dict[str, Any]) -> None:
    """Each by its key, with what was expected."""
    changes, key, expected = WRONG[case]
    for group, values in changes.items():
        place = recipe["evaluation"]["tasks"] if group == "tasks" else recipe[group]
        place |= values
    found = Decode().problems(recipe)
    assert [place for place, _ in found] == [key]
    assert expected in found[0][1]


def test_metrics_are_the_tasks_and_what_it_costs(recipe: dict[str, Any]) -> None:
    """The objectives that a study of decoding can have; no data of a fine-tune is needed for them."""
    expected = ["ask_exact_match", "seconds_per_document", "eval_seconds", "start_seconds", "peak_memory_gib"]
    del recipe["data"]
    assert list(Decode().metrics(recipe)) == expected
    assert Decode().problems(recipe) == []


@pytest.mark.slow
def test_killed_between_shards_it_goes_on_to_the_same_answers(
    recipe: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sampled answers too: of the seed of the trial and the shard alone."""
    recipe["trainer"] |= {"do_sample": True, "temperature": 1.5}
    undisturbed, killed, other = (make_trial(recipe, name, 3 + (name == "3")) for name in "123")
    assert run(undisturbed) == run(other) == 0
    written: list[str] = []

    def write(path: Path, record: Any) -> None:
        write_json(path, record)
        written.append(path.name)
        if len(written) == 1:
            raise Killed

    monkeypatch.setattr(parts_module, "write_json", write)
    with pytest.raises(Killed):
        run(killed)
    assert run(killed) == 0
    assert len(written) == len(set(written)) == 2
    assert answers(killed) == answers(undisturbed) != answers(other)
    record = AttemptRecord.read(killed.attempt(2))
    assert (record.from_step, record.saved_step) == (1, 2)
    metrics = TrialResult.read(killed.metrics).metrics
    assert set(metrics) == set(Decode().metrics(recipe))
    kept = sum(read_json(file)["seconds"] for file in killed.evaluation.rglob("*.json"))
    assert metrics["eval_seconds"].value == pytest.approx(kept)
    assert metrics["seconds_per_document"] == Metric(metrics["eval_seconds"].value / len(QUESTIONS))


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"num_beams": 1}, {"num_beams": 3, "repetition_penalty": 1.3}], ids=str)
def test_answers_are_those_of_the_model_asked_one_by_one(
    settings: dict[str, Any], recipe: dict[str, Any], make_trial: MakeTrial, tiny_model: Path, folder: Path
) -> None:
    """Batches, padding, beams and stop signs change nothing, not even where one answer ends early."""
    tokenizer = make_tokenizer()
    free = one_by_one(tiny_model, tokenizer.eos_token_id, **settings)
    candidates = sorted({token for tokens in free for token in tokens[1:]} - {tokenizer.eos_token_id})
    stop = next(token for token in candidates if uneven(one_by_one(tiny_model, token, **settings), token))
    until = tokenizer.decode([stop])
    task = yaml.safe_load((folder / "ask.yaml").read_text())
    task["generation_kwargs"]["until"] = [until]
    (folder / "ask.yaml").write_text(yaml.safe_dump(task))
    recipe["trainer"] |= settings
    recipe["evaluation"] |= {"batch_size": 4}
    recipe["evaluation"]["tasks"]["shard_documents"] = 4
    paths = make_trial(recipe)
    assert run(paths) == 0
    expected = one_by_one(tiny_model, stop, **settings)
    texts = [tokenizer.decode(tokens, skip_special_tokens=True).split(until)[0] for tokens in expected]
    assert answers(paths) == texts
    assert uneven(expected, stop)


@pytest.mark.slow
def test_everything_is_in_the_cache_before_the_first_trial(recipe: dict[str, Any], tmp_path: Path) -> None:
    """`prefetch` quantises the base and fetches the documents; `doctor` sees it."""
    recipe["trainer"]["quantisation"] = "nf4"
    cache, file = tmp_path / "cache", tmp_path / "recipe.json"
    file.write_text(json.dumps(recipe))
    assert Decode().check(recipe, str(cache))[0][0] == "warn"
    assert prepare_decode.main(str(file), str(cache)) == 0
    assert Decode().check(recipe, str(cache)) == [("ok", "tiny is in the cache", "")]
    assert any((cache / "datasets").iterdir())
