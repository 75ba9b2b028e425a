"""Sample generations: plain peft's own answers, kept batch by batch, prompts that cannot be asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_llama import CHAT_TEMPLATE

from hpo.paths import TrialPaths
from hpo.records import TrialResult, read_json, read_jsonl
from jobs import run_trial
from jobs.data.tokens import Tokens
from jobs.errors import RecipeError
from jobs.evaluation.baseline import read_further, read_samples, write_further, write_samples
from jobs.evaluation.prompts import written
from jobs.evaluation.questions import Question, questions_of
from jobs.evaluation.samples import Writer, sample
from jobs.evaluation.shards import UnstoredShards
from jobs.kinds.qlora import Qlora
from jobs.models.precision import of_this_machine
from jobs.prepare import trials as prepare
from jobs.recipes.decode import examine as examine_decode
from jobs.recipes.recipe import parse

pytestmark = pytest.mark.usefixtures("keep_handlers")

MakeTrial = Callable[..., TrialPaths]
PROMPTS: list[Any] = [{"prompt": "3:"}, {"prompt": "a much longer one, of many signs"}, "12x"]
MOST = 12


class Killed(BaseException):
    """The end of a process, as far as the trial's own code can tell."""


@pytest.fixture
def asking(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe of seconds, which learns to write "ab" and to end; three prompts, two a batch."""
    rows = [{"prompt": f"{n}:", "completion": "ab"} for n in range(40)]
    Path(recipe["data"]["path"]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe["trainer"] |= {"max_steps": 8, "learning_rate": 0.02, "lora_rank": 8, "lora_alpha": 16}
    recipe["evaluation"] |= {"batch_size": 2, "samples": {"prompts": PROMPTS, "max_new_tokens": MOST}}
    return recipe


def run(paths: TrialPaths) -> int:
    """Run an attempt in this process."""
    return run_trial.main(str(paths.folder.parent.parent), "000", paths.folder.name)


def plainly(recipe: dict[str, Any], adapter: Path | None = None) -> list[dict[str, Any]]:
    """Answers by transformers and peft alone: one prompt at a time, without padding."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    four_bit = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    origin = recipe["model"]["path"]
    model: Any = AutoModelForCausalLM.from_pretrained(
        origin, quantization_config=four_bit, dtype=torch.float32
    )
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter)).eval()
    tokenizer, told = AutoTokenizer.from_pretrained(origin), []
    for asked in PROMPTS:
        prompt = asked if isinstance(asked, str) else asked["prompt"]
        read = tokenizer(prompt, return_tensors="pt")
        found = model.generate(**read, max_new_tokens=MOST, do_sample=False)[0, read["input_ids"].shape[1] :]
        tokens = found.tolist()
        ended = tokens[-1] == tokenizer.eos_token_id
        answer, count = tokenizer.decode(tokens, skip_special_tokens=True), len(tokens) - ended
        sample = {"asked": asked, "prompt": prompt, "answer": answer, "tokens": count, "ended": ended}
        told.append(sample)
    return told


def closed_up(text: str) -> str:
    """A text as it was before the tests' tokenizer set its signs apart."""
    return text.replace(" ", "")


