"""Tasks of lm-eval in a trial: lm-eval's own numbers, kept shard by shard, from data in the cache."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny_llama import make_tokenizer

from hpo.paths import TrialPaths
from hpo.records import Metric, TrialResult, read_json, write_json
from jobs import run_trial
from jobs.errors import DataError, Diverged
from jobs.evaluation import shards as parts_module
from jobs.evaluation.examples import obtain_examples
from jobs.evaluation.shards import StoredShards, UnstoredShards
from jobs.kinds.qlora import ON_A_CARD, Qlora
from jobs.prepare import checks
from jobs.prepare import trials as prepare
from jobs.recipes.recipe import parse

pytestmark = pytest.mark.usefixtures("keep_handlers")

MakeTrial = Callable[..., TrialPaths]
DOCUMENTS, LIMIT, SHARD = 20, 14, 4
SHARDS = 2 * 4  # of two tasks
STEPS = 20
TIMED = ("seconds", "per_second", "_gib")  # ends of the names of metrics that depend on the machine

# Attempts one after the other, each in a process of its own that is killed after a step, before anything of
# it is saved, or after a forward pass of the evaluation. The libraries are loaded once, before any of them.
ATTEMPTS = """
import json, os, signal, sys
from jobs import run_trial
from jobs.evaluation import tasks
from jobs.training import trial
from jobs.training.loop import StepWatch
from jobs.training.trial_evaluation import TrialEvaluation

def attempt(folder, where, at):
    kind, name = {"step": (StepWatch, "on_step_end"), "pass": (TrialEvaluation, "_after_batch")}[where]
    real, passes = getattr(kind, name), []

    def watched(self, *args, **kwargs):
        real(self, *args, **kwargs)
        passes.append(name)
        if (args[1].global_step if where == "step" else len(passes)) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(kind, name, watched)
    run_trial.main(folder, "000", "0002")

for where, at in json.loads(sys.argv[2]):
    if (child := os.fork()) == 0:
        attempt(sys.argv[1], where, at)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, (where, at)
