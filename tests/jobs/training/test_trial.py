"""A trial from spec.json to metrics.json, undisturbed, interrupted, overtaken, failed and cancelled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from architectures import saved
from conditions import PATIENCE_S, fill, wait_until
from killed_trial import Killed, at_step, die_after
from times import TIMES

from hpo.paths import TrialPaths
from hpo.records import Failure, Lease, TrialResult, read_json, read_jsonl, write_json, write_json_once
from jobs import run_trial
from jobs.attempt import attempt as attempt_module
from jobs.attempt import lease as lease_module
from jobs.attempt.checkpoints import Checkpoints
from jobs.kinds.qlora import METRICS, Qlora

pytestmark = pytest.mark.usefixtures("keep_handlers")

MakeTrial = Callable[..., TrialPaths]


def run(paths: TrialPaths, batch: str = "000") -> int:
    """Run an attempt in this process."""
    return run_trial.main(str(paths.folder.parent.parent), batch, paths.folder.name)


def exact(paths: TrialPaths) -> dict[str, float]:
    """The metrics that may not depend on time."""
    result = TrialResult.read(paths.metrics)
    return {name: metric.value for name, metric in result.metrics.items() if name not in TIMES}


def test_spec_in_metrics_out(recipe: dict[str, Any], make_trial: MakeTrial, cache: Path) -> None:
    """Every stated metric, a falling loss, the log of all phases, and an adapter that plain peft loads."""
    recipe["trainer"] |= {"max_steps": 30, "learning_rate": 0.01, "lora_alpha": 4}
    paths = make_trial(recipe)
    Qlora().prepare(recipe, str(cache), lambda line: None)
    base = Qlora().baseline(recipe, str(cache))
    assert run(paths) == 0
    result = TrialResult.read(paths.metrics)
    assert set(result.metrics) == set(METRICS)
    assert base is not None
    wall, cpu = (result.metrics[name].value for name in ("train_seconds", "train_cpu_seconds"))
    assert 0 < cpu < 1.1 * (os.cpu_count() or 1) * wall
    assert result.details["base_eval_loss"] == base["eval_loss"]
    assert result.metrics["eval_loss"].value < base["eval_loss"] - 0.3
    assert result.metrics["eval_loss"].standard_error
    log = read_jsonl(paths.progress)
    assert list(dict.fromkeys(line["phase"] for line in log)) == ["loading", "training", "evaluating", "done"]
    assert log[-1]["step"] == 30
    assert _with_plain_peft(paths, recipe) == pytest.approx(result.metrics["eval_loss"].value, rel=1e-5)


def _with_plain_peft(paths: TrialPaths, recipe: dict[str, Any]) -> float:
    """The evaluation loss by transformers and peft alone, example by example."""
    import torch
    from peft import PeftModel
    from selected_examples import split
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    from jobs.data.rows import load_source
    from jobs.recipes.recipe import parse

    origin = json.loads((paths.adapter / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert origin == recipe["model"]["path"]
    four_bit = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    base = AutoModelForCausalLM.from_pretrained(origin, quantization_config=four_bit, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, str(paths.adapter)).eval()
    tokenizer = AutoTokenizer.from_pretrained(origin)
    total, tokens = 0.0, 0
    data = parse(recipe).data
    rows = [one.row for one in load_source(data.parts()[0], data.seed)]
    for row in split(rows, data).validation:
        prompt = tokenizer(row["prompt"])["input_ids"]
        answer = [*tokenizer(row["completion"])["input_ids"], tokenizer.eos_token_id]
        labels = torch.tensor([[-100] * len(prompt) + answer])
        with torch.no_grad():
            loss = model(input_ids=torch.tensor([prompt + answer]), labels=labels).loss.item()
        total, tokens = total + loss * len(answer), tokens + len(answer)
    return total / tokens


@pytest.mark.parametrize("packing", ["none", pytest.param("packed", marks=pytest.mark.slow)])
def test_dropout_and_accumulation_resume_to_the_last_bit(
    packing: str, recipe: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after steps 2 and 5 of 6 and gone on: the metrics are those of the undisturbed trial."""
    recipe["data"]["packing"] = packing
    recipe["trainer"] |= {"lora_dropout": 0.3, "micro_batch_size": 2, "checkpoint_every_s": 0}
    undisturbed, killed = make_trial(recipe, "0001"), make_trial(recipe, "0002")
    assert run(undisturbed) == 0
    for step in (2, 5):
        with monkeypatch.context() as patch:
            die_after(patch, step, lambda: run(killed))
    assert run(killed) == 0
    assert exact(killed) == exact(undisturbed)
    result = TrialResult.read(killed.metrics)
    assert (result.attempt, result.details["attempts"]) == (3, [1, 2, 3])
    weights = "adapter_model.safetensors"
    assert (killed.adapter / weights).read_bytes() == (undisturbed.adapter / weights).read_bytes()


