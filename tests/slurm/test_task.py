"""The function that a task names."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from submitit.core.utils import DelayedSubmission

from slurm import maskwrap
from slurm.errors import TargetError
from slurm.task import resolve, run_target


def test_a_target_is_called_with_its_arguments(tmp_path_factory: pytest.TempPathFactory) -> None:
    """module:function and text is all there is."""
    folder = tmp_path_factory.mktemp("made") / "new"
    run_target("os:mkdir", [str(folder)])
    assert folder.is_dir()


@pytest.mark.parametrize(
    "target", ["os", "os:", ":mkdir", "no_such_module:main", "os:no_such_function", "os:sep"]
)
def test_a_target_that_cannot_be_called_is_refused(target: str) -> None:
    """With the text that was given."""
    with pytest.raises(TargetError, match="target"):
        resolve(target)


def test_the_pickle_names_the_function_and_holds_no_code() -> None:
    """It is a reference: a node with another version of this module still reads it."""
    assert pickle.loads(pickle.dumps(run_target)) is run_target
    assert len(pickle.dumps(run_target)) < 100


def test_the_mask_wrapper_starts_python_with_both_signals_blocked_and_pending_ones_kept() -> None:
    """A USR2 before the handler is there waits for it."""
    code = (
        "import os, signal; os.kill(os.getpid(), signal.SIGUSR2);"
        "signal.signal(signal.SIGUSR2, lambda *_: print('delivered'));"
        "print(sorted(map(int, signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2}))))"
    )
    done = subprocess.run(
        [sys.executable, "-IS", maskwrap.__file__, "-c", code], capture_output=True, text=True, check=True
    )
    blocked = sorted([int(signal.SIGUSR2), int(signal.SIGTERM)])
    assert set(done.stdout.split("\n")) == {"delivered", str(blocked), ""}


def modules_after(imports: str) -> int:
    """How many modules a bare Python holds after an import."""
    code = f"import sys, {imports}; print(len(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=Path(maskwrap.__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


def test_the_mask_wrapper_imports_nothing_heavy() -> None:
    """It delays every task: nothing but os, signal and sys."""
    assert modules_after("maskwrap") == modules_after("os, signal, __future__") + 1


def test_an_element_starts_without_numpy_and_its_target_finds_it_all_the_same(tmp_path: Path) -> None:
    """As submitit would be started on a node: NumPy is not loaded for it, and there for whoever wants it."""
    delayed = DelayedSubmission(run_target, "element_targets:note_numpy", [str(tmp_path / "noted")])
    delayed.set_timeout(1, 1)
    delayed.dump(tmp_path / "7_0_submitted.pkl")
    numbers = {
        "SLURM_JOB_ID": "7",
        "SLURM_ARRAY_JOB_ID": "7",
        "SLURM_ARRAY_TASK_ID": "0",
        "SLURM_PROCID": "0",
    }
    done = subprocess.run(
        [sys.executable, "-m", "slurm.submitit_start", str(tmp_path)],
        env={
            **os.environ,
            **numbers,
            "SUBMITIT_EXECUTOR": "slurm",
            "PYTHONPATH": str(Path(__file__).with_name("targets")),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "noted").read_text() == "loaded before: False, array 3"