def dies_in(call: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The process ends within a certain batch of prompts; the sizes of all that are asked."""
    real, asked = Writer.write, list[int]()

    def write(self: Writer, prompts: Any) -> Any:
        asked.append(len(prompts))
        if len(asked) == call:
            raise Killed
        return real(self, prompts)

    monkeypatch.setattr(Writer, "write", write)
    return asked


@pytest.mark.slow
def test_answers_are_those_of_plain_peft_though_the_trial_was_interrupted(
    asking: dict[str, Any],
    make_trial: MakeTrial,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The base is asked once; a trial that dies in its second batch then trains no step and asks that one."""
    paths, file = make_trial(asking), tmp_path / "recipe.json"
    file.write_text(json.dumps(asking))
    assert Qlora().samples(asking, str(cache)) is None
    assert prepare.main(str(file), str(cache)) == 0
    base = Qlora().samples(asking, str(cache))
    assert base is not None
    assert (base["quantisation"], base["max_new_tokens"]) == ("nf4", MOST)
    assert base["samples"] == plainly(asking)
    asked = dies_in(2, monkeypatch)
    with pytest.raises(Killed):
        run(paths)
    assert not paths.samples.exists()
    assert run(paths) == 0
    assert asked == [2, 1, 1]
    assert {line["step"] for line in read_jsonl(paths.progress) if line["attempt"] == 2} == {0, 8}
    tuned = read_json(paths.samples)["samples"]
    assert tuned == plainly(asking, paths.adapter)
    assert [(one["ended"], one["tokens"]) for one in base["samples"]] == [(False, MOST)] * 3
    assert len({one["answer"] for one in tuned if one["ended"]}) == 2


@pytest.mark.slow
def test_card_that_is_too_small_for_samples_spoils_no_trial(
    asking: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even one prompt fits: there is a result, and no samples."""
    asking["trainer"]["max_steps"] = 1
    paths, tried = make_trial(asking), list[int]()

    def write(self: Writer, prompts: Any) -> Any:
        tried.append(len(prompts))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")

    monkeypatch.setattr(Writer, "write", write)
    assert run(paths) == 0
    assert tried == [2, 1]
    assert "eval_loss" in TrialResult.read(paths.metrics).metrics
    assert not paths.samples.exists()


def test_other_prompts_are_asked_anew_and_measure_nothing_anew(
    asking: dict[str, Any], tmp_path: Path
) -> None:
    """Base answers belong to prompts, length and template; the other metrics of the base do not."""
    asking["evaluation"]["bases"] = ["4bit", "16bit"]
    first, cache = parse(asking), tmp_path / "own"
    told, measured = {"schema_version": 1, "samples": []}, {"eval_loss_16bit": 4.5}
    write_samples(first, cache, told)
    write_further(first, cache, measured)
    assert read_samples(first, cache) == told
    for key, value in (("prompts", ["5:"]), ("max_new_tokens", 5)):
        other = {**asking["evaluation"]["samples"], key: value}
        changed = parse({**asking, "evaluation": {**asking["evaluation"], "samples": other}})
        assert read_samples(changed, cache) is None
        assert read_further(changed, cache) == measured
    in_other_words = parse({**asking, "data": {**asking["data"], "template": "human_assistant"}})
    assert read_samples(in_other_words, cache) is None


def test_prompt_that_the_model_has_no_places_for_is_refused(tiny_model: Path, tokenizer: Any) -> None:
    """The tiny model takes 256 tokens, prompt and answer together; of held-out examples such are left out."""
    from transformers import AutoModelForCausalLM

    writer = Writer(AutoModelForCausalLM.from_pretrained(tiny_model), tokenizer, of_this_machine(), 56)
    fits, too_long = Question("a", "a", [1] * 200), Question("b", "b", [1] * 201)
    held_out = [replace(fits, expected="c"), replace(too_long, expected="d")]
    assert writer.fitting([fits, *held_out]) == [fits, held_out[0]]
    with pytest.raises(RecipeError, match="of 201 tokens and max_new_tokens=56, expected at most 256"):
        writer.fitting([fits, too_long])


def test_held_out_examples_are_asked_with_their_answers_beside(
    recipe: dict[str, Any], tmp_path: Path
) -> None:
    """After the fixed prompt two rows, each with its own answer; a changed data set is asked anew."""
    recipe["evaluation"]["samples"] = {"prompts": ["x"], "max_new_tokens": 3, "validation": 2}
    file, cache = tmp_path / "recipe.json", tmp_path / "own"
    file.write_text(json.dumps(recipe))
    assert prepare.main(str(file), str(cache)) == 0
    told = Qlora().samples(recipe, str(cache))
    assert told is not None
    fixed, *known = told["samples"]
    assert "expected" not in fixed
    numbers = [int(closed_up(one["asked"]).removesuffix(":")) for one in known]
    assert len(set(numbers)) == 2
    expected = ["ok" * (1 + number % 5) for number in numbers]
    assert [closed_up(one["expected"]) for one in known] == expected
    assert all(one["whole"] for one in known)
    Path(recipe["data"]["path"]).write_text('{"prompt": "a", "completion": "b"}\n' * 40)
    assert Qlora().samples(recipe, str(cache)) is None
    assert Qlora().samples({**recipe, "data": {**recipe["data"], "path": None}}, str(cache)) is None


def test_examples_that_ask_nothing_are_passed_over_and_cut_answers_told(
    recipe: dict[str, Any], tokenizer: Any
) -> None:
    """Of five held-out examples plain text and an empty prompt ask nothing; of the others the first three are
    wanted, and there are three: one ends, one was cut at 8 tokens, one is shorter and ends without a mark."""
    end, signs = tokenizer.eos_token_id, dict[str, list[int]]()
    for text in ("no prompt", "12:", "okokok", " "):
        signs[text] = tokenizer(text, add_special_tokens=False)["input_ids"]
    held_out = [
        Tokens(signs["no prompt"], 0),
        Tokens([*signs["12:"], *signs["okokok"][:4], end], 3),
        Tokens([*signs[" "], *signs["okokok"]], 1),
        Tokens([*signs["12:"], *signs["okokok"][:5]], 3),
        Tokens([*signs["12:"], *signs["okokok"][:2]], 3),
    ]
    recipe["data"]["max_length"] = 8
    recipe["evaluation"]["samples"] = {"prompts": [], "max_new_tokens": 3, "validation": 9}
    found = questions_of(parse(recipe), tokenizer, held_out)
    assert [(closed_up(one.prompt), closed_up(one.expected or ""), one.whole) for one in found] == [
        ("12:", "okok", True),
        ("12:", "okoko", False),
        ("12:", "ok", True),
    ]
    assert [list(one.ids) for one in found] == [signs["12:"]] * 3


def test_where_nothing_can_be_asked_nothing_is_answered(
    recipe: dict[str, Any], tiny_model: Path, tokenizer: Any
) -> None:
    from transformers import AutoModelForCausalLM

    recipe["evaluation"]["samples"] = {"prompts": [], "max_new_tokens": 3, "validation": 2}
    model, machine = AutoModelForCausalLM.from_pretrained(tiny_model), of_this_machine()
    told = sample(model, tokenizer, parse(recipe), [], machine, UnstoredShards(), lambda: None)
    assert told["samples"] == []


@pytest.mark.parametrize(
    ("template", "asked", "expected"),
    [
        ("completion", {"question": "Why?\n"}, "Why?\n"),
        ("human_assistant", {"prompt": "Why?"}, "### Human: Why?\n### Assistant:"),
        ("chat", {"messages": [{"role": "user", "content": "Why?"}]}, "<u>Why?</s><a>"),
        ("Q {{ a }} {% generation %}{{ b }}{% endgeneration %}", {"a": "Why?", "b": ""}, "Q Why? "),
        (
            "alpaca",
            {"instruction": "Shorten.", "input": "Why not?"},
            "Below is an instruction that describes a task, paired with an input that provides further "
            "context. Write a response that appropriately completes the request.\n\n"
            "### Instruction:\nShorten.\n\n### Input:\nWhy not?\n\n### Response:\n",
        ),
        ("text", "Once upon", "Once upon"),
    ],
)
def test_prompt_is_written_as_in_training(template: str, asked: Any, expected: str, tokenizer: Any) -> None:
    """Up to where the response begins, by every kind of template; a text is taken as it is."""
    from jobs.data.chat import chat_writer

    assert tokenizer.chat_template == CHAT_TEMPLATE
    example = written(asked, template, chat_writer(tokenizer))
    assert (example.prompt, example.response) == (expected, "")


CONVERSATION = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


@pytest.mark.parametrize(
    ("template", "prompts", "key", "words"),
    [
        ("alpaca", [{"instrution": "a"}], "0", "got the columns instrution, expected for"),
        ("completion", ["a", {"prompt": "a", "input": "b"}], "1", "for data.template=completion one of"),
        ("completion", [{"prompt": "a", "completion": "b"}], "0", "got the columns prompt, completion"),
        ("completion", [" "], "0", "which asks nothing"),
        ("completion", [3], "0", "got 3, expected string, or dictionary"),
        ("text", [{"text": "a"}], "0", "expected a text"),
        ("chat", [{"messages": CONVERSATION}], "0", "ends with the assistant's message"),
        ("chat", [{"messages": 3}], "0", "got 3, expected a list"),
        ("{{ a }}{% generation %}{{ b }}{% endgeneration %}", [{"a": "b"}], "0", "'b' is undefined"),
    ],
)
def test_prompt_that_cannot_be_asked_is_told_by_its_key(
    template: str, prompts: list[Any], key: str, words: str, recipe: dict[str, Any]
) -> None:
    """One problem, before anything runs, with what was expected."""
    columns = {"a": "prompt", "b": "completion", "text": "prompt"}  # the rows fit every template
    recipe["data"] |= {"template": template, "path": None, "columns": columns}
    recipe["evaluation"]["samples"] = {"prompts": prompts, "max_new_tokens": 5}
    told = [own for own in Qlora().problems(recipe) if own[0].startswith("evaluation")]
    assert [place for place, _ in told] == [f"evaluation.samples.prompts.{key}"]
    assert words in told[0][1]


def test_length_of_samples_and_their_keys_are_checked(recipe: dict[str, Any]) -> None:
    """Both mistakes at once; and trials of decoding have no samples."""
    recipe["evaluation"]["samples"] = {"prompts": ["a"], "max_new_tokens": 0, "do_sample": True}
    told = dict(Qlora().problems(recipe))
    assert told["evaluation.samples.max_new_tokens"] == "got 0, expected at least 1"
    assert "unknown key" in told["evaluation.samples.do_sample"]
    recipe["evaluation"]["samples"] = {"prompts": ["a"], "max_new_tokens": 1}
    assert "evaluation.samples.prompts" in dict(examine_decode(recipe)[1])
    recipe["evaluation"]["samples"] = {"prompts": [], "max_new_tokens": 1, "validation": 4}  # as in the demo
    assert "evaluation.samples.prompts" not in dict(examine_decode(recipe)[1])