@pytest.mark.slow  # the exact resume of a plain adapter is in the default tier
def test_biases_and_magnitudes_resume_to_the_last_bit(
    recipe: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What DoRA and trained biases add is in the checkpoint and in the adapter."""
    recipe["model"]["path"] = str(saved("qwen2", tmp_path / "model"))
    recipe["trainer"] |= {"lora_bias": "all", "use_dora": True, "checkpoint_every_s": 0}
    undisturbed, killed = make_trial(recipe, "0001"), make_trial(recipe, "0002")
    assert run(undisturbed) == 0
    with monkeypatch.context() as patch:
        die_after(patch, 4, lambda: run(killed))
    assert run(killed) == 0
    assert exact(killed) == exact(undisturbed)
    config = json.loads((killed.adapter / "adapter_config.json").read_text())
    assert (config["bias"], config["use_dora"]) == ("all", True)
    weights = "adapter_model.safetensors"
    assert (killed.adapter / weights).read_bytes() == (undisturbed.adapter / weights).read_bytes()


def test_evaluation_that_was_interrupted_is_made_again(
    recipe: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TERM inside the evaluation saves the trained adapter; the next attempt only evaluates."""
    undisturbed, killed = make_trial(recipe, "0001"), make_trial(recipe, "0002")
    assert run(undisturbed) == 0

    def die_in_evaluation(*args: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        args[-1]()  # after the first batch
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("jobs.evaluation.judging.evaluate", die_in_evaluation)
        with pytest.raises(Killed):
            run(killed)
    assert read_json(killed.checkpoint_pointer)["folder"] == "0001/step-00000006"
    assert run(killed) == 0
    assert exact(killed) == exact(undisturbed)
    steps = [line["step"] for line in read_jsonl(killed.progress) if line["attempt"] == 2]
    assert steps == [0, 6, 6, 6]  # loading, training (nothing left), evaluating, done


def test_damaged_checkpoint_is_passed_over(
    recipe: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a flipped byte in the newest one the trial goes on from the one before, to the same result."""
    recipe["trainer"]["checkpoint_every_s"] = 0
    undisturbed, killed = make_trial(recipe, "0001"), make_trial(recipe, "0002")
    assert run(undisturbed) == 0
    with monkeypatch.context() as patch:
        die_after(patch, 5, lambda: run(killed))
    newest = killed.checkpoints / read_json(killed.checkpoint_pointer)["folder"]
    content = bytearray((newest / "optimizer.pt").read_bytes())
    content[100] ^= 1
    (newest / "optimizer.pt").write_bytes(content)
    assert newest.name == "step-00000004"
    assert run(killed) == 0
    assert exact(killed) == exact(undisturbed)


def test_term_saves_and_goes_on_and_a_kill_is_resumed_from(
    recipe: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TERM in step 3 of 6: a checkpoint, and on it goes. Killed after 5: the next attempt resumes exactly."""
    recipe["trainer"]["checkpoint_every_s"] = 1000
    undisturbed, killed = make_trial(recipe, "0001"), make_trial(recipe, "0002")
    assert run(undisturbed) == 0
    with monkeypatch.context() as patch:
        at_step(patch, 3, lambda: os.kill(os.getpid(), signal.SIGTERM))
        die_after(patch, 5, lambda: run(killed))
    saved_at = int(read_json(killed.checkpoint_pointer)["folder"][-8:])
    assert 3 <= saved_at < 5
    assert run(killed) == 0
    assert exact(killed) == exact(undisturbed)
    assert TrialResult.read(killed.metrics).details["attempts"] == [1, 2]


@pytest.mark.slow  # a process with torch of its own; the same within this process is above
def test_process_survives_term_and_resumes_after_kill(recipe: dict[str, Any], make_trial: MakeTrial) -> None:
    """TERM: a checkpoint, and on it goes. Kill: the next attempt resumes, to the undisturbed result."""
    recipe["trainer"] |= {"max_steps": 150, "checkpoint_every_s": 1000}
    paths = make_trial(recipe, "0002")
    command = [sys.executable, "-m", "jobs.run_trial", str(paths.folder.parent.parent), "000", "0002"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: any(line["step"] > 5 for line in read_jsonl(paths.progress)))
    process.send_signal(signal.SIGTERM)
    wait_until(paths.checkpoint_pointer.exists)
    assert process.poll() is None
    process.kill()
    process.wait()
    saved = int(read_json(paths.checkpoint_pointer)["folder"][-8:])
    assert 5 < saved < 150
    undisturbed = make_trial(recipe, "0001")
    assert run(undisturbed) == 0
    assert run(paths) == 0
    assert exact(paths) == exact(undisturbed)
    assert TrialResult.read(paths.metrics).details["attempts"] == [1, 2]


@pytest.mark.slow
def test_disk_that_is_full_for_a_while_changes_no_bit(
    recipe: dict[str, Any], make_trial: MakeTrial, small_disk: Path
) -> None:
    """Neither checkpoints nor adapter nor result fit; once there is room they do, and nothing differs."""
    recipe["trainer"] |= {"max_steps": 30, "checkpoint_every_s": 0}
    paths, undisturbed = make_trial(recipe, "0002"), make_trial(recipe, "0001")
    command = [sys.executable, "-m", "jobs.run_trial", str(paths.folder.parent.parent), "000", "0002"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_until(paths.checkpoint_pointer.exists)
    fill(small_disk / "ballast")
    assert process.stderr is not None
    said = iter(process.stderr.readline, "")
    assert any("cannot write the adapter" in line for line in said)
    (small_disk / "ballast").unlink()
    rest = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 0, rest
    assert run(undisturbed) == 0
    assert exact(paths) == exact(undisturbed)


def test_term_with_cancel_marker_ends_at_once(
    recipe: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancelled trial neither checkpoints nor goes on nor leaves a result."""
    paths = make_trial(recipe)

    def cancelled() -> None:
        paths.cancel.touch()
        os.kill(os.getpid(), signal.SIGTERM)

    def leave(code: int) -> None:
        raise Killed(code)

    at_step(monkeypatch, 2, cancelled)
    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(Killed, match=str(128 + signal.SIGTERM)):
        run(paths)
    assert paths.progress.exists()
    assert not paths.checkpoint_pointer.exists()
    assert not paths.metrics.exists()


@pytest.mark.parametrize("marker", ["cancel", "metrics"])
def test_nothing_to_do_leaves_everything_as_it_is(
    recipe: dict[str, Any], make_trial: MakeTrial, marker: str
) -> None:
    """A cancelled or finished trial is not run again, not even its lease is taken."""
    paths = make_trial(recipe)
    getattr(paths, marker).write_text("{}")
    assert run(paths) == 0
    assert sorted(path.name for path in paths.folder.iterdir()) == sorted(
        ["spec.json", getattr(paths, marker).name]
    )


def test_first_result_wins(
    recipe: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result that appears meanwhile is not replaced."""
    recipe["trainer"]["max_steps"] = 1
    paths = make_trial(recipe)

    def late(path: Path, record: Any) -> bool:
        write_json(path, TrialResult("0000", 9, {}).to_json())
        return write_json_once(path, record)

    monkeypatch.setattr(attempt_module, "write_json_once", late)
    assert run(paths) == 0
    assert TrialResult.read(paths.metrics).attempt == 9


@pytest.mark.parametrize(
    ("batch", "restart", "attempt"), [("002", 0, None), ("001", 3, None), ("001", 2, 6), ("000", 9, 6)]
)
def test_lease_goes_to_the_later_batch_or_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: str, restart: int, attempt: int | None
) -> None:
    """This process is restart 2 of batch 001; the present lease decides."""
    paths = TrialPaths(tmp_path)
    write_json(paths.lease, Lease("0000", 5, batch, "job", restart, "host", 1).to_json())
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    owner = lease_module.take(paths, "0000", "001")
    assert (owner and owner.lease.attempt) == attempt


def test_overtaken_process_writes_nothing_more(
    recipe: dict[str, Any], make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once another attempt has the lease, the next checkpoint ends the process before it writes."""
    recipe["trainer"]["checkpoint_every_s"] = 0
    paths = make_trial(recipe)
    real = Checkpoints.save

    def overtaken(self: Checkpoints, step: int, write: Callable[[Path], None]) -> Path | None:
        if step == 3:
            write_json(paths.lease, Lease("0000", 2, "001", "job", 0, "host", 1).to_json())
        return real(self, step, write)

    def leave(code: int) -> None:
        raise Killed(code)

    monkeypatch.setattr(Checkpoints, "save", overtaken)
    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(Killed, match=str(lease_module.OVERTAKEN)):
        run(paths)
    assert read_json(paths.checkpoint_pointer)["folder"] == "0001/step-00000002"
    assert not paths.metrics.exists()
    assert paths.failures() == []


@pytest.mark.parametrize(
    ("changes", "cause", "words"),
    [
        ({"learning_rate": 1e30}, "diverged", "loss at step"),
        ({"divergence_loss": 0.5}, "diverged", "expected at most 0.5"),
        ({"target_modules": ["nope"]}, "error", "trainer.target_modules: got nope"),
    ],
)
def test_failure_names_its_cause(
    recipe: dict[str, Any], make_trial: MakeTrial, changes: dict[str, Any], cause: str, words: str
) -> None:
    """What ends an attempt is recorded with cause, message and traceback; there is no result."""
    recipe["trainer"] |= changes
    paths = make_trial(recipe)
    assert run(paths) == 1
    (file,) = paths.failures()
    failure = Failure.read(file)
    assert (failure.cause, failure.attempt) == (cause, 1)
    assert words in failure.message
    assert "Traceback" in failure.traceback
    assert not paths.metrics.exists()
