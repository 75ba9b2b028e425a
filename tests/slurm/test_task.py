"""The function that a task names."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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
