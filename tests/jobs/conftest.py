"""A tiny random Llama with a tokenizer of single characters, and trials of it on real files."""

from __future__ import annotations

import copy
import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_llama import make_tokenizer, save_tiny_llama

from hpo.paths import TrialPaths
from hpo.records import TrialSpec, write_json
from jobs.attempt.attempt import Attempt
from jobs.attempt.lease import take
from jobs.attempt.log import AttemptLog
from jobs.attempt.retry import Patience
from jobs.attempt.signals import Signals

CONF = Path(__file__).resolve().parents[2] / "conf"
MakeTrial = Callable[..., TrialPaths]
AT_ONCE = Patience(unseen_s=0, differing_s=0, writing_s=0, first_s=0.01, most_s=0.01)


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread, so that sums are made in one order; and no trace of a real Slurm around the tests."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT", "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def keep_handlers() -> Iterator[None]:
    """Give the test process its signal handlers back."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGUSR2, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The study folder on a file system of 4 MiB that can be filled, where this process may mount one."""
    folder = tmp_path / "study"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system needs the right to mount one")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a two-layer random Llama and its tokenizer."""
    return save_tiny_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """One token a character; token 0 is unknown, 1 the padding, 2 the end mark."""
    return make_tokenizer()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests that do not spoil it."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def shipped() -> dict[str, Any]:
    """The recipe as conf/ has it."""
    files = {"model": "smollm2_135m", "data": "demo", "trainer": "qlora", "evaluation": "loss"}
    return {
        group: yaml.safe_load((CONF / group / f"{name}.yaml").read_text()) for group, name in files.items()
    }


@pytest.fixture
def recipe(shipped: dict[str, Any], tiny_model: Path, tmp_path: Path) -> dict[str, Any]:
    """A recipe of seconds: the tiny model, 40 rows, 6 steps."""
    made = copy.deepcopy(shipped)
    rows = [{"prompt": f"{n}:", "completion": "ok" * (1 + n % 5)} for n in range(40)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made["model"] |= {"name": "tiny", "path": str(tiny_model)}
    made["data"] |= {"path": str(path), "train_examples": None, "validation_examples": None}
    made["trainer"] |= {"batch_size": 4, "max_steps": 6, "lora_rank": 2}
    return made


@pytest.fixture
def make_trial(tmp_path: Path, cache: Path) -> MakeTrial:
    """Write the spec of a trial into a study folder."""

    def make(recipe: dict[str, Any], trial: str = "0000", seed: int = 3, **early: Any) -> TrialPaths:
        paths = TrialPaths(tmp_path / "study" / "trials" / trial)
        paths.folder.mkdir(parents=True)
        spec = TrialSpec("study", trial, 0, {}, recipe, ["eval_loss"], seed, str(cache), "hash", **early)
        write_json(paths.spec, spec.to_json())
        return paths

    return make


@pytest.fixture
def make_attempt(tmp_path: Path) -> Callable[[], Attempt]:
    """Begin attempts of one trial in this process, one after the other; their heartbeats do not run."""

    def make() -> Attempt:
        paths = TrialPaths(tmp_path / "study" / "trials" / "0000")
        paths.folder.mkdir(parents=True, exist_ok=True)
        signals = Signals(paths.cancel, tmp_path / "study" / "pause", wait_s=0)
        owner = take(paths, "0000", "000")
        assert owner is not None
        return Attempt(paths, owner, signals, AttemptLog(paths, owner, signals), AT_ONCE)

    return make