"""


class Killed(BaseException):
    """The end of a process, as far as the trial's own code can tell."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a generated data file, a multiple-choice task and one that generates text."""
    made, draw = tmp_path / "tasks", random.Random(5)
    made.mkdir()
    rows = []
    for number in range(DOCUMENTS):
        choices = ["".join(draw.choices("abcdef ", k=draw.randint(1, 9))).strip() or "a" for _ in range(3)]
        rows.append({"question": f"{number} " * draw.randint(1, 6), "choices": choices, "gold": number % 3})
    (made / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": "rows.jsonl"}},
        "test_split": "test",
        "doc_to_text": "Q: {{question}}A:",
    }
    chosen = {"task": "pick", "output_type": "multiple_choice", "doc_to_choice": "choices"}
    said = {
        "task": "say",
        "output_type": "generate_until",
        "generation_kwargs": {"until": ["#"], "max_gen_toks": 3, "do_sample": True, "temperature": 1.0},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    (made / "pick.yaml").write_text(yaml.safe_dump({**common, **chosen, "doc_to_target": "gold"}))
    (made / "say.yaml").write_text(yaml.safe_dump({**common, **said, "doc_to_target": "{{choices[gold]}}"}))
    return made


@pytest.fixture
def with_tasks(recipe: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The recipe of seconds, judged by both tasks too."""
    settings = {"names": None, "folder": str(folder), "metrics": None, "limit": LIMIT, "fewshot": 2}
    recipe["evaluation"]["tasks"] = {**settings, "chat_template": False, "shard_documents": SHARD}
    recipe["evaluation"]["batch_size"] = 5
    recipe["trainer"] |= {"max_steps": 2, "learning_rate": 0.01}
    return recipe


def run(paths: TrialPaths) -> int:
    """Run an attempt in this process."""
    return run_trial.main(str(paths.folder.parent.parent), "000", paths.folder.name)


def judged(paths: TrialPaths) -> dict[str, Metric]:
    """The metrics of evaluation, which do not depend on time."""
    metrics = TrialResult.read(paths.metrics).metrics
    return {name: metrics[name] for name in metrics if name.startswith(("eval_loss", "pick", "say"))}


def exact(paths: TrialPaths) -> dict[str, Metric]:
    """The metrics that do not depend on the machine."""
    metrics = TrialResult.read(paths.metrics).metrics
    return {name: metric for name, metric in metrics.items() if not name.endswith(TIMED)}


def by_lm_eval(base: Path, adapter: Path, folder: Path) -> dict[str, Any]:
    """The task `pick` by lm-eval alone, from the adapter on the disk."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    adapted = PeftModel.from_pretrained(model, str(adapter))
    tasks = TaskManager(include_path=str(folder), include_defaults=False)
    asked = HFLM(adapted, tokenizer=AutoTokenizer.from_pretrained(base), batch_size=5)
    found = simple_evaluate(asked, tasks=["pick"], task_manager=tasks, limit=LIMIT, num_fewshot=2)
    assert found is not None
    return dict(found["results"]["pick"])


def test_scores_and_errors_are_those_of_lm_eval(
    with_tasks: dict[str, Any],
    make_trial: MakeTrial,
    folder: Path,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All digits, few-shot examples and limit included; on the plain base under names of their own."""
    with_tasks["evaluation"]["bases"] = ["4bit", "16bit"]
    paths = make_trial(with_tasks)
    assert run(paths) == 0
    assert set(TrialResult.read(paths.metrics).metrics) == set(Qlora().metrics(with_tasks)) - set(ON_A_CARD)
    monkeypatch.chdir(folder)  # lm-eval looks for data files where it is started
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda results: None)  # seconds
    theirs = by_lm_eval(tiny_model, paths.adapter, folder)
    for name in ("acc", "acc_norm"):
        expected = Metric(theirs[f"{name},none"], theirs[f"{name}_stderr,none"])
        assert judged(paths)[f"pick_{name}_16bit"] == expected
    assert 0 < judged(paths)["pick_acc"].value < 1
    assert judged(paths)["eval_loss"] != judged(paths)["eval_loss_16bit"]


@pytest.mark.slow
def test_tasks_go_on_with_smaller_batches_where_memory_runs_out(
    with_tasks: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a shard, which is asked again by two; the next shard begins with five again."""
    from lm_eval.models.huggingface import HFLM

    whole, short = make_trial(with_tasks, "0001"), make_trial(with_tasks, "0002")
    assert run(whole) == 0
    real, seen = HFLM._model_call, list[int]()

    def call(self: Any, inputs: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        seen.append(len(inputs))
        if len(seen) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")
        return real(self, inputs, *args, **kwargs)

    monkeypatch.setattr(HFLM, "_model_call", call)
    assert run(short) == 0
    # four shards of `pick`: 12, 12, 12 and 6 continuations
    assert seen == [5, 5, *[2] * 6, 5, 5, 2, 5, 5, 2, 5, 1]
    assert judged(short)["pick_acc"] == judged(whole)["pick_acc"]
    assert judged(short)["say_exact_match"] == judged(whole)["say_exact_match"]


@pytest.mark.slow
def test_interrupted_evaluation_goes_on_to_the_same_bits(
    with_tasks: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after a random shard: the next attempt asks the model for the rest only."""
    undisturbed, killed = make_trial(with_tasks, "0001"), make_trial(with_tasks, "0002")
    assert run(undisturbed) == 0
    finished = random.randrange(1, SHARDS)  # another one in every test run; shown where it fails
    written: list[str] = []

    def write(path: Path, record: Any) -> None:
        write_json(path, record)
        written.append(path.name)
        if len(written) == 1 + finished:  # the loss is the first part
            raise Killed

    monkeypatch.setattr(parts_module, "write_json", write)
    with pytest.raises(Killed):
        run(killed)
    assert run(killed) == 0
    assert len(written) == len(set(written)) == 1 + SHARDS
    assert judged(killed) == judged(undisturbed)
    assert TrialResult.read(killed.metrics).details["attempts"] == [1, 2]


@pytest.mark.slow
def test_trial_killed_five_times_ends_with_the_same_bits(
    with_tasks: dict[str, Any], make_trial: MakeTrial
) -> None:
    """After four random steps and once inside the evaluation: all metrics but times, and the adapter."""
    with_tasks["trainer"] |= {"max_steps": STEPS, "lora_dropout": 0.3, "micro_batch_size": 2}
    with_tasks["trainer"]["checkpoint_every_s"] = 0
    undisturbed, killed = make_trial(with_tasks, "0001"), make_trial(with_tasks, "0002")
    draw = random.Random(2026)
    ends = [("step", step) for step in sorted(draw.sample(range(1, STEPS), 4))]
    ends.append(("pass", draw.randrange(3, 12)))  # of two for the loss, and eleven for the task `pick`
    folder = str(killed.folder.parent.parent)
    subprocess.run([sys.executable, "-c", ATTEMPTS, folder, json.dumps(ends)], check=True)
    assert list(killed.evaluation.rglob("loss.json"))
    assert run(killed) == run(undisturbed) == 0
    assert TrialResult.read(killed.metrics).details["attempts"] == [1, 2, 3, 4, 5, 6]
    assert exact(killed) == exact(undisturbed)
    weights = "adapter_model.safetensors"
    assert (killed.adapter / weights).read_bytes() == (undisturbed.adapter / weights).read_bytes()


def test_parts_are_kept_by_adapter_and_question(tmp_path: Path) -> None:
    """A part is read again only whole and for the same question, to the last bit."""
    asked: list[Any] = []

    def ask(name: str, question: Any) -> list[Any]:
        def answer() -> list[Any]:
            asked.append(question)
            return [0.1]

        return StoredShards(tmp_path / "parts", lambda: None).obtain(name, question, answer)

    assert ask("a/b", [1]) == ask("a/b", [1]) == [0.1]
    assert ask("a/b", [2]) == [0.1]
    (file,) = (tmp_path / "parts").iterdir()
    file.write_text(file.read_text()[:40])
    ask("a/b", [2])
    assert asked == [[1], [2], [2]]


def test_answer_that_is_no_number_is_a_diverged_trial() -> None:
    """A log-likelihood of a model that diverged is never an answer."""
    with pytest.raises(Diverged, match="pick: got nan"):
        UnstoredShards().obtain("pick", [], lambda: [(float("nan"), False)])


def test_prepare_measures_the_untuned_model_by_the_tasks(
    with_tasks: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once, on both bases, with the data of the tasks in the cache afterwards."""
    with_tasks["evaluation"]["bases"] = ["4bit", "16bit"]
    cache, file = tmp_path / "cache", tmp_path / "recipe.json"
    file.write_text(json.dumps(with_tasks))
    assert prepare.main(str(file), str(cache)) == prepare.main(str(file), str(cache)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("fetching the data set json" in line for line in lines) == 1
    known = Qlora().baseline(with_tasks, str(cache))
    assert known is not None
    assert {"eval_loss", *Qlora().metrics(with_tasks)[-7:]} <= set(known)
    entry = next((cache / "datasets").iterdir())
    assert read_json(entry / "manifest.json")["about"]["path"] == "json"


@pytest.mark.slow  # lm-eval's tasks are loaded three times
def test_doctor_tells_whether_data_are_in_the_cache(
    with_tasks: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    """Rows and tasks: missing, there, and, where a task's data are out of reach, with what fetches them."""

    def lines(recipe: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
        (tmp_path / "recipe.json").write_text(json.dumps(recipe))
        assert checks.main(str(tmp_path / "recipe.json"), str(own), str(tmp_path / "answer.json")) == 0
        told = json.loads((tmp_path / "answer.json").read_text())
        return {what.partition(":")[0]: (level, what, hint) for level, what, hint in told}

    own = tmp_path / "cache"
    found = lines(with_tasks)
    assert found["data"][0] == "warn"
    assert "40 rows" in found["data"][1]
    assert found["evaluation"] == ("ok", "evaluation: the data of pick, say in the cache", "")
    obtain_examples(parse(with_tasks), own, make_tokenizer, lambda line: None)
    assert lines(with_tasks)["data"][0] == "ok"
    content = yaml.safe_load((folder / "pick.yaml").read_text())
    (folder / "pick.yaml").write_text(yaml.safe_dump({**content, "dataset_path": str(tmp_path / "none")}))
    with_tasks["data"] |= {"path": "owner/name"}
    found = lines(with_tasks)
    assert found["evaluation.tasks"][0] == found["data"][0] == "warn"
    assert "owner/name of the hub is not in the cache" in found["data"][1]
    assert all("frontrunner prefetch" in found[key][2] for key in ("data", "evaluation.tasks"))


def test_data_set_out_of_reach_is_told_with_what_to_do(
    with_tasks: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    """A node without network names the data set and the command that fetches it."""
    from jobs.evaluation.task_data import data_from_cache
    from jobs.evaluation.tasks import load_tasks

    content = yaml.safe_load((folder / "pick.yaml").read_text())
    (folder / "pick.yaml").write_text(yaml.safe_dump({**content, "dataset_path": str(tmp_path / "none")}))
    tasks = parse(with_tasks).evaluation.tasks
    assert tasks is not None
    with (
        data_from_cache(tmp_path / "cache", folder),
        pytest.raises(DataError, match=r"(?s)none, expected it in the cache.*frontrunner prefetch"),
    ):
        load_tasks(tasks)
